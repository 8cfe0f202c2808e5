r"""The bridge to spherical tensors: harmonics in three conventions, Wigner D, 3j and 6j symbols, from our couplings.

Unit tensors e_lm/sqrt(N_lm) are real spherical harmonics up to one constant a rank, so packed components become
spherical ones by square roots alone. Source: docs/theory.md, eqs. 9-11, 31-34; Varshalovich, Moskalev & Khersonskii
1988, ch. 8, 9.
"""

from functools import cache
from typing import Any, Literal

import numpy as np
import sympy as sp
from sympy import QQ

from cartalg.symbolic.basis import basis_polynomials, squared_norms, to_sympy
from cartalg.symbolic.contraction import Contraction
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.polynomials import RING, contraction
from cartalg.symbolic.ranks import check_rank

Convention = Literal["sphericart", "e3nn", "scipy"]


def spherical_matrix(rank: int, convention: Convention = "sphericart") -> sp.Matrix:
    r"""Exact unitary map from packed components to spherical ones, rows m = -l..l, over orthonormalised components.

    * ``"sphericart"``: real, z-polar, no Condon-Shortley phase: diagonal, sqrt(N_m).
    * ``"e3nn"``: real, y-polar: the same harmonics with (x, y, z) relabelled to (z, x, y).
    * ``"scipy"``: complex, the Y_l^m of `scipy.special.sph_harm_y` with the Condon-Shortley phase.

    Times `harmonic_factor` and T_l(n) this is the vector of Y_lm(n).

    Raises:
        ValueError: If the rank is invalid or the convention unknown.
    Source: docs/theory.md, eqs. 9, 10.
    """
    check_rank(rank)
    basis, norms = basis_polynomials(rank), [to_sympy(n) for n in squared_norms(rank)]
    real = sp.diag(*[sp.sqrt(n) for n in norms])
    if convention == "sphericart":
        return real
    if convention == "e3nn":
        # e3nn's Y_m(x, y, z) is the z-polar Y_m(z, x, y): exponents (a, b, c) of (x, y, z) become those of (y, z, x).
        turned = [RING({(b, c, a): v for (a, b, c), v in p.items()}) for p in basis]
        return sp.Matrix(
            [[to_sympy(contraction(t, p)) / sp.sqrt(n) for p in basis] for t, n in zip(turned, norms, strict=True)]
        )
    if convention == "scipy":
        return complex_matrix(rank) * real
    raise ValueError(f"convention must be 'sphericart', 'e3nn' or 'scipy', got {convention!r}")


def complex_matrix(rank: int) -> sp.Matrix:
    r"""Unitary map from real (z-polar) to complex components, Condon-Shortley phase [docs/theory.md, eq. 10].

    .. math:: c_m = (-1)^m (s_m + i s_{-m})/\sqrt2, \quad c_{-m} = (s_m - i s_{-m})/\sqrt2, \quad m > 0

    Raises:
        ValueError: If the rank is invalid.
    """
    matrix, half = sp.zeros(2 * check_rank(rank) + 1), 1 / sp.sqrt(2)
    matrix[rank, rank] = sp.Integer(1)
    for m in range(1, rank + 1):
        matrix[rank + m, rank + m], matrix[rank + m, rank - m] = (-1) ** m * half, sp.I * (-1) ** m * half
        matrix[rank - m, rank + m], matrix[rank - m, rank - m] = half, -sp.I * half
    return matrix


def harmonic_factor(rank: int) -> sp.Expr:
    r"""Y_lm(n) = harmonic_factor(l) * (spherical_matrix(l) T_l(n))_m for harmonics normalised on the sphere.

    .. math:: \sqrt{\frac{2l+1}{4\pi}\,\frac{l!}{(2l-1)!!}} \quad \text{[docs/theory.md, eq. 11]}

    Raises:
        ValueError: If the rank is invalid.
    """
    check_rank(rank)
    return sp.sqrt(sp.Rational(2 * rank + 1) * sp.factorial(rank) / (4 * sp.pi * sp.factorial2(2 * rank - 1)))


def wigner_d(rank: int, rotation: Any, parity: int | None = None) -> np.ndarray:
    """The matrix D that turns packed components when space is turned by any orthogonal matrix.

    Rank l follows from rank l-1 by the coupling (l-1, 1) -> l, so entries may be floats, rationals or expressions.

    Args:
        rank: l.
        rotation: Orthogonal matrix, shape [3, 3] or, of floats, [.., 3, 3]; determinant -1 for a reflection.
        parity: +1 or -1; by default (-1)^l, a natural (polar) tensor.
    Returns:
        Shape [.., 2l+1, 2l+1]; D(R S) = D(R) D(S).
    Raises:
        ValueError: If the rank or the shape is invalid, or a matrix of numbers is not orthogonal.
    Source: docs/theory.md, eq. 31.
    """
    check_rank(rank)
    exact = isinstance(rotation, sp.MatrixBase)
    r = np.array(rotation.tolist(), dtype=object) if exact else np.asarray(rotation, dtype=float)
    if r.shape[-2:] != (3, 3):
        raise ValueError(f"a rotation is a 3x3 matrix, got shape {list(r.shape)}")
    if not exact and not np.allclose(r @ np.swapaxes(r, -1, -2), np.eye(3), atol=1e-6):
        raise ValueError("the matrix is not orthogonal")
    order = [1, 2, 0]  # packed vectors are (y, z, x)
    one = r[..., order, :][..., :, order]
    d = np.ones((*r.shape[:-2], 1, 1), dtype=r.dtype)
    for l in range(1, rank + 1):  # noqa: E741
        up, down = _steps(l)
        if not exact:
            up, down = up.astype(float), down.astype(float)
        d = np.einsum("kab,...ac,...bd,cdm->...km", up, d, one, down)
    if parity is not None and parity != (-1) ** rank:
        determinant = sp.Matrix(r).det() if exact else np.linalg.det(r)[..., None, None].round()
        d = d * determinant
    return d


