"""Homogeneous polynomials in x, y, z over Q: the other face of symmetric tensors.

A symmetric tensor T of rank l is the polynomial T(x) = T_{i1..il} x_{i1}..x_{il}. Full contraction of two tensors,
derivatives (contraction with one index) and the Laplacian (a trace) are then operations on coefficients, all exact.
Source: docs/theory.md, eqs. 1-3.
"""

from fractions import Fraction
from typing import Any

import sympy as sp
from sympy import QQ, ring

from cartalg.symbolic.ranks import multinomial

#: The ring Q[x, y, z] and its generators; elements are sparse, with python-flint coefficients where it is installed.
RING, X, Y, Z = ring("x,y,z", QQ)
AXES = (X, Y, Z)
RADIUS_SQUARED = X**2 + Y**2 + Z**2

#: An element of RING. SymPy builds the class at run time, so a type checker sees `Any`.
Polynomial = Any
#: An element of QQ.
Rational = Any


def rational(value: Any) -> Fraction:
    """A SymPy rational as a Fraction."""
    return Fraction(int(sp.Rational(value).p), int(sp.Rational(value).q))


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
