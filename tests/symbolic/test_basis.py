import pytest
import sympy as sp

from cartalg.symbolic import cartesian_harmonic, projector, projector_terms
from cartalg.symbolic.basis import (
    full_tensor_matrix,
    monomial_indices,
    monomial_matrix,
    packing_matrix,
)
from cartalg.symbolic.proofs import prove_basis, prove_full_tensor, prove_projector

RANKS = range(7)


@pytest.mark.parametrize("rank", RANKS)
def test_basis_and_projector_are_proved(rank):
    prove_basis(rank)
    prove_projector(rank)


@pytest.mark.parametrize("rank", range(5))
def test_full_tensor_is_symmetric_and_packs_back(rank):
    prove_full_tensor(rank)


def test_projector_terms_are_applequists_with_our_prefactor():
    assert projector_terms(2) == [1, sp.Rational(-1, 3)]
    assert projector_terms(4) == [1, sp.Rational(-1, 7), sp.Rational(1, 35)]


@pytest.mark.parametrize("rank", range(1, 5))
def test_explicit_projector_is_the_packed_one(rank):
    x, y, z = sp.symbols("x y z")
    flat = sp.Matrix(projector(rank).reshape(3**rank).tolist())
    vector = sp.Matrix([x, y, z])
    power = vector
    for _ in range(rank - 1):
        power = sp.Matrix([a * b for a in power for b in vector])
    assert (flat - full_tensor_matrix(rank) * packing_matrix(rank) * power).expand() == sp.zeros(3**rank, 1)


@pytest.mark.parametrize("rank", RANKS)
def test_harmonic_contracts_with_its_vector_to_one(rank):
    n = (sp.Rational(2, 3), sp.Rational(-1, 3), sp.Rational(2, 3))
    packed = cartesian_harmonic(rank).subs(dict(zip(sp.symbols("x y z"), n, strict=True)))
    full = full_tensor_matrix(rank) * packed
    power = [sp.Integer(1)]
    for _ in range(rank):
        power = [a * b for a in power for b in n]
    assert sum(f * p for f, p in zip(full, power, strict=True)) == 1


@pytest.mark.parametrize("rank", range(5))
def test_monomial_components_are_entries_of_the_full_tensor_that_determine_it(rank):
    full, found = full_tensor_matrix(rank), monomial_matrix(rank)
    assert len(monomial_indices(rank)) == 2 * rank + 1
    for row, (a, b, c) in enumerate(monomial_indices(rank)):
        place = sum(3**n * axis for n, axis in enumerate([0] * a + [1] * b + [2] * c))
        assert found.row(row) == full.row(place)
    assert found.rank() == 2 * rank + 1


@pytest.mark.parametrize("bad", [-1, 1.5, "2", True])
def test_a_bad_rank_is_named(bad):
    with pytest.raises(ValueError, match="non-negative integer"):
        cartesian_harmonic(bad)
