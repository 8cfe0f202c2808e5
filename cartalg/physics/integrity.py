r"""Integrity bases: invariants of irreps of which all others are polynomials, found degree by degree.

Molien's series says how many invariants of given degrees there are. Products of the generators found so far span some
of them; coupling covariants of one degree less with a variable once more spans all, so that what is missing is filled
up from these. Whether invariants are independent is read off their values at points of a prime field: a rank there is a
lower bound over Q, and where it reaches Molien's number it is exact.
Source: Boehler, Kirillov & Onat, J. Elasticity 34, 97 (1994); Olive, Kolev & Auffray, Arch. Ration. Mech. 226, 1
(2017).
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy as sp

from cartalg.physics.molien import SCALAR, count_covariants
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.irreps import Irrep, Irreps

PRIME = 2**31 - 1
Degrees = tuple[int, ...]
#: A polynomial: the number of a variable, or two of them coupled to a rank.
Tree = int | tuple["Tree", "Tree", int]


@dataclass(frozen=True)
class Invariant:
    """A generator.

    Attributes:
        degrees: In each variable.
        tree: How it is coupled from the variables.
        names: Of the variables.
    """

    degrees: Degrees
    tree: Tree
    names: tuple[str, ...]

    @property
    def degree(self) -> int:
        """In all variables together."""
        return sum(self.degrees)

    def __str__(self) -> str:
        """Like ((a a)2 a)0: brackets are couplings, the number after one its rank."""
        return _written(self.tree, self.names)

    def polynomial(self, irreps: Sequence[Irrep]) -> sp.Expr:
        """In packed components a0, a1, .. of the variables, m = -l..l, with rational coefficients."""
        symbols = [
            [sp.Symbol(f"{name}{m}") for m in range(ir.dim)] for name, ir in zip(self.names, irreps, strict=True)
        ]
        ring, *generators = sp.ring([s for row in symbols for s in row], sp.QQ)
        values = iter(generators)
        leaves = [[next(values) for _ in row] for row in symbols]

        def evaluate(tree: Tree) -> tuple[list[sp.polys.rings.PolyElement], int]:
            if isinstance(tree, int):
                return leaves[tree], irreps[tree].l
            (left, l1), (right, l2), l3 = evaluate(tree[0]), evaluate(tree[1]), tree[2]
            result = [ring(0)] * (2 * l3 + 1)
            for (k, a, b), c in coupling(l1, l2, l3).entries.items():
                result[k] += c * left[a] * right[b]
            return result, l3

        return evaluate(self.tree)[0][0].as_expr()


def _written(tree: Tree, names: Sequence[str]) -> str:
    if isinstance(tree, int):
        return names[tree]
    return f"({_written(tree[0], names)} {_written(tree[1], names)}){tree[2]}"


@dataclass(frozen=True)
class _Covariant:
    """A covariant and its values, [points, 2l+1], in the prime field."""

    tree: Tree
    irrep: Irrep
    values: np.ndarray


class _Span:
    """Rows of a prime field in echelon form."""

    def __init__(self) -> None:
        self.rows: dict[int, np.ndarray] = {}

    def add(self, row: np.ndarray) -> bool:
        """Take a row in; False if it depends on those that are there."""
        row = row.copy() % PRIME
        for pivot, kept in self.rows.items():
            if row[pivot]:
                row = (row - int(row[pivot]) * kept) % PRIME
        places = np.flatnonzero(row)
        if not len(places):
            return False
        pivot = int(places[0])
        self.rows[pivot] = row * pow(int(row[pivot]), -1, PRIME) % PRIME
        return True


@cache
def _modular(l1: int, l2: int, l3: int) -> tuple[tuple[tuple[int, int, int], int], ...]:
    entries = coupling(l1, l2, l3).entries
    return tuple((at, int(c.numerator) * pow(int(c.denominator), -1, PRIME) % PRIME) for at, c in entries.items())


def _coupled(left: _Covariant, right: _Covariant, out: Irrep) -> _Covariant:
    values = np.zeros((len(left.values), out.dim), dtype=np.int64)
    for (k, a, b), c in _modular(left.irrep.l, right.irrep.l, out.l):
        values[:, k] = (values[:, k] + c * (left.values[:, a] * right.values[:, b] % PRIME)) % PRIME
    return _Covariant((left.tree, right.tree, out.l), out, values)


def integrity_basis(irreps: Irreps | str, degree: int, rotations: bool = False, seed: int = 0) -> tuple[Invariant, ...]:
    """Generators of all invariants up to a degree, of several irreps together.

    Args:
        irreps: The variables, like ``"1o + 2e"``; they are named a, b, .. in order.
        degree: The highest, all variables together.
        rotations: Invariants of rotations alone, pseudoscalars among them.
        seed: Of the points at which ranks are found.
    Raises:
        ValueError: If the text is no direct sum, or more than eight variables are given.
    """
    variables = [irrep for mul, irrep in Irreps(irreps) for _ in range(mul)]
    if len(variables) > 8:
        raise ValueError(f"at most 8 irreps can be variables, got {len(variables)}")
    names = tuple("abcdefgh"[: len(variables)])
    wanted = (SCALAR, Irrep(0, -1)) if rotations else (SCALAR,)
    every = list(_degrees(len(variables), degree))
    counts = {(d, s): count_covariants(variables, d, s) for d in every for s in wanted}
    points = max([1, *counts.values()]) + 4
    source = random.Random(seed)
    leaves = []
    for number, irrep in enumerate(variables):
        rows = [[source.randrange(PRIME) for _ in range(irrep.dim)] for _ in range(points)]
        leaves.append(_Covariant(number, irrep, np.array(rows, dtype=np.int64)))
    store = _Store(leaves)
    generators: list[tuple[Invariant, Irrep, np.ndarray]] = []
    for d in every:
        for scalar in wanted:
            needed, span = counts[d, scalar], _Span()
            if not needed:
                continue
            for values in _products([(g.degrees, s.p, v) for g, s, v in generators], d, scalar.p, points):
                if len(span.rows) == needed:
                    break
                span.add(values)
            for candidate in store.scalars(d, scalar):
                if len(span.rows) == needed:
                    break
                if span.add(candidate.values[:, 0]):
                    generators.append((Invariant(d, candidate.tree, names), scalar, candidate.values[:, 0]))
            if len(span.rows) < needed:  # by completeness of couplings: only if a rank is lost modulo the prime
                raise ValueError(f"{len(span.rows)} of {needed} invariants of degrees {d} found; take another seed")
    return tuple(g for g, _, _ in generators)


def _degrees(number: int, degree: int) -> Iterator[Degrees]:
    """Degrees in each variable, by their sum."""
    for total in range(1, degree + 1):
        yield from (d for d in itertools.product(range(total, -1, -1), repeat=number) if sum(d) == total)


def _products(
    generators: Sequence[tuple[Degrees, int, np.ndarray]], degrees: Degrees, parity: int, points: int
) -> Iterator[np.ndarray]:
    """Values of all monomials in the generators that have these degrees and this parity."""

    def extend(start: int, left: Degrees, sign: int, values: np.ndarray) -> Iterator[np.ndarray]:
        if not any(left):
            if sign == parity:
                yield values
            return
        for n in range(start, len(generators)):
            own, p, v = generators[n]
            rest = tuple(a - b for a, b in zip(left, own, strict=True))
            if min(rest) >= 0:
                yield from extend(n, rest, sign * p, values * v % PRIME)

    yield from extend(0, degrees, 1, np.ones(points, dtype=np.int64))


class _Store:
    """Covariants by degrees and irrep, made when they are asked for, as many as are independent."""

    def __init__(self, leaves: Sequence[_Covariant]) -> None:
        self.leaves = leaves
        self.known: dict[tuple[Degrees, Irrep], list[_Covariant]] = {}

    def scalars(self, degrees: Degrees, scalar: Irrep) -> Iterator[_Covariant]:
        """Covariants of one degree less, coupled with a variable of the same rank."""
        for number, leaf in enumerate(self.leaves):
            if degrees[number]:
                less = tuple(d - (n == number) for n, d in enumerate(degrees))
                partner = Irrep(leaf.irrep.l, leaf.irrep.p * scalar.p)
                for covariant in self.of(less, partner):
                    yield _coupled(covariant, leaf, scalar)

    def of(self, degrees: Degrees, irrep: Irrep) -> list[_Covariant]:
        """A basis of the covariants of these degrees that turn like an irrep."""
        if (degrees, irrep) in self.known:
            return self.known[degrees, irrep]
        variables = [leaf.irrep for leaf in self.leaves]
        found: list[_Covariant] = []
        if sum(degrees) == 1:
            found = [leaf for n, leaf in enumerate(self.leaves) if degrees[n] and leaf.irrep == irrep]
        elif sum(degrees):
            needed, span = count_covariants(variables, degrees, irrep), _Span()
            for candidate in self._candidates(degrees, irrep) if needed else ():
                if span.add(candidate.values.reshape(-1)):
                    found.append(candidate)
                if len(found) == needed:
                    break
        self.known[degrees, irrep] = found
        return found

    def _candidates(self, degrees: Degrees, irrep: Irrep) -> Iterator[_Covariant]:
        """Covariants of one degree less coupled with a variable, those of low rank first."""
        last = max(n for n, d in enumerate(degrees) if d)  # the variables come in order: nothing is lost by that
        leaf = self.leaves[last]
        less = tuple(d - (n == last) for n, d in enumerate(degrees))
        for rank in range(abs(leaf.irrep.l - irrep.l), leaf.irrep.l + irrep.l + 1):
            for covariant in self.of(less, Irrep(rank, irrep.p * leaf.irrep.p)):
                yield _coupled(covariant, leaf, irrep)
