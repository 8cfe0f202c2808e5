r"""The orthogonal rational basis of traceless tensors, and the exact maps out of it.

Basis tensor m of rank l, m = -l..l, is the traceless part of z^(l-|m|) Re (x+iy)^m (Im for m < 0), times a power of
two. The basis is orthogonal under full contraction, its squared norms are rational and lie in [1/2, 2), and the map
to real spherical harmonics is diagonal.

A packed tensor is its 2l+1 coordinates t_m in T = sum_m t_m e_m. Source: docs/theory.md, eqs. 6-8.
"""

from functools import cache

import sympy as sp
from sympy import QQ

from cartalg.symbolic.polynomials import RING, Polynomial, Rational, X, Y, Z, contraction
from cartalg.symbolic.projector import detrace
from cartalg.symbolic.ranks import check_rank, double_factorial, multi_indices, multinomial


@cache
def basis_polynomials(rank: int) -> tuple[Polynomial, ...]:
    """Basis tensors e_{-l}..e_{l} of one rank as harmonic polynomials in Q[x, y, z].

    Args:
        rank: l >= 0.
    Returns:
        2l+1 elements of `cartalg.symbolic.polynomials.RING`; `.as_expr()` gives a SymPy expression.
    Raises:
        ValueError: If the rank is negative or not an integer.
    Source: docs/theory.md, eq. 6.
    """
    check_rank(rank)
    real, imaginary = [RING(1)], [RING(0)]
    for _ in range(rank):
        real, imaginary = (
            [*real, X * real[-1] - Y * imaginary[-1]],
            [*imaginary, X * imaginary[-1] + Y * real[-1]],
        )
    seeds = [Z ** (rank - abs(m)) * (real[m] if m >= 0 else imaginary[-m]) for m in range(-rank, rank + 1)]
    return tuple(_near_unit(detrace(seed, rank)) for seed in seeds)


def _near_unit(p: Polynomial) -> Polynomial:
    """Scale by the power of two that puts the squared norm into [1/2, 2)."""
    while contraction(p, p) >= 2:
        p = p * QQ(1, 2)
    while contraction(p, p) < QQ(1, 2):
        p = p * 2
    return p


@cache
def squared_norms(rank: int) -> tuple[Rational, ...]:
    """Full contraction e_m . e_m of each basis tensor, in order m = -l..l; all in [1/2, 2)."""
    return tuple(contraction(p, p) for p in basis_polynomials(rank))


@cache
def harmonic_polynomials(rank: int) -> tuple[Polynomial, ...]:
    r"""Packed components of the Cartesian harmonic T_l(v) as polynomials in v, homogeneous of degree l.

    .. math:: T_l(v) = \frac{(2l-1)!!}{l!} P_l (v \otimes .. \otimes v), \quad T_l(n) \cdot n^l = 1

    Source: docs/theory.md, eq. 7; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    scale = QQ(double_factorial(2 * rank - 1), int(sp.factorial(rank)))
    return tuple(p * (scale / n) for p, n in zip(basis_polynomials(rank), squared_norms(rank), strict=True))


def cartesian_harmonic(rank: int) -> sp.Matrix:
    """Packed components of T_l(v) as a SymPy column in x, y, z; homogeneous, and normalised so that T_l(n).n^l = 1.

    Raises:
        ValueError: If the rank is negative or not an integer.
    Source: docs/theory.md, eq. 7.
    """
    check_rank(rank)
    return sp.Matrix([p.as_expr() for p in harmonic_polynomials(rank)])


def to_sympy(value: Rational) -> sp.Rational:
    """An element of QQ as a SymPy number."""
    return sp.Rational(int(value.numerator), int(value.denominator))


def full_tensor_matrix(rank: int) -> sp.Matrix:
    """Exact map from packed components to the full tensor: shape [3^l, 2l+1], row-major over the l indices.

    The inverse is `packing_matrix`. Raises ValueError for an invalid rank. Source: docs/theory.md, eq. 8.
    """
    check_rank(rank)
    columns = []
    for p in basis_polynomials(rank):
        column = []
        for flat in range(3**rank):
            digits = [(flat // 3**i) % 3 for i in range(rank)]
            exponents = (digits.count(0), digits.count(1), digits.count(2))
            column.append(to_sympy(p[exponents]) / multinomial(exponents) if exponents in p else sp.Integer(0))
        columns.append(column)
    return sp.Matrix(columns).T


def packing_matrix(rank: int) -> sp.Matrix:
    """Exact map from the full tensor (row-major, 3^l) to packed components; other parts of the tensor are dropped.

    Applied to any rank-l tensor it gives the packed components of its symmetric traceless part. Shape [2l+1, 3^l].
    """
    unpack = full_tensor_matrix(rank)
    return sp.Matrix(sp.diag(*[1 / to_sympy(n) for n in squared_norms(rank)]) * unpack.T)


def monomial_indices(rank: int) -> list[tuple[int, int, int]]:
    """Exponents (a, b, c), c <= 1, of the 2l+1 independent components of a traceless tensor: at most one index is z."""
    return [e for e in multi_indices(check_rank(rank)) if e[2] <= 1]


def monomial_matrix(rank: int) -> sp.Matrix:
    """Exact map from packed components to the independent monomial components T_{x..y..z}: shape [2l+1, 2l+1].

    Rows follow `monomial_indices`. The inverse, `monomial_matrix(l).inv()`, is exact as well.
    """
    return sp.Matrix(
        [
            [to_sympy(p[e]) / multinomial(e) if e in p else sp.Integer(0) for p in basis_polynomials(rank)]
            for e in monomial_indices(rank)
        ]
    )
