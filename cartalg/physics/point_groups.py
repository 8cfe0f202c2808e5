r"""Point groups from their Hermann-Mauguin symbols: the 32 of crystals, those of Curie, and magnetic ones.

A symbol names operations along directions that its system fixes, and these generate the group. Each of them is a
signed permutation of the axes x, y, z, or an n-fold axis along z, of which :mod:`cartalg.physics.properties` needs the
generator of rotations alone, an integer matrix: nothing irrational occurs, threefold axes included. Whole groups are
listed as integer matrices of a lattice. A prime on an operation is time reversal with it.

Setting: x, y, z as in Nye (1957) and in the IRE standard: monoclinic axis along y, trigonal and hexagonal a along x.
Source: Nye, Physical Properties of Crystals, 1957; International Tables for Crystallography A, ch. 10, and D, ch. 1.5.
"""

import re
from dataclasses import dataclass
from functools import cached_property

Matrix = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]

#: System, Schoenflies symbol of each class; the last seven are the continuous groups of Curie.
CLASSES: dict[str, tuple[str, str]] = {
    "1": ("triclinic", "C1"),
    "-1": ("triclinic", "Ci"),
    "2": ("monoclinic", "C2"),
    "m": ("monoclinic", "Cs"),
    "2/m": ("monoclinic", "C2h"),
    "222": ("orthorhombic", "D2"),
    "mm2": ("orthorhombic", "C2v"),
    "mmm": ("orthorhombic", "D2h"),
    "4": ("tetragonal", "C4"),
    "-4": ("tetragonal", "S4"),
    "4/m": ("tetragonal", "C4h"),
    "422": ("tetragonal", "D4"),
    "4mm": ("tetragonal", "C4v"),
    "-42m": ("tetragonal", "D2d"),
    "4/mmm": ("tetragonal", "D4h"),
    "3": ("trigonal", "C3"),
    "-3": ("trigonal", "S6"),
    "32": ("trigonal", "D3"),
    "3m": ("trigonal", "C3v"),
    "-3m": ("trigonal", "D3d"),
    "6": ("hexagonal", "C6"),
    "-6": ("hexagonal", "C3h"),
    "6/m": ("hexagonal", "C6h"),
    "622": ("hexagonal", "D6"),
    "6mm": ("hexagonal", "C6v"),
    "-6m2": ("hexagonal", "D3h"),
    "6/mmm": ("hexagonal", "D6h"),
    "23": ("cubic", "T"),
    "m-3": ("cubic", "Th"),
    "432": ("cubic", "O"),
    "-43m": ("cubic", "Td"),
    "m-3m": ("cubic", "Oh"),
    "∞": ("cylindrical", "C∞"),
    "∞/m": ("cylindrical", "C∞h"),
    "∞2": ("cylindrical", "D∞"),
    "∞m": ("cylindrical", "C∞v"),
    "∞/mm": ("cylindrical", "D∞h"),
    "∞∞": ("spherical", "K"),
    "∞∞m": ("spherical", "Kh"),
}
CRYSTAL_CLASSES = tuple(name for name in CLASSES if "∞" not in name)
CURIE_GROUPS = tuple(name for name in CLASSES if "∞" in name)

#: Directions of the operations of a symbol, one after the other.
_DIRECTIONS = {
    "triclinic": ("z",),
    "monoclinic": ("y",),
    "orthorhombic": ("x", "y", "z"),
    "tetragonal": ("z", "x", "xy"),
    "trigonal": ("z", "x"),
    "hexagonal": ("z", "x", "y"),
    "cubic": ("z", "xyz", "xy"),
    "cylindrical": ("z", "x"),
    "spherical": ("z", "xyz", "centre"),
}
_ONE: Matrix = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_TURNS: dict[tuple[str, str], Matrix] = {
    ("2", "x"): ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    ("2", "y"): ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    ("2", "z"): ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ("2", "xy"): ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
    ("4", "z"): ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    ("3", "xyz"): ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
}
#: A threefold axis along z in the basis of a hexagonal lattice.
_HEXAGONAL: Matrix = ((0, -1, 0), (1, -1, 0), (0, 0, 1))


