r"""Order parameters of Steinhardt in Cartesian form: invariants of the mean harmonic of bonds, exact.

With the mean t = <T_l(n)> over bonds n, no spherical harmonic is needed:

.. math:: Q_l^2 = \frac{4\pi}{2l+1} \sum_m |\langle Y_{lm} \rangle|^2 = \frac{t \cdot t}{\alpha_l}, \qquad
          \hat W_l = (-1)^{l/2} \sqrt{\frac{q_{lll}}{2l+1}}\; \frac{(t \otimes t)_l \cdot t}{(t \cdot t)^{3/2}}

q is the orthonormal factor of the coupling (l, l) to l [docs/theory.md, eq. 23], and the sign is its phase (eq. 32).
Source: Steinhardt, Nelson & Ronchetti, Phys. Rev. B 28, 784 (1983); Mickel et al., J. Chem. Phys. 138, 044501 (2013).
"""

from collections.abc import Sequence
from typing import Any

import sympy as sp

from cartalg.physics.multipoles import alpha
from cartalg.physics.packed import Packed, couple, dot, harmonic
from cartalg.symbolic.basis import to_sympy
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.ranks import check_rank


def mean_harmonic(bonds: Sequence[Sequence[Any]], rank: int, weights: Sequence[Any] | None = None) -> Packed:
    """<T_l(n)>, packed, over bonds of any length, with weights that need not add up to 1.

    Args:
        bonds: Vectors (x, y, z), not zero; exact for exact numbers.
        rank: l.
        weights: One for each bond, as of facets of a Voronoi cell; equal by default.
    Raises:
        ValueError: If there is no bond, or one has no length.
    """
    check_rank(rank)
    if not bonds:
        raise ValueError("order parameters need at least one bond")
    given = list(weights) if weights is not None else [1] * len(bonds)
    total: Packed = [0] * (2 * rank + 1)
    for bond, weight in zip(bonds, given, strict=True):
        squared = sum(sp.sympify(v) ** 2 for v in bond)
        if squared == 0:
            raise ValueError("a bond of no length has no direction")
        length = squared ** (rank // 2) * (sp.sqrt(squared) if rank % 2 else 1)
        total = [t + weight * v / length for t, v in zip(total, harmonic(rank, bond), strict=True)]
    return [sp.nsimplify(t) / sum(given) if isinstance(t, int) else t / sum(given) for t in total]


def steinhardt_q(bonds: Sequence[Sequence[Any]], rank: int, weights: Sequence[Any] | None = None) -> sp.Expr:
    """Q_l, from 0 for no order of the rank to 1 for one bond. Arguments and errors as `mean_harmonic`."""
    mean = mean_harmonic(bonds, rank, weights)
    return sp.sqrt(sp.radsimp(dot(mean, mean) / alpha(rank)))


def steinhardt_w(bonds: Sequence[Sequence[Any]], rank: int, weights: Sequence[Any] | None = None) -> sp.Expr:
    """W_l normalised by the cube of the norm, l even. Arguments as `mean_harmonic`.

    Raises:
        ValueError: As there; if l is odd, for which it vanishes; or if the mean harmonic is zero.
    """
    if rank % 2:
        raise ValueError(f"W_l vanishes for odd l, got {rank}")
    mean = mean_harmonic(bonds, rank, weights)
    squared = dot(mean, mean)
    if squared == 0:
        raise ValueError(f"the mean harmonic of rank {rank} is zero: W_{rank} is not defined")
    q = to_sympy(coupling(rank, rank, rank).orthonormal_squared)
    top = dot(couple(mean, mean, rank), mean)
    return (-1) ** (rank // 2) * top * sp.sqrt(q / (2 * rank + 1)) / sp.sqrt(squared) ** 3
