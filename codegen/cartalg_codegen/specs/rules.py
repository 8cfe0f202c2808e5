"""Exact entries of the rules as Python fractions, and closed forms built from them on numbers of any exact ring."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from cartalg.symbolic.contraction import orthonormal_constant


def fraction(value: Any) -> Fraction:
    """An exact rational of the symbolic layer as a Fraction."""
    return Fraction(int(value.numerator), int(value.denominator))


@cache
def coupling_entries(l1: int, l2: int, l3: int) -> tuple[tuple[int, int, int, Fraction], ...]:
    """(k, a, b, coefficient) of a coupling in the harmonic normalisation."""
    from cartalg.symbolic.coupling import coupling

    return tuple((k, a, b, fraction(c)) for (k, a, b), c in coupling(l1, l2, l3).entries.items())


@cache
def orthonormal_squared(l1: int, l2: int, l3: int) -> Fraction:
    """Square of the factor between the harmonic and the orthonormal normalisation."""
    return orthonormal_constant(l1, l2, l3)  # type: ignore[no-any-return]


def couple(ranks: tuple[int, int, int], a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    """T_k = sum_ab C[k, a, b] a_a b_b [docs/theory.md, eqs. 16-18]."""
    out: list[Any] = [Fraction(0)] * (2 * ranks[2] + 1)
    for k, i, j, c in coupling_entries(*ranks):
        out[k] = out[k] + a[i] * b[j] * c
    return out


def linear(matrix: Any, values: Sequence[Any]) -> list[Any]:
    """A SymPy matrix of rationals times a column."""
    out: list[Any] = [Fraction(0)] * matrix.rows
    for r in range(matrix.rows):
        for c, entry in enumerate(matrix.row(r)):
            if entry:
                out[r] = out[r] + values[c] * Fraction(int(entry.p), int(entry.q))
    return out
