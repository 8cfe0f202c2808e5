r"""Constants of a crystal: property tensors that a point group leaves alone, exactly.

By Neumann's principle T = g T for every operation g of the crystal. A signed permutation of the axes says that two
components are equal up to a sign. An n-fold axis along z says that only eigenvalues i m of the generator J_z with m
divisible by n occur,

.. math:: J_z \prod_{0 < k \le r/n} (J_z^2 + (kn)^2)\; T = 0

for rank r, and J_z T = 0 for an axis of all angles: equations with whole coefficients. Elimination over Q gives every
component in terms of independent ones.
Source: Nye, Physical Properties of Crystals, 1957; Birss, Symmetry and Magnetism, 1966 (axial and time-odd tensors).
"""

import itertools
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
import sympy as sp
from sympy import QQ, ZZ
from sympy.polys.matrices import DomainMatrix

from cartalg.physics.point_groups import Generator, PointGroup, determinant, point_group
from cartalg.symbolic.proofs.actions import turned_tensor
from cartalg.symbolic.reducible import Signed, parse_formula

Index = tuple[int, ...]
#: Which pairs of indices count their shear components twice when they are contracted to one of 1..6.
Doubled = Literal["none", "last", "all"]
#: The order of Voigt: 11, 22, 33, 23, 13, 12.
VOIGT = {(0, 0): 1, (1, 1): 2, (2, 2): 3, (1, 2): 4, (2, 1): 4, (0, 2): 5, (2, 0): 5, (0, 1): 6, (1, 0): 6}
#: Components that elimination takes on, symmetry of indices left aside.
MAX_COMPONENTS = 729


