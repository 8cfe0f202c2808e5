"""Proofs about couplings: equivariance, both normalisations, both constants, completeness."""

from fractions import Fraction

from cartalg.symbolic.basis import harmonic_polynomials, squared_norms, to_sympy
from cartalg.symbolic.contraction import CouplingKind, contraction_constant, orthonormal_constant
from cartalg.symbolic.coupling import Coupling, contraction_scale, coupling
from cartalg.symbolic.irreps import Irrep
from cartalg.symbolic.polynomials import RADIUS_SQUARED
from cartalg.symbolic.proofs import actions
from cartalg.symbolic.proofs.error import require
from cartalg.symbolic.proofs.spaces import prove_generators


def prove_equivariant(rule: Coupling) -> None:
    """The coupling commutes with so(3) and with a reflection, exactly: sum_a C J1 + sum_b C J2 = J3 C for each axis.

    Of natural tensors a contraction is natural and a Levi-Civita coupling axial. The generators are proved themselves:
    with generators of zero everything would be equivariant.
    """
    ranks = (rule.l1, rule.l2, rule.l3)
    name = f"coupling ({rule.l1}, {rule.l2}) -> {rule.l3}"
    for rank in set(ranks):
        prove_generators(rank)
    entries = {i: Fraction(int(c.numerator), int(c.denominator)) for i, c in rule.entries.items()}
    matrices = [actions.generators(rank) for rank in ranks]
    for axis in range(3):
        j1, j2, j3 = (of_rank[axis] for of_rank in matrices)
        defect: dict[tuple[int, int, int], Fraction] = {}
        for (k, a, b), c in entries.items():
            for other in range(2 * rule.l1 + 1):
                if j1[a][other]:
                    defect[k, other, b] = defect.get((k, other, b), Fraction(0)) + c * j1[a][other]
            for other in range(2 * rule.l2 + 1):
                if j2[b][other]:
                    defect[k, a, other] = defect.get((k, a, other), Fraction(0)) + c * j2[b][other]
            for other in range(2 * rule.l3 + 1):
                if j3[other][k]:
                    defect[other, a, b] = defect.get((other, a, b), Fraction(0)) - j3[other][k] * c
        require(not any(defect.values()), f"{name} does not commute with the generator about axis {axis}")
    first, second, out = (Irrep.of_natural(rank) for rank in ranks)
    if rule.kind is CouplingKind.LEVI_CIVITA:
        out = Irrep(out.l, -out.p)
    require(out.p == first.p * second.p, f"{name}: the parity of the output is not the product of parities")
    # the reflection is diagonal on packed components
    m1, m2, m3 = (actions.packed_mirror(irrep) for irrep in (first, second, out))
    for k, a, b in entries:
        require(m3[k][k] == m1[a][a] * m2[b][b], f"{name} does not commute with the reflection")


def prove_harmonic(rule: Coupling) -> None:
    """A contraction of T_l1 and T_l2 of one vector is r^2k T_l3, k index pairs; a Levi-Civita coupling is zero."""
    first, second = harmonic_polynomials(rule.l1), harmonic_polynomials(rule.l2)
    power = (rule.l1 + rule.l2 - rule.l3) // 2
    for k, expected in enumerate(harmonic_polynomials(rule.l3)):
        total = sum(
            (c * first[a] * second[b] for (out, a, b), c in rule.entries.items() if out == k), RADIUS_SQUARED * 0
        )
        wanted = RADIUS_SQUARED * 0 if rule.kind is CouplingKind.LEVI_CIVITA else expected * RADIUS_SQUARED**power
        require(total == wanted, f"coupling ({rule.l1}, {rule.l2}) -> {rule.l3}: harmonic normalisation fails")


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
    require(len(rows) == (2 * l1 + 1) * (2 * l2 + 1), f"({l1}, {l2}): {len(rows)} components")
    for i, row in enumerate(rows):
        for j in range(i + 1):
            overlap = sum(c * rows[j].get(ab, 0) / (n1[ab[0]] * n2[ab[1]]) for ab, c in row.items())  # type: ignore
            wanted = 1 if i == j else 0
            require(overlap * weights[i] == wanted, f"({l1}, {l2}): components {i} and {j} are not orthonormal")


def prove_constants(rule: Coupling) -> None:
    """Both normalisations have the constants that are closed in the three ranks [docs/theory.md, eqs. 22, 23]."""
    ranks = (rule.l1, rule.l2, rule.l3)
    measured = (to_sympy(contraction_scale(*ranks)), to_sympy(rule.orthonormal_squared))
    closed = (contraction_constant(*ranks), orthonormal_constant(*ranks))
    require(measured == closed, f"coupling ({rule.l1}, {rule.l2}) -> {rule.l3}: constants {measured}, not {closed}")


def prove_coupling(rule: Coupling) -> None:
    """Everything about one coupling: equivariance, harmonic normalisation, both constants."""
    prove_equivariant(rule)
    prove_harmonic(rule)
    prove_constants(rule)
