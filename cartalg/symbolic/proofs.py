"""Exact proofs over Q: each function returns None, or raises with what failed.

A coupling is SO(3)-equivariant if and only if it commutes with the three generators of so(3): three matrix identities.
Source: docs/theory.md, section 3.
"""

from fractions import Fraction

import sympy as sp

from cartalg.symbolic.basis import (
    basis_polynomials,
    full_tensor_matrix,
    harmonic_polynomials,
    packing_matrix,
    squared_norms,
    to_sympy,
)
from cartalg.symbolic.contraction import CouplingKind, contraction_constant, orthonormal_constant
from cartalg.symbolic.coupling import Coupling, contraction_scale, coupling
from cartalg.symbolic.polynomials import RADIUS_SQUARED, contraction, laplacian
from cartalg.symbolic.projector import detrace
from cartalg.symbolic.reducible import decompose, parse_formula
from cartalg.symbolic.rotation import generator


class ProofError(AssertionError):
    """A rule that does not hold."""


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ProofError(what)


def prove_basis(rank: int) -> None:
    """Basis tensors are traceless, orthogonal, with squared norms in [1/2, 2), of the parity (-1)^l."""
    basis = basis_polynomials(rank)
    _require(len(basis) == 2 * rank + 1, f"rank {rank}: {len(basis)} basis tensors")
    for m, p in enumerate(basis):
        _require(laplacian(p) == 0, f"rank {rank}, m = {m - rank}: not traceless")
        _require(all(sum(e) == rank for e in p), f"rank {rank}, m = {m - rank}: wrong degree or parity")
        _require(1 <= 2 * squared_norms(rank)[m] < 4, f"rank {rank}, m = {m - rank}: norm out of range")
        for n, q in enumerate(basis[:m]):
            _require(contraction(p, q) == 0, f"rank {rank}: m = {m - rank} and {n - rank} are not orthogonal")


def prove_projector(rank: int) -> None:
    """The projector is idempotent, leaves traceless tensors alone and removes every multiple of r^2."""
    for p in basis_polynomials(rank):
        _require(detrace(p, rank) == p, f"rank {rank}: the projector changes a traceless tensor")
    if rank >= 2:
        for p in basis_polynomials(rank - 2):
            _require(detrace(RADIUS_SQUARED * p, rank) == 0, f"rank {rank}: the projector leaves a trace")


def prove_full_tensor(rank: int) -> None:
    """The full tensor is symmetric, and packing undoes unpacking."""
    unpack = full_tensor_matrix(rank)
    _require(packing_matrix(rank) * unpack == sp.eye(2 * rank + 1), f"rank {rank}: packing does not undo unpacking")
    for flat in range(3**rank):
        digits = sp.ntheory.digits(flat, 3)[1:]
        digits = [0] * (rank - len(digits)) + digits if rank else []
        ordered = sum(d * 3**i for i, d in enumerate(sorted(digits, reverse=True)))
        _require(unpack[flat, :] == unpack[ordered, :], f"rank {rank}: the full tensor is not symmetric")


def prove_equivariant(rule: Coupling) -> None:
    """The coupling commutes with the generators of so(3): sum_a C J1 + sum_b C J2 = J3 C, exactly, for each axis."""
    for axis in range(3):
        j1, j2, j3 = (generator(rank, axis) for rank in (rule.l1, rule.l2, rule.l3))
        defect: dict[tuple[int, int, int], Fraction] = {}
        for (k, a, b), value in rule.entries.items():
            c = Fraction(int(value.numerator), int(value.denominator))
            for other in range(2 * rule.l1 + 1):
                if j1[a][other]:
                    defect[k, other, b] = defect.get((k, other, b), Fraction(0)) + c * j1[a][other]
            for other in range(2 * rule.l2 + 1):
                if j2[b][other]:
                    defect[k, a, other] = defect.get((k, a, other), Fraction(0)) + c * j2[b][other]
            for other in range(2 * rule.l3 + 1):
                if j3[other][k]:
                    defect[other, a, b] = defect.get((other, a, b), Fraction(0)) - j3[other][k] * c
        _require(
            not any(defect.values()),
            f"coupling ({rule.l1}, {rule.l2}) -> {rule.l3} does not commute with the generator about axis {axis}",
        )