@dataclass(frozen=True)
class PropertyTensor:
    """The form of a property tensor in a crystal.

    Attributes:
        formula: Index symmetry, as `cartalg.symbolic.reducible.decompose` takes it.
        order: Rank.
        group: The point group.
        axial: An axial (pseudo-) tensor: one factor more of the determinant.
        time_odd: It changes sign with time, as magnetisation does; primed operations then have a sign.
        places: Indices taken together, one or two positions each: pairs that may be exchanged are Voigt's 1..6.
        components: Every index tuple as a rational combination of independent ones; those that vanish are left out.
        independent: Index tuples of the independent components, in order.
    """

    formula: str
    order: int
    group: PointGroup
    axial: bool
    time_odd: bool
    places: tuple[tuple[int, ...], ...]
    components: dict[Index, dict[Index, Fraction]]
    independent: tuple[Index, ...]

    @cached_property
    def contracted(self) -> bool:
        """Whether some pair of indices is written as one of 1..6."""
        return any(len(place) == 2 for place in self.places)

    def label(self, index: Index) -> tuple[int, ...]:
        """Contracted indices of a component, from 1: (0, 1, 2) of a tensor `ijk=ikj` is (1, 4)."""
        return _label(index, self.places)

    def array(self, letter: str = "T") -> sp.ImmutableDenseNDimArray:
        """All components in the independent ones, symbols like T1123 (from 1): shape [3] * order."""
        names = {i: sp.Symbol(letter + "".join(str(d + 1) for d in i)) for i in self.independent}
        flat = [
            sp.Add(
                *(sp.Rational(c.numerator, c.denominator) * names[i] for i, c in self.components.get(at, {}).items())
            )
            for at in itertools.product(range(3), repeat=self.order)
        ]
        return sp.ImmutableDenseNDimArray(flat, (3,) * self.order) if self.order else sp.Array(flat)

    def matrix(self, letter: str = "T", doubled: Doubled = "none") -> sp.Matrix:
        """The tensor as a matrix over contracted indices: the first place against the others, or the halves of four.

        Args:
            letter: Of the constants: c gives c11, c12, ..
            doubled: ``"none"`` for stiffness, ``"all"`` for compliance (s44 = 4 s2323) and piezoelectric moduli
                (d14 = 2 d123), ``"last"`` where only the second pair counts twice, as in piezo-optical constants.
        Raises:
            ValueError: If there is nothing to double.
        """
        if doubled != "none" and not self.contracted:
            raise ValueError(f"{self.formula!r} has no pair of indices that may be exchanged: nothing counts twice")
        sizes = [6 if len(place) == 2 else 3 for place in self.places]
        split = max(1, len(sizes) // 2)
        choices = [_choices(size) for size in sizes]
        rows = list(itertools.product(*choices[:split]))
        columns = list(itertools.product(*choices[split:]))
        entries = [[self._entry(r + c, letter, doubled) for c in columns] for r in rows]
        return sp.Matrix(entries)

    def _entry(self, chosen: tuple[tuple[int, ...], ...], letter: str, doubled: Doubled) -> sp.Expr:
        index = [0] * self.order
        for place, axes in zip(self.places, chosen, strict=True):
            for position, axis in zip(place, axes, strict=True):
                index[position] = axis
        at = tuple(index)
        own = self._weight(at, doubled)
        total = sp.Integer(0)
        for free, c in self.components.get(at, {}).items():
            name = sp.Symbol(letter + "".join(map(str, self.label(free))))
            total += sp.Rational(c.numerator * own, c.denominator * self._weight(free, doubled)) * name
        return total

    def _weight(self, index: Index, doubled: Doubled) -> int:
        """2 for each shear pair that counts twice."""
        pairs = [place for place in self.places if len(place) == 2]
        counted = {"none": [], "last": pairs[-1:], "all": pairs}[doubled]
        return int(2 ** sum(index[a] != index[b] for a, b in counted))


def property_tensor(
    formula: str, group: str | PointGroup, axial: bool = False, time_odd: bool = False
) -> PropertyTensor:
    """Every component of a property tensor of a crystal in terms of independent ones.

    Args:
        formula: Index symmetry: ``"ij=ji"`` permittivity, ``"ijk=ikj"`` piezoelectric, ``"ijkl=jikl=klij"`` elastic,
            ``"ijkl=jikl=ijlk"`` photoelastic, ``"i"`` pyroelectric.
        group: Hermann-Mauguin symbol, or a group.
        axial: One factor more of the determinant, as of optical activity ``"ij=ji"`` or magnetoelectric ``"ij"``.
        time_odd: A sign with time reversal, as of magnetisation ``"i"`` (axial too).
    Raises:
        ValueError: If formula or symbol are bad, or the tensor has too many components.
    Source: Nye 1957, ch. 1 and appendix B.
    """
    found = point_group(group) if isinstance(group, str) else group
    order, permutations = parse_formula(formula)
    places = _places(order, permutations)
    owner, unknowns = _representatives(order, permutations, places)
    if len(unknowns) > MAX_COMPONENTS:
        raise ValueError(
            f"{formula!r} has {len(unknowns)} components in a crystal of class 1; forms are found to {MAX_COMPONENTS}"
        )
    columns = {index: n for n, index in enumerate(unknowns)}
    rows: set[tuple[int, ...]] = set()
    for generator in found.generators:
        sign = determinant(generator.matrix) if axial else 1
        sign *= -1 if time_odd and generator.primed else 1
        if generator.fold == 1:
            rows |= _equal(generator, sign, order, owner, columns)
        else:
            rows |= _folded(generator.fold, order, owner, columns)
    solved = eliminate(rows, len(unknowns))
    components: dict[Index, dict[Index, Fraction]] = {}
    for index, (representative, sign) in owner.items():
        combination = {unknowns[n]: sign * c for n, c in solved[columns[representative]].items()}
        if combination:
            components[index] = combination
    independent = tuple(u for n, u in enumerate(unknowns) if solved[n] == {n: 1})
    return PropertyTensor(formula, order, found, axial, time_odd, places, components, independent)


def _places(order: int, permutations: tuple[Signed, ...]) -> tuple[tuple[int, ...], ...]:
    """Positions taken together: neighbours that may be exchanged with no sign, from the left, not three in a row."""
    group, at = dict(permutations), 0
    places: list[tuple[int, ...]] = []
    while at < order:
        swap = list(range(order))
        if at + 1 < order:
            swap[at], swap[at + 1] = swap[at + 1], swap[at]
        # of three that may all be exchanged the last two are taken together: d_i(jk)
        odd = order % 2 == 1 and at == 0
        if at + 1 < order and group.get(tuple(swap)) == 1 and not odd:
            places.append((at, at + 1))
            at += 2
        else:
            places.append((at,))
            at += 1
    return tuple(places)


def _choices(size: int) -> list[tuple[int, ...]]:
    return [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)] if size == 6 else [(0,), (1,), (2,)]


