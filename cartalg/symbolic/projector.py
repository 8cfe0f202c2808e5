r"""The traceless projector of any rank, in closed form.

.. math:: P_l f = \sum_{m \le l/2} (-1)^m \frac{(2l-2m-1)!!}{(2m)!!\,(2l-1)!!}\; r^{2m} \Delta^m f
          [docs/theory.md, eq. 4]

Source: Applequist 1989, eq. 5.1 (our projector carries 1/(2l-1)!!); Zaverkin et al. 2024 (arXiv:2405.14253).
"""

from sympy import QQ, Array, Rational, symbols
from sympy.core.symbol import Symbol

from cartalg.symbolic.polynomials import RADIUS_SQUARED, RING, Polynomial, laplacian
from cartalg.symbolic.ranks import check_rank, double_factorial, multi_indices


def projector_terms(rank: int) -> list[Rational]:
    r"""Coefficients of {delta^m x^(l-2m)} in the projection of x_{i1}..x_{il} onto its traceless part.

    Entry m is (-1)^m (2l-2m-1)!!/(2l-1)!!, and the braces are the sum over distinct index assignments.

    Args:
        rank: l >= 0.
    Raises:
        ValueError: If the rank is negative or not an integer.
    Source: docs/theory.md, eq. 5; Applequist 1989, eq. 5.1.
    """
    check_rank(rank)
    top = double_factorial(2 * rank - 1)
    return [Rational((-1) ** m * double_factorial(2 * rank - 2 * m - 1), top) for m in range(rank // 2 + 1)]


def detrace(p: Polynomial, rank: int) -> Polynomial:
    """Remove every multiple of r^2 from a homogeneous polynomial of degree `rank` [docs/theory.md, eq. 4]."""
    result, trace, power = RING(0), p, RING(1)
    for m, coefficient in enumerate(projector_terms(rank)):
        result += QQ(coefficient.p, coefficient.q * double_factorial(2 * m)) * power * trace
        trace, power = laplacian(trace), power * RADIUS_SQUARED
    return result


def projector(rank: int, variables: tuple[Symbol, Symbol, Symbol] | None = None) -> Array:
    """The traceless part of x_{i1}..x_{il} as an explicit array of SymPy expressions.

    Args:
        rank: l >= 0.
        variables: Names for the three components of the vector; x, y, z by default.
    Returns:
        Array of shape [3] * rank (a scalar array of one element for rank 0).
    Raises:
        ValueError: If the rank is negative or not an integer.
    Source: docs/theory.md, eq. 5.
    """
    check_rank(rank)
    names = variables or symbols("x y z")
    parts = {}
    for exponents in multi_indices(rank):
        # P is self-adjoint, so the component of P x..x along a monomial is the projection of that monomial.
        monomial = RING({exponents: QQ(1)})
        parts[exponents] = detrace(monomial, rank).as_expr(*names)
    flat = []
    for flat_index in range(3**rank):
        digits = [(flat_index // 3 ** (rank - 1 - i)) % 3 for i in range(rank)]
        flat.append(parts[digits.count(0), digits.count(1), digits.count(2)])
    return Array(flat, (3,) * rank) if rank else Array(flat, (1,))