def prove_harmonic(rule: Coupling) -> None:
    """A contraction of T_l1 and T_l2 of one vector is r^2k T_l3, k index pairs; a Levi-Civita coupling is zero."""
    first, second = harmonic_polynomials(rule.l1), harmonic_polynomials(rule.l2)
    power = (rule.l1 + rule.l2 - rule.l3) // 2
    for k, expected in enumerate(harmonic_polynomials(rule.l3)):
        total = sum(
            (c * first[a] * second[b] for (out, a, b), c in rule.entries.items() if out == k), RADIUS_SQUARED * 0
        )
        wanted = RADIUS_SQUARED * 0 if rule.kind is CouplingKind.LEVI_CIVITA else expected * RADIUS_SQUARED**power
        _require(total == wanted, f"coupling ({rule.l1}, {rule.l2}) -> {rule.l3}: harmonic normalisation fails")


def prove_complete(l1: int, l2: int) -> None:
    """All couplings of (l1, l2) together, orthonormalised, are an orthogonal change of basis: nothing is lost."""
    n1, n2 = squared_norms(l1), squared_norms(l2)
    rows: list[dict[tuple[int, int], object]] = []
    weights = []
    for l3 in range(abs(l1 - l2), l1 + l2 + 1):
        rule = coupling(l1, l2, l3)
        for k in range(2 * l3 + 1):
            rows.append({(a, b): c for (out, a, b), c in rule.entries.items() if out == k})
            weights.append(squared_norms(l3)[k] * rule.orthonormal_squared)
    _require(len(rows) == (2 * l1 + 1) * (2 * l2 + 1), f"({l1}, {l2}): {len(rows)} components")
    for i, row in enumerate(rows):
        for j in range(i + 1):
            overlap = sum(c * rows[j].get(ab, 0) / (n1[ab[0]] * n2[ab[1]]) for ab, c in row.items())  # type: ignore
            wanted = 1 if i == j else 0
            _require(overlap * weights[i] == wanted, f"({l1}, {l2}): components {i} and {j} are not orthonormal")


def prove_constants(rule: Coupling) -> None:
    """Both normalisations have the constants that are closed in the three ranks [docs/theory.md, eqs. 26, 27]."""
    ranks = (rule.l1, rule.l2, rule.l3)
    measured = (to_sympy(contraction_scale(*ranks)), to_sympy(rule.orthonormal_squared))
    closed = (contraction_constant(*ranks), orthonormal_constant(*ranks))
    _require(measured == closed, f"coupling ({rule.l1}, {rule.l2}) -> {rule.l3}: constants {measured}, not {closed}")


def prove_coupling(rule: Coupling) -> None:
    """Everything about one coupling: equivariance, harmonic normalisation, both constants."""
    prove_equivariant(rule)
    prove_harmonic(rule)
    prove_constants(rule)


def prove_decomposition(formula: str) -> None:
    """Parts of a tensor with an index symmetry: orthogonal, symmetric, complete, and equivariant under so(3)."""
    found = decompose(formula)
    _require(found.packing * found.unpacking == sp.eye(found.dimension), f"{formula}: packing is not the inverse")
    _require(trace_of_symmetriser(formula) == found.dimension, f"{formula}: the parts do not fill the space")
    _, group = parse_formula(formula)
    for number, part in enumerate(found.parts):
        for permutation, sign in group:
            moved = part.embedding.transpose((*permutation, found.order))
            _require(bool((moved == sign * part.embedding).all()), f"{formula}: part {number} breaks the symmetry")
        squares = (part.embedding.reshape(-1, 2 * part.rank + 1) ** 2).sum(0)
        wanted = [part.squared_norm * to_sympy(n) * part.denominator**2 for n in squared_norms(part.rank)]
        _require(list(squares) == wanted, f"{formula}: part {number} has the wrong norm")


def trace_of_symmetriser(formula: str) -> int:
    """The dimension of the space of tensors with an index symmetry, by counting cycles: the trace of its projector."""
    order, group = parse_formula(formula)
    total = 0
    for permutation, sign in group:
        seen: set[int] = set()
        cycles = 0
        for start in range(order):
            cycles += start not in seen
            place = start
            while place not in seen:
                seen.add(place)
                place = permutation[place]
        total += sign * 3**cycles
    return total // len(group)
