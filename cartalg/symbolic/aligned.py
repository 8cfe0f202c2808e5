r"""Couplings with the harmonic of z: diagonal in m, and as many as there are diagonals.

.. math:: \sum_{ab} C_{kab}\, x_a T_b(z) = d_{l_2}(|m|)\, x_m, \quad k = a = m

for contractions (l1, l2) -> l3, l2 = |l1-l3|, |l1-l3|+2, .., l1+l3: min(l1, l3) + 1 of them, as there are values of
|m|. So sums of paths and sums of diagonals are the same. Source: docs/theory.md, eq. 54.
"""

from fractions import Fraction
from functools import cache

import sympy as sp

from cartalg.symbolic.basis import harmonic_polynomials, to_sympy
from cartalg.symbolic.coupling import coupling


@cache
def diagonal(l1: int, l2: int, l3: int) -> tuple[Fraction, ...]:
    """d(m), m = 0..min(l1, l3): the part of component m of rank l3 that comes from component m of rank l1.

    Raises:
        ValueError: If there is no contraction (l1, l2) -> l3.
    """
    if (l1 + l2 + l3) % 2:
        raise ValueError(f"({l1}, {l2}) -> {l3} is no contraction: it takes m to -m")
    z = [to_sympy(p.get((0, 0, l2), 0)) for p in harmonic_polynomials(l2)]
    found = [sp.Integer(0)] * (min(l1, l3) + 1)
    for (k, a, b), c in coupling(l1, l2, l3).entries.items():
        m = k - l3
        if z[b] and m >= 0 and a - l1 == m:
            found[m] += to_sympy(c) * z[b]
    return tuple(Fraction(int(d.p), int(d.q)) for d in found)


@cache
def paths_of_diagonals(l1: int, l3: int) -> dict[int, tuple[Fraction, ...]]:
    """The weight of each path l2, as a combination of the weights of |m|: {l2: coefficient of each m}."""
    ranks = range(abs(l1 - l3), l1 + l3 + 1, 2)
    rows = zip(*(diagonal(l1, l2, l3) for l2 in ranks), strict=True)
    inverse = sp.Matrix([[sp.Rational(d.numerator, d.denominator) for d in row] for row in rows]).inv()
    return {l2: tuple(Fraction(int(c.p), int(c.q)) for c in inverse.row(n)) for n, l2 in enumerate(ranks)}
