r"""Couplings of two irreducible Cartesian tensors to a third, for every triple that the triangle rule allows.

.. math::
    \text{contraction } (k = (l_1+l_2-l_3)/2): \quad & P_{l_3} \, a_{I J} b_{I K} \\
    \text{Levi-Civita } (k = (l_1+l_2-l_3-1)/2): \quad & P_{l_3} \, \epsilon_{i p q}\, a_{p I J} b_{q I K}

with I a k-fold index, computed on polynomials: contraction with an index is a derivative. [docs/theory.md, eqs. 16-19]
Source: Zaverkin et al. 2024 (arXiv:2405.14253) (contractions); Coope, Snider & McCourt 1965 (Levi-Civita).
"""

from dataclasses import dataclass
from functools import cache
from math import factorial
from typing import Literal

import sympy as sp
from sympy import QQ

from cartalg.symbolic.basis import basis_polynomials, harmonic_polynomials, squared_norms, to_sympy
from cartalg.symbolic.contraction import Contraction, CouplingKind
from cartalg.symbolic.formulas import coupling_formula
from cartalg.symbolic.notation import Equation
from cartalg.symbolic.polynomials import AXES, RING, Polynomial, Rational, X, Y, contraction, derivative
from cartalg.symbolic.ranks import multi_indices, multinomial

Entries = dict[tuple[int, int, int], Rational]
Normalization = Literal["harmonic", "orthonormal"]


@dataclass(frozen=True)
class Coupling:
    """The coupling (l1, l2) -> l3 in the packed basis: T_k = sum_ab C[k, a, b] x_a y_b.

    Attributes:
        entries: The nonzero C[k, a, b] in the harmonic normalisation, rational.
        orthonormal_squared: Square of the factor that turns the harmonic normalisation into the orthonormal one.
    """

    l1: int
    l2: int
    l3: int
    entries: Entries
    orthonormal_squared: Rational

    @property
    def kind(self) -> CouplingKind:
        """A contraction, or a Levi-Civita coupling: of natural tensors the one is natural, the other axial."""
        return Contraction(self.l1, self.l2, self.l3).kind

    @property
    def formula(self) -> Equation:
        """The coupling in index notation, written out with Kronecker deltas [docs/theory.md, eq. 21]."""
        return coupling_formula(self.l1, self.l2, self.l3)

    def scale(self, normalization: Normalization) -> sp.Expr:
        """The exact factor on `entries` for a normalisation: 1, or the square root of a rational.

        Raises:
            ValueError: If the normalisation is neither ``"harmonic"`` nor ``"orthonormal"``.
        """
        if normalization == "harmonic":
            return sp.Integer(1)
        if normalization == "orthonormal":
            return sp.sqrt(to_sympy(self.orthonormal_squared))
        raise ValueError(f"normalization must be 'harmonic' or 'orthonormal', got {normalization!r}")

    def tensor(self, normalization: Normalization = "harmonic") -> sp.ImmutableSparseNDimArray:
        """C[k, a, b] as a SymPy array of shape [2*l3+1, 2*l1+1, 2*l2+1]."""
        factor, shape = self.scale(normalization), (2 * self.l3 + 1, 2 * self.l1 + 1, 2 * self.l2 + 1)
        flat = {(k * shape[1] + a) * shape[2] + b: factor * to_sympy(c) for (k, a, b), c in self.entries.items()}
        return sp.ImmutableSparseNDimArray(flat, shape)


