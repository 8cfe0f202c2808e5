r"""Reduced matrix elements: what is left of a tensor operator by the theorem of Wigner and Eckart, exact.

Between real harmonics, orthonormal states s of ranks l1 and l2, a tensor operator of rank k has elements that are the
orthonormal coupling (k, l2) to l1 times one number,

.. math:: \langle l_1 a | O_b | l_2 c \rangle = \langle l_1 \| O \| l_2 \rangle\; C_{a b c} / \sqrt{2l_1+1}

so that the sum of all squared elements is the square of the reduced element, Racah's normalisation. The signs are those
of our couplings: up to a phase (eq. 32) the reduced element of the textbooks.
Source: Wigner 1931; Edmonds, Angular Momentum in Quantum Mechanics, 1957, eq. 5.4.1; docs/theory.md, eqs. 29, 32.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import factorial

import sympy as sp

from cartalg.symbolic.basis import squared_norms, to_sympy
from cartalg.symbolic.contraction import Contraction
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.ranks import double_factorial


def orthonormal_coupling(l1: int, l2: int, l3: int) -> dict[tuple[int, int, int], sp.Expr]:
    """The coupling (l1, l2) -> l3 between orthonormalised components sqrt(N_m) t_m: {(k, a, b): C}.

    Raises:
        ValueError: As `coupling`.
    """
    rule = coupling(l1, l2, l3)
    n1, n2, n3 = (squared_norms(rank) for rank in (l1, l2, l3))
    return {
        (k, a, b): to_sympy(c) * sp.sqrt(to_sympy(rule.orthonormal_squared * n3[k] / (n1[a] * n2[b])))
        for (k, a, b), c in rule.entries.items()
    }


def reduced_element(elements: Mapping[tuple[int, int, int], sp.Expr], l1: int, k: int, l2: int) -> sp.Expr:
    """The reduced element of a tensor operator, from its elements between real harmonics.

    Args:
        elements: <l1 a| O_b |l2 c> by (a, b, c), each counted from m = -l; O_b orthonormalised. Those left out are 0.
        l1, k, l2: Ranks of the left states, of the operator, and of the right states.
    Raises:
        ValueError: If the ranks do not couple, or the elements are those of no tensor operator.
    """
    rule = orthonormal_coupling(k, l2, l1)
    total = sum((c * elements.get((a, b, d), 0) for (a, b, d), c in rule.items()), sp.Integer(0))
    reduced = sp.nsimplify(sp.radsimp(sp.expand(total / (2 * l1 + 1))))
    for at in {*rule, *elements}:
        difference = sp.sympify(elements.get(at, 0)) - reduced * rule.get(at, 0)
        if sp.simplify(difference) != 0:
            raise ValueError(f"these are the elements of no tensor operator of rank {k}: element {at} is off")
    return sp.radsimp(reduced * sp.sqrt(2 * l1 + 1))


def harmonic_element(l1: int, k: int, l2: int) -> sp.Expr:
    r"""Reduced element of multiplication with Racah's harmonic C_k = sqrt(4 pi/(2k+1)) Y_k between harmonics, closed.

    .. math:: \langle l_1 \| C_k \| l_2 \rangle^2 = (2l_1+1)(2l_2+1)\,
              \frac{\alpha_{k_{12}}\alpha_{k_{13}}\alpha_{k_{23}}}{(2h+1)\,\alpha_h}

    Zero where l1+k+l2 is odd. Source: docs/theory.md, eq. 29.
    Raises:
        ValueError: If the ranks do not couple.
    """
    Contraction(k, l2, l1)
    total = l1 + k + l2
    if total % 2:
        return sp.Integer(0)
    h = total // 2
    value = Fraction((2 * l1 + 1) * (2 * l2 + 1), total + 1)
    for rank in (h - l1, h - k, h - l2):
        value *= Fraction(double_factorial(2 * rank - 1), factorial(rank))
    value /= Fraction(double_factorial(2 * h - 1), factorial(h))
    return sp.sqrt(sp.Rational(value.numerator, value.denominator))