def times(left: Matrix, right: Matrix) -> Matrix:
    """A product of integer matrices."""
    rows = [[sum(left[i][k] * right[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    return tuple(tuple(row) for row in rows)  # type: ignore[return-value]


def determinant(m: Matrix) -> int:
    """+1 for a rotation, -1 for one with a reflection."""
    (a, b, c), (d, e, f), (g, h, i) = m
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _negative(m: Matrix) -> Matrix:
    return tuple(tuple(-v for v in row) for row in m)  # type: ignore[return-value]


@dataclass(frozen=True)
class Generator:
    """One of the operations that generate a group.

    Attributes:
        matrix: A signed permutation of the axes; the identity for a rotation about z.
        fold: n of an n-fold axis along z, 0 for turns by any angle, 1 where `matrix` is meant.
        primed: Time reversal goes with it.
    """

    matrix: Matrix = _ONE
    fold: int = 1
    primed: bool = False


@dataclass(frozen=True)
class Operation:
    """An element of a finite group: an integer matrix in the basis of its lattice, and whether time is reversed."""

    matrix: Matrix
    primed: bool = False

    @property
    def determinant(self) -> int:
        """+1 or -1."""
        return determinant(self.matrix)

    @property
    def cosine(self) -> int:
        """2 cos of the angle of the rotation that is left when a reflection is taken off: a whole number."""
        return self.determinant * sum(self.matrix[i][i] for i in range(3)) - 1

    def character(self, rank: int, parity: int) -> int:
        r"""Trace on an irrep: 1 + sum over k = 1..l of 2 cos(k angle), times the parity if there is a reflection."""
        total, before, now = 1, 2, self.cosine
        for _ in range(rank):
            total, before, now = total + now, now, self.cosine * now - before
        return total if self.determinant > 0 else parity * total


@dataclass(frozen=True)
class PointGroup:
    """A point group.

    Attributes:
        symbol: Hermann-Mauguin, as it was given, primes included.
        base: The symbol without primes.
        generators: Operations that generate it.
    """

    symbol: str
    base: str
    generators: tuple[Generator, ...]

    @property
    def system(self) -> str:
        """Crystal system; cylindrical and spherical for the continuous groups."""
        return CLASSES[self.base][0]

    @property
    def schoenflies(self) -> str:
        """Schoenflies symbol of the class without primes."""
        return CLASSES[self.base][1]

    @property
    def finite(self) -> bool:
        """No axis turns by any angle."""
        return all(g.fold for g in self.generators)

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Every element, the identity first.

        Raises:
            ValueError: If the group is continuous.
        """
        if not self.finite:
            raise ValueError(f"{self.symbol} is continuous: its operations cannot be listed")
        hexagonal = any(g.fold == 3 for g in self.generators)
        found = [Operation(_ONE)]
        known = set(found)
        given = [Operation(_lattice(g, hexagonal), g.primed) for g in self.generators]
        for operation in found:  # grows as it goes
            for g in given:
                new = Operation(times(operation.matrix, g.matrix), operation.primed ^ g.primed)
                if new not in known:
                    known.add(new)
                    found.append(new)
        return tuple(found)

    def __str__(self) -> str:
        return self.symbol


def _lattice(g: Generator, hexagonal: bool) -> Matrix:
    """A generator in the basis of the lattice: Cartesian axes, or a, b at 120 degrees and c."""
    if g.fold == 3:
        return _HEXAGONAL
    if not hexagonal:
        return g.matrix
    (s, _, _), (_, t, _), (_, _, u) = g.matrix  # of diagonal matrices; b = (-1/2, sqrt(3)/2)
    return ((s, (t - s) // 2, 0), (0, t, 0), (0, 0, u))


def point_group(symbol: str) -> PointGroup:
    """A point group by its Hermann-Mauguin symbol.

    Args:
        symbol: Like ``"-43m"``, ``"6/mmm"``; ``"∞m"`` or ``"infm"``; of magnetic groups ``"4'/mmm'"``, and ``"m-3m1'"``
            with time reversal itself.
    Raises:
        ValueError: If there is no such group, or its primes contradict one another.
    """
    text = symbol.replace("inf", "∞").replace("’", "'").replace(" ", "")
    grey = text.endswith("1'") and text != "-1'"
    body = text[:-2] if grey else text
    base = body.replace("'", "") or "1"
    if base not in CLASSES:
        near = [name for name in CLASSES if sorted(name.replace("-", "")) == sorted(base.replace("-", ""))]
        hint = f"; near it: {', '.join(near)}" if near else f": {', '.join(CLASSES)}"
        raise ValueError(f"there is no point group {symbol!r}{hint}")
    if grey and "'" in body:
        raise ValueError(
            f"{symbol!r}: with 1' every operation is there with and without time reversal; leave out primes"
        )
    generators = list(_generators(body or "1", _DIRECTIONS[CLASSES[base][0]]))
    if grey:
        generators.append(Generator(primed=True))
    group = PointGroup(text, base, tuple(generators))
    if "'" in body:
        _check_primes(group)
    return group


def _generators(body: str, directions: tuple[str, ...]) -> list[Generator]:
    found = []
    tokens = re.findall(r"(-?[12346∞]|m)('?)(/m)?('?)", body)
    for (kind, prime, mirror, prime_of_mirror), direction in zip(tokens, directions, strict=False):
        found += _operation(kind, direction, bool(prime))
        if mirror:
            found += _operation("m", direction, bool(prime_of_mirror))
    return found


def _operation(kind: str, direction: str, primed: bool) -> list[Generator]:
    """The generators that one operation of a symbol stands for; a prime is on the operation, not on its square."""
    if direction == "centre":  # the mirror of ∞∞m
        return [Generator(_negative(_ONE), primed=primed)]
    if kind == "∞":
        return [Generator(_TURNS["3", "xyz"])] if direction == "xyz" else [Generator(fold=0)]
    improper, order = kind.startswith("-"), kind.removeprefix("-")
    if order == "1":
        return [Generator(_negative(_ONE), primed=primed)] if improper else []
    if kind == "m":
        return [Generator(_negative(_TURNS["2", direction]), primed=primed)]
    if order in "36":
        turn = Generator(fold=3) if direction == "z" else Generator(_TURNS["3", direction])
        rest = {"3": _ONE, "-3": _negative(_ONE), "6": _TURNS["2", "z"], "-6": _negative(_TURNS["2", "z"])}[kind]
        return [turn] if rest == _ONE and not primed else [turn, Generator(rest, primed=primed)]
    matrix = _TURNS[order, direction]
    return [Generator(_negative(matrix) if improper else matrix, primed=primed)]


def _check_primes(group: PointGroup) -> None:
    """No operation may be there both with and without time reversal: that would be a grey group, written with 1'."""
    finite = PointGroup(group.symbol, group.base, tuple(g for g in group.generators if g.fold))
    if Operation(_ONE, True) in finite.operations:
        raise ValueError(
            f"the primes of {group.symbol!r} contradict one another; write {group.base}1' for the grey group"
        )