@cache
def _steps(rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The coupling (l-1, 1) -> l and its right inverse in the metric of the norms."""
    rule = coupling(rank - 1, 1, rank)
    up = np.full((2 * rank + 1, 2 * rank - 1, 3), sp.Integer(0), dtype=object)
    down = np.full((2 * rank - 1, 3, 2 * rank + 1), sp.Integer(0), dtype=object)
    n1, n2, n3 = squared_norms(rank - 1), squared_norms(1), squared_norms(rank)
    for (k, a, b), c in rule.entries.items():
        up[k, a, b] = to_sympy(c)
        down[a, b, k] = to_sympy(c * rule.orthonormal_squared * n3[k] / (n1[a] * n2[b]))
    return up, down


@cache
def _complex_coupling(l1: int, l2: int, l3: int) -> dict[tuple[int, int, int], sp.Expr]:
    """The orthonormal coupling between complex components over its phase: {(m1, m2, m3): Clebsch-Gordan}."""
    rule = coupling(l1, l2, l3)
    norms = [[to_sympy(n) for n in squared_norms(r)] for r in (l1, l2, l3)]
    maps = [complex_matrix(r) for r in (l1, l2, l3)]
    values: dict[tuple[int, int, int], sp.Expr] = {}
    for (k, a, b), c in rule.entries.items():
        real = rule.scale("orthonormal") * to_sympy(c) * sp.sqrt(norms[2][k] / (norms[0][a] * norms[1][b]))
        for m1 in {a - l1, l1 - a}:
            for m2 in {b - l2, l2 - b}:
                m3 = m1 + m2
                if abs(m3) == abs(k - l3):
                    term = (
                        real * maps[2][m3 + l3, k] * maps[0][m1 + l1, a].conjugate() * maps[1][m2 + l2, b].conjugate()
                    )
                    values[m1, m2, m3] = values.get((m1, m2, m3), sp.Integer(0)) + term
    phase = coupling_phase(l1, l2, l3)
    found = {m: sp.radsimp(sp.expand(v / phase)) for m, v in values.items()}
    return {m: v for m, v in found.items() if v != 0}


def coupling_phase(l1: int, l2: int, l3: int) -> sp.Expr:
    """(-i)^(l1+l2-l3): the orthonormal coupling between complex components over the Clebsch-Gordan coefficient.

    Raises:
        ValueError: As `coupling`.
    Source: docs/theory.md, eq. 32, from highest weights.
    """
    Contraction(l1, l2, l3)
    return (-sp.I) ** (l1 + l2 - l3)


def clebsch_gordan(l1: int, l2: int, l3: int, m1: int, m2: int, m3: int) -> sp.Expr:
    """<l1 m1 l2 m2 | l3 m3> from our coupling, exact, Condon-Shortley phases [docs/theory.md, eq. 32].

    Raises:
        ValueError: As `coupling`.
    """
    return _complex_coupling(l1, l2, l3).get((m1, m2, m3), sp.Integer(0))


def wigner_3j(l1: int, l2: int, l3: int, m1: int, m2: int, m3: int) -> sp.Expr:
    """The Wigner 3j symbol from our coupling, exact [docs/theory.md, eq. 33].

    Raises:
        ValueError: As `coupling`.
    """
    return sp.Integer(-1) ** (l1 - l2 - m3) * clebsch_gordan(l1, l2, l3, m1, m2, -m3) / sp.sqrt(2 * l3 + 1)


def recoupling(l1: int, l2: int, l3: int, total: int, l12: int, l23: int) -> sp.Expr:
    r"""Overlap of ((l1 l2) l12, l3) L with (l1, (l2 l3) l23) L, orthonormal couplings, exact.

    Nothing but the 6j symbol, whatever the kinds of the couplings, whose phases cancel:

    .. math:: (-1)^{l_1+l_2+l_3+L} \sqrt{(2l_{12}+1)(2l_{23}+1)}
              \begin{Bmatrix} l_1 & l_2 & l_{12} \\ l_3 & L & l_{23} \end{Bmatrix}

    Raises:
        ValueError: If a coupling does not exist.
    Source: docs/theory.md, eq. 34.
    """
    rules = (coupling(l1, l2, l12), coupling(l12, l3, total), coupling(l2, l3, l23), coupling(l1, l23, total))
    n1, n2, n3, out = (squared_norms(r) for r in (l1, l2, l3, total))
    top = total  # by Schur's lemma one component of the output is enough
    left: dict[tuple[int, int, int], Any] = {}
    for (k, m, c), v in rules[1].entries.items():
        if k == top:
            for (mm, a, b), w in rules[0].entries.items():
                if mm == m:
                    left[a, b, c] = left.get((a, b, c), 0) + v * w
    overlap = QQ(0)
    for (k, a, m), v in rules[3].entries.items():
        if k == top:
            for (mm, b, c), w in rules[2].entries.items():
                if mm == m and (a, b, c) in left:
                    overlap += left[a, b, c] * v * w * out[k] / (n1[a] * n2[b] * n3[c])
    scale = sp.sqrt(sp.prod([to_sympy(rule.orthonormal_squared) for rule in rules]))
    return sp.radsimp(to_sympy(overlap) * scale)
