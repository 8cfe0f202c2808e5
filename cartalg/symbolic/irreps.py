"""Irreducible representations of O(3), and direct sums of them, as the field writes them: ``64x0e + 64x1o``.

An `Irrep` has a rank l and a parity p, its sign under inversion. *Natural* is the parity (-1)^l, of tensors made of
vectors alone; *axial* the other one, of tensors with one cross product in them.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from cartalg.symbolic.ranks import check_rank


class Irrep(NamedTuple):
    """Rank l >= 0 and parity p = +1 or -1."""

    l: int  # noqa: E741
    p: int

    @classmethod
    def parse(cls, text: str) -> "Irrep":
        """``"1o"`` is a vector, ``"1e"`` an axial vector; e is even under inversion, o odd.

        Raises:
            ValueError: If the text is no irrep.
        """
        match = re.fullmatch(r"\s*(\d+)([eo])\s*", text)
        if match is None:
            raise ValueError(f"{text!r} is no irrep; write a rank and a parity, such as 0e, 1o or 2e")
        return cls(int(match[1]), 1 if match[2] == "e" else -1)

    @classmethod
    def of_natural(cls, rank: int) -> "Irrep":
        """The irrep of a rank with natural parity. Raises ValueError for a rank that is none."""
        return cls(check_rank(rank, "rank"), (-1) ** rank)

    @property
    def dim(self) -> int:
        """2l+1 components."""
        return 2 * self.l + 1

    @property
    def natural(self) -> bool:
        """Parity (-1)^l."""
        return self.p == (-1) ** self.l

    @property
    def axial(self) -> bool:
        """Parity -(-1)^l."""
        return not self.natural

    def couples(self, other: "Irrep") -> Iterator["Irrep"]:
        """Every irrep in the product of the two: |l1-l2| <= l <= l1+l2, p = p1 p2."""
        for rank in range(abs(self.l - other.l), self.l + other.l + 1):
            yield Irrep(rank, self.p * other.p)

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p > 0 else 'o'}"

    def __repr__(self) -> str:
        return str(self)


class MulIrrep(NamedTuple):
    """`mul` copies of an irrep."""

    mul: int
    irrep: Irrep

    @property
    def dim(self) -> int:
        """mul (2l+1) components."""
        return self.mul * self.irrep.dim

    def __str__(self) -> str:
        return str(self.irrep) if self.mul == 1 else f"{self.mul}x{self.irrep}"

    def __repr__(self) -> str:
        return str(self)


class Irreps(tuple[MulIrrep, ...]):
    """A direct sum of irreps, in order.

    Args:
        terms: A text such as ``"64x0e + 64x1o"``, or irreps, or pairs (multiplicity, irrep).
    Raises:
        ValueError: If the text is no direct sum of irreps, or a multiplicity is negative.
    """

    __slots__ = ()

    def __new__(cls, terms: "str | Iterable[Irrep | MulIrrep | tuple[int, Irrep]]" = ()) -> "Irreps":
        """Parse, or take as given."""
        if isinstance(terms, str):
            return cls(_parse(terms))
        found = []
        for term in terms:
            mul, irrep = (1, term) if isinstance(term, Irrep) else term
            if not isinstance(irrep, Irrep) or mul < 0:
                raise ValueError(f"{term!r} is no irrep, and no pair of a multiplicity and an irrep")
            found.append(MulIrrep(mul, irrep))
        return super().__new__(cls, found)

    @classmethod
    def natural(cls, max_rank: int) -> "Irreps":
        """Ranks 0..max_rank, each once, of natural parity. Raises ValueError for a rank that is none."""
        return cls(Irrep.of_natural(rank) for rank in range(check_rank(max_rank, "max_rank") + 1))

    @classmethod
    def full(cls, max_rank: int) -> "Irreps":
        """Ranks 0..max_rank of natural parity, then the same of axial parity."""
        natural = cls.natural(max_rank)
        return cls([*natural, *(Irrep(ir.l, -ir.p) for ir in natural.irreps)])

    @property
    def irreps(self) -> tuple[Irrep, ...]:
        """The irreps without their multiplicities."""
        return tuple(term.irrep for term in self)

    @property
    def dim(self) -> int:
        """Components in all."""
        return sum(term.dim for term in self)

    @property
    def lmax(self) -> int:
        """Highest rank. Raises ValueError for an empty sum."""
        return max(irrep.l for irrep in self.irreps)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where the components of each term lie."""
        found, start = [], 0
        for term in self:
            found.append(slice(start, start + term.dim))
            start += term.dim
        return tuple(found)

    def slice_of(self, irrep: Irrep) -> slice:
        """Where the components of an irrep lie. Raises KeyError if it is not one of the terms."""
        for term, place in zip(self, self.slices, strict=True):
            if term.irrep == irrep:
                return place
        raise KeyError(f"{irrep} is not in {self}")

    def count(self, irrep: object) -> int:
        """How often an irrep occurs, multiplicities added."""
        return sum(term.mul for term in self if term.irrep == irrep)

    def filter(self, keep: Callable[[Irrep], bool]) -> "Irreps":
        """The terms whose irrep a function is true of."""
        return Irreps(term for term in self if keep(term.irrep))

    def __contains__(self, irrep: object) -> bool:
        return self.count(irrep) > 0

    def __add__(self, other: Iterable[MulIrrep]) -> "Irreps":  # type: ignore[override]
        return Irreps([*self, *other])

    def __mul__(self, factor: object) -> "Irreps":
        """Every multiplicity times a number, as for channels: ``Irreps("0e + 1o") * 64``."""
        if not isinstance(factor, int):
            return NotImplemented
        return Irreps((term.mul * factor, term.irrep) for term in self)

    __rmul__ = __mul__

    def __str__(self) -> str:
        return " + ".join(map(str, self))

    def __repr__(self) -> str:
        return f"Irreps({str(self)!r})"


def paths(
    left: Iterable[Irrep] | Irreps, right: Iterable[Irrep] | Irreps, outputs: Iterable[Irrep] | Irreps
) -> Iterator[tuple[Irrep, Irrep, Irrep]]:
    """Every coupling left x right -> outputs that rank and parity allow, ordered by output, left, right.

    Parity is multiplicative: p3 = p1 p2, so natural tensors reach natural ones by contractions only. Each irrep counts
    as often as it is listed; multiplicities are left aside.
    """
    firsts, seconds, outs = (Irreps(irreps).irreps for irreps in (left, right, outputs))
    for out in outs:
        for first in firsts:
            for second in seconds:
                if out in first.couples(second):
                    yield first, second, out


def _parse(text: str) -> Iterator[MulIrrep]:
    for part in filter(None, (p.strip() for p in text.split("+"))):
        mul, separator, irrep = part.rpartition("x")
        if separator and not mul.strip().isdigit():
            raise ValueError(f"{part!r} is no multiple of an irrep; write it as 64x1o")
        yield MulIrrep(int(mul) if separator else 1, Irrep.parse(irrep))