def coupling(l1: int, l2: int, l3: int) -> Coupling:
    """Derive the coupling (l1, l2) -> l3, of either kind, exactly.

    Harmonic normalisation: a contraction of T_l1(n) and T_l2(n) is T_l3(n); the Levi-Civita coupling of T_l1(n) and
    T_l2(n') is, to first order in n'-n, the derivative of T_l3 at n along n x n' (so (1,1)->1 is the cross product).

    Args:
        l1, l2, l3: Ranks of the two inputs and of the output.
    Raises:
        ValueError: If a rank is not a non-negative integer, or |l1-l2| <= l3 <= l1+l2 does not hold.
    Source: docs/theory.md, eqs. 16-19; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    Contraction(l1, l2, l3)  # checks the ranks
    return _derive(l1, l2, l3)


@cache
def _derive(l1: int, l2: int, l3: int) -> Coupling:
    shape = Contraction(l1, l2, l3)
    if l1 < l2:  # the mirrored coupling is the transpose, with a sign where the Levi-Civita symbol is in it
        mirror = _derive(l2, l1, l3)
        entries = {(k, a, b): c for (k, b, a), c in mirror.entries.items()}
        scale = _harmonic_scale(shape, entries)
        return Coupling(l1, l2, l3, {i: scale * c for i, c in sorted(entries.items())}, mirror.orthonormal_squared)
    outputs, norms3 = basis_polynomials(l3), squared_norms(l3)
    entries = {}
    left = [_contracted_derivatives(p, shape) for p in basis_polynomials(l1)]
    right = [_contracted_derivatives(p, shape) for p in basis_polynomials(l2)]
    for a, first in enumerate(left):
        for b, second in enumerate(right):
            product = _combine(first, second, shape.kind)
            for k, output in enumerate(outputs):
                value = contraction(output, product) / norms3[k]
                if value:
                    entries[k, a, b] = value
    scale = _harmonic_scale(shape, entries)
    entries = {i: scale * c for i, c in sorted(entries.items())}
    return Coupling(l1, l2, l3, entries, (2 * l3 + 1) / _frobenius_squared(l1, l2, l3, entries))


def contraction_scale(l1: int, l2: int, l3: int) -> Rational:
    """The constant in front of P[..] in the harmonic normalisation, measured on an entry.

    `cartalg.symbolic.contraction.contraction_constant` is its closed form; proofs compare the two.

    Args:
        l1, l2, l3: Ranks; P[..] is the plain projected contraction.
    Raises:
        ValueError: As `coupling`.
    Source: docs/theory.md, eq. 22.
    """
    rule, shape = coupling(l1, l2, l3), Contraction(l1, l2, l3)
    (k, a, b), value = next(iter(rule.entries.items()))
    first = _contracted_derivatives(basis_polynomials(l1)[a], shape)
    second = _contracted_derivatives(basis_polynomials(l2)[b], shape)
    product = _combine(first, second, shape.kind)
    order = shape.pairs + shape.epsilon  # derivatives taken of each factor
    falling = QQ(factorial(l1) * factorial(l2), factorial(l1 - order) * factorial(l2 - order))
    plain = contraction(basis_polynomials(l3)[k], product) / squared_norms(l3)[k] / falling
    return value / plain


def _contracted_derivatives(p: Polynomial, shape: Contraction) -> list[tuple[int, list[Polynomial]]]:
    """For each k-fold multi-index I its multiplicity and d_I p; in a Levi-Civita coupling the three d_i d_I p."""
    terms = []
    for index in multi_indices(shape.pairs):
        q = derivative(p, index)
        terms.append((multinomial(index), [q.diff(axis) for axis in AXES] if shape.epsilon else [q]))
    return terms


def _combine(
    first: list[tuple[int, list[Polynomial]]], second: list[tuple[int, list[Polynomial]]], kind: CouplingKind
) -> Polynomial:
    """Sum over contracted indices; the Levi-Civita coupling has x_i eps_ijk between the two factors."""
    total = RING(0)
    for (multiplicity, u), (_, v) in zip(first, second, strict=True):
        if kind is CouplingKind.LEVI_CIVITA:
            cross = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
            total += multiplicity * sum((axis * c for axis, c in zip(AXES, cross, strict=True)), RING(0))
        else:
            total += multiplicity * u[0] * v[0]
    return total


def _harmonic_scale(shape: Contraction, entries: Entries) -> Rational:
    """Factor that brings raw entries to the harmonic normalisation, read off at n = z [docs/theory.md, eq. 18]."""
    l1, l2, l3 = shape.l1, shape.l2, shape.l3
    if shape.kind is CouplingKind.CONTRACTION:
        pole = [_at_pole(harmonic_polynomials(rank)[rank]) for rank in (l1, l2, l3)]
        return pole[2] / (entries[l3, l1, l2] * pole[0] * pole[1])
    first = _at_pole(harmonic_polynomials(l1)[l1])
    along_x = _at_pole(harmonic_polynomials(l2)[l2 + 1].diff(X))
    along_y = _at_pole(harmonic_polynomials(l3)[l3 - 1].diff(Y))
    return along_y / (entries[l3 - 1, l1, l2 + 1] * first * along_x)


def _at_pole(p: Polynomial) -> Rational:
    return p.evaluate([(axis, value) for axis, value in zip(AXES, (QQ(0), QQ(0), QQ(1)), strict=True)])


def _frobenius_squared(l1: int, l2: int, l3: int, entries: Entries) -> Rational:
    """Squared norm of C over orthonormalised components."""
    n1, n2, n3 = squared_norms(l1), squared_norms(l2), squared_norms(l3)
    return sum((c * c * n3[k] / (n1[a] * n2[b]) for (k, a, b), c in entries.items()), QQ(0)) + QQ(0)