def _label(index: Index, places: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    return tuple(VOIGT[index[p[0]], index[p[1]]] if len(p) == 2 else index[p[0]] + 1 for p in places)


def _representatives(
    order: int, permutations: tuple[Signed, ...], places: tuple[tuple[int, ...], ...]
) -> tuple[dict[Index, tuple[Index, int]], list[Index]]:
    """Components equal up to sign have one that stands for them; zero where they are minus themselves."""

    def preference(index: Index) -> tuple[int, bool, tuple[int, ...], Index]:
        """Normal components before shear ones, those of one axis before others: c11, c12, c44; d22 before d12, d16."""
        shear = sum(index[p[0]] != index[p[-1]] for p in places)
        return shear, len(set(index)) > 1, _label(index, places), index

    owner: dict[Index, tuple[Index, int]] = {}
    unknowns = []
    for index in sorted(itertools.product(range(3), repeat=order), key=preference):
        if index in owner:
            continue
        images: dict[Index, int] = {}
        vanishes = False
        for permutation, sign in permutations:
            image = tuple(index[p] for p in permutation)
            vanishes |= images.setdefault(image, sign) != sign
        if not vanishes:
            unknowns.append(index)
            owner.update({image: (index, sign) for image, sign in images.items()})
    return owner, unknowns


def _equal(
    generator: Generator, sign: int, order: int, owner: dict[Index, tuple[Index, int]], columns: dict[Index, int]
) -> set[tuple[int, ...]]:
    """T_ij.. = (+-) T_kl.. for a signed permutation of the axes."""
    to = [next(k for k in range(3) if generator.matrix[i][k]) for i in range(3)]
    signs = [generator.matrix[i][to[i]] for i in range(3)]
    rows = set()
    for index, n in columns.items():
        image, total = tuple(to[i] for i in index), sign
        for i in index:
            total *= signs[i]
        row = [0] * len(columns)
        row[n] += 1
        if image in owner:
            representative, own = owner[image]
            row[columns[representative]] -= total * own
        if any(row):
            rows.add(tuple(row))
    return rows


def _folded(
    fold: int, order: int, owner: dict[Index, tuple[Index, int]], columns: dict[Index, int]
) -> set[tuple[int, ...]]:
    """J_z times a product of J_z^2 + (k n)^2: nothing but multiples of n is left of the eigenvalues."""
    tensor = np.zeros((*(3,) * order, len(columns)), dtype=np.int64)
    for index, (representative, sign) in owner.items():
        tensor[(*index, columns[representative])] = sign
    tensor = turned_tensor(tensor, 2)
    for k in range(1, order // fold + 1 if fold else 1):
        tensor = turned_tensor(turned_tensor(tensor, 2), 2) + (k * fold) ** 2 * tensor
    return {tuple(int(v) for v in row) for row in tensor.reshape(-1, len(columns)) if row.any()}


def eliminate(rows: set[tuple[int, ...]], size: int) -> list[dict[int, Fraction]]:
    """Unknowns of equations with whole coefficients as combinations of independent ones, the earliest that there are.

    Args:
        rows: Equations, a coefficient for each unknown.
        size: Number of unknowns.
    Returns:
        For each unknown {independent one: coefficient}, {itself: 1} if it is independent.
    """
    if not rows:
        return [{n: Fraction(1)} for n in range(size)]
    backwards = [[ZZ(v) for v in reversed(row)] for row in sorted(rows)]
    reduced, pivots = DomainMatrix(backwards, (len(backwards), size), ZZ).convert_to(QQ).rref()
    entries = reduced.to_dok()
    solved = [{n: Fraction(1)} for n in range(size)]
    for row, pivot in enumerate(pivots):
        solved[size - 1 - pivot] = {}
        for column in range(pivot + 1, size):
            value = entries.get((row, column))
            if value:
                solved[size - 1 - pivot][size - 1 - column] = Fraction(-int(value.numerator), int(value.denominator))
    return [dict(sorted(combination.items())) for combination in solved]
