"""Homogeneous polynomials in x, y, z over Q: the other face of symmetric tensors.

A symmetric tensor T of rank l is the polynomial T(x) = T_{i1..il} x_{i1}..x_{il}. Full contraction of two tensors,
derivatives (contraction with one index) and the Laplacian (a trace) are then operations on coefficients, all exact.
Source: docs/theory.md, eqs. 1-3.
"""

from fractions import Fraction
from math import factorial
from typing import Any

import sympy as sp
from sympy import QQ, ring

#: The ring Q[x, y, z] and its generators; elements are sparse, with python-flint coefficients where it is installed.
RING, X, Y, Z = ring("x,y,z", QQ)
AXES = (X, Y, Z)
RADIUS_SQUARED = X**2 + Y**2 + Z**2

#: An element of RING. SymPy builds the class at run time, so a type checker sees `Any`.
Polynomial = Any
#: An element of QQ.
Rational = Any


def check_rank(rank: int, name: str = "rank") -> int:
    """Return `rank`, or say what a rank may be.

    Raises:
        ValueError: If `rank` is not a non-negative integer.
    """
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 0:
        raise ValueError(f"{name} must be a non-negative integer, got {rank!r}")
    return rank


def rational(value: Any) -> Fraction:
    """A SymPy rational as a Fraction."""
    return Fraction(int(sp.Rational(value).p), int(sp.Rational(value).q))


def double_factorial(n: int) -> int:
    """n!! for n >= -1, with (-1)!! = 0!! = 1."""
    return 1 if n <= 0 else n * double_factorial(n - 2)


def multinomial(exponents: tuple[int, ...]) -> int:
    """Number of distinct index assignments of the monomial x^a y^b z^c: (a+b+c)!/(a! b! c!)."""
    result = factorial(sum(exponents))
    for exponent in exponents:
        result //= factorial(exponent)
    return result


def contraction(p: Polynomial, q: Polynomial) -> Rational:
    """Full contraction P_{i1..il} Q_{i1..il} of two tensors of one rank [docs/theory.md, eq. 2]."""
    return sum((c * q[e] / multinomial(e) for e, c in p.items() if e in q), QQ(0))


def laplacian(p: Polynomial) -> Polynomial:
    """The trace of the tensor, times l (l-1): d^2p/dx^2 + d^2p/dy^2 + d^2p/dz^2."""
    return sum((p.diff(axis).diff(axis) for axis in AXES), RING(0))


def derivative(p: Polynomial, orders: tuple[int, int, int]) -> Polynomial:
    """The mixed partial derivative of `p` with the given order along x, y and z."""
    for axis, order in zip(AXES, orders, strict=True):
        for _ in range(order):
            p = p.diff(axis)
    return p


def multi_indices(order: int) -> list[tuple[int, int, int]]:
    """All (a, b, c) with a + b + c = order: the distinct components of a symmetric tensor."""
    return [(a, b, order - a - b) for a in range(order, -1, -1) for b in range(order - a, -1, -1)]
