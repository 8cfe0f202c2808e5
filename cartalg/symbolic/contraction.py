r"""What a coupling contracts, from its three ranks alone, and its constants in closed form.

A coupling is a *contraction*, of k index pairs, or a *Levi-Civita* coupling, where the Levi-Civita symbol joins one
more index of each tensor. Source: docs/theory.md, eqs. 16, 17, 22, 23.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import factorial, prod
from typing import Any

from cartalg.symbolic.ranks import check_rank, double_factorial


class CouplingKind(StrEnum):
    """Which of the two couplings a triple of ranks has: by the parity of their sum."""

    CONTRACTION = "contraction"
    LEVI_CIVITA = "levi-civita"

    @property
    def word(self) -> str:
        """As it is written in a text."""
        return "contraction" if self is CouplingKind.CONTRACTION else "Levi-Civita"


@dataclass(frozen=True)
class Contraction:
    """The index pattern of the coupling (l1, l2) -> l3.

    Raises:
        ValueError: If a rank is not a non-negative integer, or |l1-l2| <= l3 <= l1+l2 does not hold.
    """

    l1: int
    l2: int
    l3: int

    def __post_init__(self) -> None:
        for name, rank in (("l1", self.l1), ("l2", self.l2), ("l3", self.l3)):
            check_rank(rank, name)
        low, high = abs(self.l1 - self.l2), self.l1 + self.l2
        if not low <= self.l3 <= high:
            raise ValueError(
                f"no coupling ({self.l1}, {self.l2}) -> {self.l3}: l3 must lie between |l1-l2| = {low} "
                f"and l1+l2 = {high}"
            )

    @property
    def kind(self) -> CouplingKind:
        """Contraction where l1+l2+l3 is even; Levi-Civita, axial of natural tensors, where it is odd."""
        odd = (self.l1 + self.l2 + self.l3) % 2
        return CouplingKind.LEVI_CIVITA if odd else CouplingKind.CONTRACTION

    @property
    def epsilon(self) -> int:
        """Number of Levi-Civita symbols: 0 or 1."""
        return int(self.kind is CouplingKind.LEVI_CIVITA)

    @property
    def pairs(self) -> int:
        """Index pairs that are contracted, k."""
        return (self.l1 + self.l2 - self.l3 - self.epsilon) // 2

    @property
    def free(self) -> tuple[int, int]:
        """Free indices of the first and of the second tensor."""
        return self.l1 - self.pairs - self.epsilon, self.l2 - self.pairs - self.epsilon


def contraction_constant(l1: Any, l2: Any, l3: Any, kind: CouplingKind | None = None) -> Any:
    r"""The constant c in T_l3 = c P[a . b] of the harmonic normalisation.

    .. math:: c = \frac{l_1!\, l_2!\, (2l_3-1)!!}{h!\,(2k_{12}-1)!!\,(2k_{13}-1)!!\,(2k_{23}-1)!!}

    with h = (l1+l2+l3)/2 and the index pairs k12 = h-l3, k13 = h-l2, k23 = h-l1; a Levi-Civita coupling has l3 (l3+1)
    on top, 2k+1 in place of 2k-1 below, h = (l1+l2+l3+1)/2 and pairs one less.

    Args:
        l1, l2, l3: Integers, or SymPy's symbols.
        kind: Needed for symbols only.
    Returns:
        A Fraction, or a SymPy expression.
    Source: docs/theory.md, eq. 22.
    """
    h, pairs, epsilon, f, ff = _parts(l1, l2, l3, kind)
    top = f(l1) * f(l2) * ff(2 * l3 - 1) * (l3 * (l3 + 1) if epsilon else 1)
    shift = 1 if epsilon else -1
    return top / (f(h) * prod(ff(2 * k + shift) for k in pairs))


def orthonormal_constant(l1: Any, l2: Any, l3: Any, kind: CouplingKind | None = None) -> Any:
    r"""Square of the factor from the harmonic to the orthonormal normalisation, closed in the three ranks.

    .. math:: q = (2l_3+1)\, \frac{(J-2l_1)!\,(J-2l_2)!\,(J-2l_3)!}{(J+1)!}
              \left(\frac{h!}{k_{12}!\,k_{13}!\,k_{23}!}\right)^2 \frac{\alpha_{l_1} \alpha_{l_2}}{\alpha_{l_3}}

    J = l1+l2+l3, alpha_l = (2l-1)!!/l!, pairs and h as in `contraction_constant`; Levi-Civita couplings have
    4/(l3 (l3+1))^2 more. Arguments and result as there.

    Source: docs/theory.md, eq. 23.
    """
    h, pairs, epsilon, f, ff = _parts(l1, l2, l3, kind)
    total = l1 + l2 + l3
    value = (2 * l3 + 1) * f(total - 2 * l1) * f(total - 2 * l2) * f(total - 2 * l3) / f(total + 1)
    value *= (f(h) / prod(map(f, pairs))) ** 2
    value *= ff(2 * l1 - 1) * ff(2 * l2 - 1) * f(l3) / (f(l1) * f(l2) * ff(2 * l3 - 1))
    return value * 4 / (l3 * (l3 + 1)) ** 2 if epsilon else value


def _parts(l1: Any, l2: Any, l3: Any, kind: CouplingKind | None) -> tuple[Any, ...]:
    """h, (k12, k13, k23), the number of Levi-Civita symbols, and the factorials for such ranks."""
    epsilon = (l1 + l2 + l3) % 2 if kind is None else int(kind is CouplingKind.LEVI_CIVITA)
    total = l1 + l2 + l3 + epsilon
    if isinstance(total, int):
        h, f, ff = total // 2, lambda n: Fraction(factorial(n)), lambda n: Fraction(double_factorial(n))
    else:
        import sympy as sp  # formulas of any rank alone need it

        h, f, ff = total / 2, sp.factorial, sp.factorial2
    return h, tuple(h - rank - epsilon for rank in (l3, l2, l1)), epsilon, f, ff
