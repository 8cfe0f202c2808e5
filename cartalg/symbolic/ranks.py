"""Ranks and the components of symmetric tensors, counted: whole numbers alone, without SymPy."""

from fractions import Fraction
from math import factorial


def check_rank(rank: int, name: str = "rank") -> int:
    """Return `rank`, or say what a rank may be.

    Raises:
        ValueError: If `rank` is not a non-negative integer.
    """
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 0:
        raise ValueError(f"{name} must be a non-negative integer, got {rank!r}")
    return rank


def double_factorial(n: int) -> int:
    """n!! for n >= -1, with (-1)!! = 0!! = 1."""
    return 1 if n <= 0 else n * double_factorial(n - 2)


def multinomial(exponents: tuple[int, ...]) -> int:
    """Number of distinct index assignments of the monomial x^a y^b z^c: (a+b+c)!/(a! b! c!)."""
    result = factorial(sum(exponents))
    for exponent in exponents:
        result //= factorial(exponent)
    return result


def multi_indices(order: int) -> list[tuple[int, int, int]]:
    """All (a, b, c) with a + b + c = order: the distinct components of a symmetric tensor."""
    return [(a, b, order - a - b) for a in range(order, -1, -1) for b in range(order - a, -1, -1)]


def component_norm(rank: int, m: int) -> Fraction:
    r"""Squared norm of basis tensor m of a rank in closed form: what `cartalg.symbolic.basis.squared_norms` contracts.

    .. math:: N_{lm} = 4^k\, \frac{(l+m)!\,(l-m)!}{l!\,(2l-1)!!}\, \tfrac12^{[m \ne 0]} \in [\tfrac12, 2)

    Source: docs/theory.md, eq. 6.
    """
    norm = Fraction(factorial(rank + m) * factorial(rank - m), factorial(rank) * double_factorial(2 * rank - 1))
    norm /= 2 if m else 1
    while norm >= 2:
        norm /= 4
    while norm < Fraction(1, 2):
        norm *= 4
    return norm
