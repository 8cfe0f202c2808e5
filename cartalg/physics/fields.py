r"""Gradient, divergence and curl of tensor fields made of harmonics, exact.

A field F = f(r) (T_l(n) x A)_j with a constant tensor A of rank k has derivatives of rank j' = j+1 (gradient), j (curl)
and j-1 (divergence). The derivative of the harmonic alone has two parts, in harmonic couplings

.. math:: (\nabla \otimes f T_l)_{l+1} = \left( f' - \tfrac{l}{r} f \right) T_{l+1}, \qquad
          (\nabla \otimes f T_l)_{l-1} = \left( f' + \tfrac{l+1}{r} f \right) T_{l-1}

and recoupling of nabla, T_l and A, a 6j symbol, brings them into the order of the field:

.. math:: (\nabla \otimes (T_l \otimes A)_j)_{j'} = \sum_{l'} u_{l'}\, ((\nabla \otimes T_l)_{l'} \otimes A)_{j'}

In harmonic couplings that of a vector with rank j to j-1 is the contraction, so the divergence of a field is what it
says, and for j = 1 the coupling to 1 is the curl.
Source: Varshalovich, Moskalev & Khersonskii 1988, section 7.3; docs/theory.md, eq. 34.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import sympy as sp

from cartalg.symbolic.basis import to_sympy
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.spherical import recoupling


@dataclass(frozen=True)
class Harmonic:
    """f(r) (T_l(n) x A)_j with A of rank k: a term of a field of rank j.

    Attributes:
        rank: l of the harmonic.
        constant: k of the constant tensor.
        total: j.
        radial: f, an expression in `r`.
    """

    rank: int
    constant: int
    total: int
    radial: sp.Expr

    def __post_init__(self) -> None:
        coupling(self.rank, self.constant, self.total)  # says which ranks couple


#: The distance in radial functions.
R = sp.Symbol("r", positive=True)


def gradient(field: Harmonic) -> list[Harmonic]:
    """The traceless symmetric part of the derivative, rank j+1, as terms of the same kind."""
    return _derivative(field, field.total + 1)


def divergence(field: Harmonic) -> list[Harmonic]:
    """The contraction of the derivative with one index, rank j-1. Raises ValueError for a scalar field."""
    if not field.total:
        raise ValueError("a scalar field has no divergence")
    return _derivative(field, field.total - 1)


def curl(field: Harmonic) -> list[Harmonic]:
    """The part of rank j of the derivative; the curl of a vector field. Raises ValueError for a scalar field."""
    if not field.total:
        raise ValueError("a scalar field has no curl")
    return _derivative(field, field.total)


def _derivative(field: Harmonic, total: int) -> list[Harmonic]:
    l, f = field.rank, field.radial  # noqa: E741
    parts: dict[int, Callable[[], sp.Expr]] = {
        l + 1: lambda: f.diff(R) - l * f / R,
        l - 1: lambda: f.diff(R) + (l + 1) * f / R,
    }
    found = []
    for rank, radial in parts.items():
        if rank >= 0 and abs(rank - field.constant) <= total <= rank + field.constant:
            value = sp.simplify(recoupled(l, field.constant, field.total, rank, total) * radial())
            if value != 0:
                found.append(Harmonic(rank, field.constant, total, value))
    return found


@cache
def recoupled(l: int, k: int, j: int, rank: int, total: int) -> sp.Rational:  # noqa: E741
    """u of (v x (T_l x A_k)_j)_total = sum over rank of u ((v x T_l)_rank x A_k)_total, harmonic couplings: rational.

    Raises:
        ValueError: If a coupling does not exist.
    """
    q = [to_sympy(coupling(*t).orthonormal_squared) for t in ((1, l, rank), (rank, k, total), (l, k, j), (1, j, total))]
    return sp.nsimplify(sp.radsimp(recoupling(1, l, k, total, rank, j) * sp.sqrt(q[0] * q[1] / (q[2] * q[3]))))
