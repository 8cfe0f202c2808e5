import pytest
import sympy as sp

from cartalg.symbolic import cartesian_harmonic, projector, projector_terms
from cartalg.symbolic.basis import (
    full_tensor_matrix,
    monomial_indices,
    monomial_matrix,
    packing_matrix,
    spherical_matrix,
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
def test_monomial_components_and_back(rank):
    forward = monomial_matrix(rank)
    assert len(monomial_indices(rank)) == 2 * rank + 1
    assert forward.inv() * forward == sp.eye(2 * rank + 1)


@pytest.mark.parametrize("rank", range(5))
@pytest.mark.parametrize("convention", ["z-polar", "e3nn"])
def test_spherical_map_is_an_isometry(rank, convention):
    from cartalg.symbolic.basis import squared_norms, to_sympy

    q = spherical_matrix(rank, convention)
    metric = sp.diag(*[to_sympy(n) for n in squared_norms(rank)])
    assert sp.simplify(q.T * q - metric) == sp.zeros(2 * rank + 1)


@pytest.mark.parametrize("rank", range(5))
def test_harmonics_in_e3nn_components_equal_e3nns_spherical_harmonics(rank):
    import numpy as np
    import torch
    from e3nn import o3

    points = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = points / points.norm(dim=1, keepdim=True)
    column = spherical_matrix(rank, "e3nn") * cartesian_harmonic(rank)
    evaluate = sp.lambdify(sp.symbols("x y z"), list(column), "numpy")
    ours = np.stack([np.broadcast_to(c, 5) for c in evaluate(*points.T.numpy())], 1)
    # |T_l(n)|^2 = (2l-1)!!/l!, so the two differ by that norm
    norm = float(sp.sqrt(sp.factorial2(2 * rank - 1) / sp.factorial(rank)))
    theirs = o3.spherical_harmonics(rank, points, normalize=True, normalization="norm").numpy()
    np.testing.assert_allclose(ours / norm, theirs, atol=1e-12)


@pytest.mark.parametrize("bad", [-1, 1.5, "2", True])
def test_a_bad_rank_is_named(bad):
    with pytest.raises(ValueError, match="non-negative integer"):
        cartesian_harmonic(bad)


def test_unknown_convention():
    with pytest.raises(ValueError, match="z-polar"):
        spherical_matrix(2, "y-polar")
