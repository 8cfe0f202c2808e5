r"""Stone's interaction functions: energies of real spherical multipoles in axes of their own, by direction cosines.

With harmonic polynomials p of the first site and q of the second, in the axes of each,

.. math:: T_{l_1 \kappa_1, l_2 \kappa_2} R^{n+1} = \frac{(-1)^{l_1}}{(2l_1-1)!!\,(2l_2-1)!!} \sum_k
          \frac{(-1)^{n-k} (2(n-k)-1)!!}{k!} \left( \partial_a^T c\, \partial_b \right)^k p(r^a)\, q(-r^b)

where n = l1 + l2, r^a and r^b are the components of the unit vector from the first site to the second, and from the
second to the first, and c_ij the cosine between axis i of the first and axis j of the second: derivatives of 1/R fall
on R or, in pairs, on one another, and pairs within a harmonic polynomial vanish.
Source: Stone 2013, section 3.3 and appendix F; Price, Stone & Alderton, Mol. Phys. 52, 987 (1984).
"""

import re
from collections.abc import Sequence
from math import factorial

import sympy as sp
from sympy import QQ, ring

from cartalg.physics.multipoles import pair_terms
from cartalg.symbolic.basis import basis_polynomials, squared_norms, to_sympy
from cartalg.symbolic.polynomials import Polynomial
from cartalg.symbolic.ranks import double_factorial

_NAMES = [f"{site}{axis}" for site in "ab" for axis in "xyz"] + [f"c{i}{j}" for i in "xyz" for j in "xyz"]
_RING, *_GENERATORS = ring(_NAMES, QQ)
_A, _B = _GENERATORS[:3], _GENERATORS[3:6]


def component(label: str) -> tuple[int, int]:
    """Rank and m of a multipole component as Stone writes it: 00, 10, 11c, 11s, 20, .. cosine m > 0, sine m < 0.

    Raises:
        ValueError: If the label is none.
    """
    match = re.fullmatch(r"(\d)(\d)([cs]?)", label)
    if match is None or int(match[2]) > int(match[1]) or (match[2] == "0") == bool(match[3]):
        raise ValueError(f"{label!r} is no multipole component; write 00, 10, 11c, 11s, 20, 21c ..")
    m = int(match[2])
    return int(match[1]), -m if match[3] == "s" else m


def stone_function(first: str, second: str) -> sp.Expr:
    """T R^(l1+l2+1) of two multipole components, in direction cosines.

    Args:
        first, second: Components, like ``"20"`` and ``"11c"``.
    Returns:
        A polynomial in ax, ay, az (unit vector from the first site to the second in the axes of the first), bx, by,
        bz (from the second to the first in those of the second) and cxx, cxy, .. (axes of the first and second).
    Raises:
        ValueError: If a label is none.
    """
    (l1, m1), (l2, m2) = component(first), component(second)
    product = _polynomial(l1, m1, _A) * _polynomial(l2, m2, [-b for b in _B])
    total, paired = _RING(0), product
    for k, factor in enumerate(pair_terms(l1, l2)):
        if k:  # d/db acts on q(-b): one sign for each derivative
            paired = -sum(
                (_GENERATORS[6 + 3 * i + j] * paired.diff(_A[i]).diff(_B[j]) for i in range(3) for j in range(3)),
                _RING(0),
            )
        total += QQ(factor.numerator, factor.denominator) * paired
    scale = sp.Rational((-1) ** l1, double_factorial(2 * l1 - 1) * double_factorial(2 * l2 - 1))
    return sp.expand(scale * _unit(l1, m1) * _unit(l2, m2) * total.as_expr())


def _polynomial(rank: int, m: int, axes: Sequence[Polynomial]) -> Polynomial:
    p = basis_polynomials(rank)[rank + m]
    total = _RING(0)
    for exponents, c in p.items():
        term = _RING(c)
        for axis, e in zip(axes, exponents, strict=True):
            term *= axis**e
        total += term
    return total


def _unit(rank: int, m: int) -> sp.Expr:
    """The packed component that a unit real spherical moment is: sqrt(alpha_l/N_lm)."""
    norm = to_sympy(squared_norms(rank)[rank + m])
    return sp.sqrt(sp.Rational(double_factorial(2 * rank - 1), factorial(rank)) / norm)
