r"""Electrostatics: multipole moments, their translation, potential, field and energy, to any rank, exact.

Moments Q_l = sum q T_l(r) are Buckingham's: traceless, (2l-1)!!/l! P[r..r]. With the irregular harmonics
I_l(x) = T_l(x)/|x|^{2l+1} = (-1)^l/l! times the l-th gradient of 1/|x|, in harmonic couplings,

.. math::
    T_l(x + a) &= \sum_{k \le l} \binom lk\, (T_k(x) \otimes T_{l-k}(a))_l \\
    I_l(x + a) &= \sum_k (-1)^k \binom{l+k}k\, (I_{l+k}(x) \otimes T_k(a))_l, \quad |a| < |x| \\
    \frac1{|x - r|} &= \sum_l \frac1{\alpha_l}\, T_l(r) \cdot I_l(x), \quad \alpha_l = (2l-1)!!/l!

The first is the binomial theorem under the projector, the second Taylor's series of which a traceless tensor leaves the
traceless part. Charges e, lengths a: potentials e/a, without 1/(4 pi epsilon_0).
Source: Stone, The Theory of Intermolecular Forces, 2013, ch. 2, 3; Applequist, J. Phys. A 22, 4303 (1989).
"""

from collections.abc import Sequence
from fractions import Fraction
from math import comb, factorial
from typing import Any

import sympy as sp

from cartalg.physics.packed import Packed, couple, dot, harmonic, packed_vector, rank_of
from cartalg.symbolic.projector import projector
from cartalg.symbolic.ranks import check_rank, double_factorial


def alpha(rank: int) -> sp.Rational:
    """(2l-1)!!/l!, the squared norm of T_l of a unit vector."""
    return sp.Rational(double_factorial(2 * rank - 1), factorial(rank))


def moments(charges: Sequence[Any], positions: Sequence[Sequence[Any]], rank: int) -> list[Packed]:
    """Packed multipole moments of point charges about the origin, ranks 0..rank.

    Args:
        charges: One for each point.
        positions: (x, y, z) of each.
        rank: The highest.
    Raises:
        ValueError: If lengths differ or the rank is invalid.
    """
    found = []
    for l in range(check_rank(rank) + 1):  # noqa: E741
        total: Packed = [0] * (2 * l + 1)
        for q, position in zip(charges, positions, strict=True):
            total = [t + q * v for t, v in zip(total, harmonic(l, position), strict=True)]
        found.append(total)
    return found


def irregular(rank: int, vector: Sequence[Any]) -> Packed:
    """I_l(x) = T_l(x)/|x|^(2l+1) at a vector of numbers or expressions."""
    length = sp.sqrt(sum(v * v for v in vector))
    return [v / length ** (2 * rank + 1) for v in harmonic(rank, vector)]


def moved_regular(parts: Sequence[Packed], shift: Sequence[Any]) -> list[Packed]:
    """T_l(x + a) of T_0(x), .., T_L(x): also the moments of charges that have been moved by a."""
    found = []
    for l in range(len(parts)):  # noqa: E741
        terms = [couple(parts[k], harmonic(l - k, shift), l) for k in range(l + 1)]
        found.append(_sum([comb(l, k) for k in range(l + 1)], terms))
    return found


def moved_irregular(rank: int, parts: Sequence[Packed], shift: Sequence[Any]) -> Packed:
    """I_l(x + a) to the order of the last of I_l(x), I_{l+1}(x), ..: terms of order 0, 1, .. in a, added."""
    terms = [couple(part, harmonic(k, shift), rank) for k, part in enumerate(parts)]
    return _sum([(-1) ** k * comb(rank + k, k) for k in range(len(parts))], terms)


def _sum(factors: Sequence[int], terms: Sequence[Packed]) -> Packed:
    return [sum(f * v for f, v in zip(factors, row, strict=True)) for row in zip(*terms, strict=True)]


def potential(sources: Sequence[Packed], at: Sequence[Any]) -> Any:
    """Potential of multipoles at the origin, ranks 0, 1, .., at a point."""
    return sum(dot(q, irregular(rank_of(q), at)) / alpha(rank_of(q)) for q in sources)


def field(sources: Sequence[Packed], at: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Electric field, minus the gradient of the potential: a . grad I_l = -(l+1) (I_{l+1} x a)_l."""
    found = []
    for axis in range(3):
        along = packed_vector([int(i == axis) for i in range(3)])
        total: Any = 0
        for q in sources:
            l = rank_of(q)  # noqa: E741
            total += (l + 1) * dot(q, couple(irregular(l + 1, at), along, l)) / alpha(l)
        found.append(total)
    return found[0], found[1], found[2]


def energy(first: Sequence[Packed], second: Sequence[Packed], separation: Sequence[Any]) -> Any:
    """Energy of two sets of multipoles, the second at `separation` from the first, axes parallel."""
    total: Any = 0
    top = max(map(rank_of, first), default=0) + max(map(rank_of, second), default=0)
    between = [irregular(l, separation) for l in range(top + 1)]  # noqa: E741
    for q in first:
        l = rank_of(q)  # noqa: E741
        for other in second:
            k = rank_of(other)
            factor = sp.Integer((-1) ** k * comb(l + k, k)) / alpha(l)
            total += factor * dot(q, couple(between[l + k], other, l))
    return total


def interaction_tensor(rank: int, vector: Sequence[Any] | None = None) -> sp.Array:
    r"""The tensor T_{ij..} = grad_i grad_j .. 1/R, shape [3] * rank.

    .. math:: T^{(n)} = (-1)^n \frac{(2n-1)!!}{R^{2n+1}}\, P_n R \cdots R

    Args:
        rank: n.
        vector: R; symbols x, y, z by default.
    Raises:
        ValueError: If the rank is invalid.
    Source: Stone 2013, eqs. 3.1.6-3.1.8.
    """
    check_rank(rank)
    names = sp.symbols("x y z")
    factor = (-1) ** rank * double_factorial(2 * rank - 1) / sp.sqrt(sum(n * n for n in names)) ** (2 * rank + 1)
    found = projector(rank, names).applyfunc(lambda entry: factor * entry)
    return found if vector is None else found.subs(dict(zip(names, vector, strict=True)), simultaneous=True)


def pair_terms(first: int, second: int) -> list[Fraction]:
    """(-1)^(n-k) (2(n-k)-1)!!/k! for k pairs of axes, n the sum of the ranks: see `cartalg.physics.stone`."""
    total = first + second
    return [
        Fraction((-1) ** (total - k) * double_factorial(2 * (total - k) - 1), factorial(k))
        for k in range(min(first, second) + 1)
    ]
