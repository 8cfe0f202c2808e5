"""Proofs fail on what is wrong: generators, bases, projectors, packings and parts that do not turn as they should."""

from fractions import Fraction

import pytest
import sympy as sp

from cartalg.symbolic import proofs, rotation
from cartalg.symbolic.coupling import Coupling, coupling
from cartalg.symbolic.polynomials import RING, X
from cartalg.symbolic.proofs import ProofError, actions, couplings, spaces
from cartalg.symbolic.reducible import Decomposition, Part, decompose
from cartalg.symbolic.rotation import generator
from cartalg.symbolic.spherical import wigner_d

EVERYTHING = {
    "basis": lambda: proofs.prove_basis(2),
    "full tensor": lambda: proofs.prove_full_tensor(2),
    "coupling": lambda: proofs.prove_coupling(coupling(2, 1, 2)),
    "decomposition": lambda: proofs.prove_decomposition("ijk=ikj"),
}


@pytest.mark.parametrize("rank", range(9))
def test_generators_are_proved(rank):
    proofs.prove_generators(rank)


@pytest.mark.parametrize("axis", range(3))
def test_a_generator_is_the_derivative_of_the_rotation(axis):
    t = sp.Symbol("t", real=True)
    turn = sp.eye(3)
    u, v = (axis + 1) % 3, (axis + 2) % 3
    turn[u, u] = turn[v, v] = sp.cos(t)
    turn[u, v], turn[v, u] = -sp.sin(t), sp.sin(t)
    for rank in range(4):
        assert sp.Matrix(wigner_d(rank, turn)).diff(t).subs(t, 0) == sp.Matrix(generator(rank, axis))


@pytest.mark.parametrize("what", EVERYTHING)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda rank, axis: [[Fraction(0)] * (2 * rank + 1) for _ in range(2 * rank + 1)],
        lambda rank, axis: [[2 * v for v in row] for row in generator(rank, axis)],
        lambda rank, axis: [[-v for v in row] for row in generator(rank, axis)],
        lambda rank, axis: generator(rank, 0),
    ],
    ids=["zero", "scaled", "reversed", "one axis"],
)
def test_nothing_is_equivariant_under_wrong_generators(monkeypatch, what, wrong):
    monkeypatch.setattr(actions, "generator", wrong)
    with pytest.raises(ProofError, match=r"generators do not commute|J\^2"):
        EVERYTHING[what]()


def test_another_representation_of_the_same_size_fails(monkeypatch):
    """Three vectors' generators side by side commute as they should, and are not those of rank 4."""

    def three_vectors(rank, axis):
        j = generator(1, axis)
        return [[j[i % 3][k % 3] if i // 3 == k // 3 else Fraction(0) for k in range(9)] for i in range(9)]

    monkeypatch.setattr(actions, "generator", three_vectors)
    with pytest.raises(ProofError, match=r"J\^2|antisymmetric"):
        proofs.prove_generators(4)


def test_a_basis_that_turns_otherwise_fails(monkeypatch):
    basis = spaces.basis_polynomials(1)
    monkeypatch.setattr(spaces, "basis_polynomials", lambda rank: (basis[1], basis[0], basis[2]))
    with pytest.raises(ProofError, match="turns by another matrix"):
        proofs.prove_basis(1)


def test_a_projector_that_prefers_an_axis_fails(monkeypatch):
    def crooked(p, rank):
        return p * 0 if p == RING({(2, 0, 0): RING.domain(1)}) else spaces_detrace(p, rank)

    spaces_detrace = spaces.detrace
    monkeypatch.setattr(spaces, "detrace", crooked)
    assert crooked(X**2, 2) == 0
    with pytest.raises(ProofError, match="not equivariant"):
        proofs.prove_projector(2)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_packing_in_another_order_fails(monkeypatch, rank):
    turn = sp.eye(2 * rank + 1)[:, [1, 0, *range(2, 2 * rank + 1)]]
    unpack, pack = spaces.full_tensor_matrix(rank), spaces.packing_matrix(rank)
    monkeypatch.setattr(spaces, "full_tensor_matrix", lambda rank: unpack * turn)
    monkeypatch.setattr(spaces, "packing_matrix", lambda rank: turn.T * pack)
    with pytest.raises(ProofError, match="does not commute with the generator"):
        proofs.prove_full_tensor(rank)


def test_a_part_with_components_exchanged_fails(monkeypatch):
    """Orthogonal, symmetric, complete, of the right norms, and still not equivariant."""
    found = decompose("ij=-ji")
    (part,) = found.parts
    other = Part(part.rank, part.embedding[..., [1, 0, 2]], part.denominator, part.squared_norm, part.paths)
    monkeypatch.setattr(spaces, "decompose", lambda formula: Decomposition(formula, 2, (other,)))
    with pytest.raises(ProofError, match="unpacking 1e does not commute"):
        proofs.prove_decomposition("ij=-ji")


def test_a_part_of_the_wrong_parity_fails(monkeypatch):
    """The cross product of two vectors is axial: as a polar vector it fails under the reflection alone."""
    mirror = actions.packed_mirror
    monkeypatch.setattr(actions, "packed_mirror", lambda irrep: mirror(type(irrep)(irrep.l, -irrep.p)))
    for formula in ("ij=-ji", "i", "ijk"):
        with pytest.raises(ProofError, match="does not have its parity"):
            proofs.prove_decomposition(formula)


def test_a_coupling_that_mixes_parities_fails(monkeypatch):
    good = coupling(2, 1, 2)
    entries = dict(good.entries)
    key = next(iter(entries))
    entries[key] = entries[key] * 2
    with pytest.raises(ProofError, match=r"\(2, 1\) -> 2"):
        proofs.prove_equivariant(Coupling(2, 1, 2, entries, good.orthonormal_squared))
    mirror = actions.packed_mirror
    monkeypatch.setattr(couplings.actions, "packed_mirror", lambda irrep: mirror(type(irrep)(irrep.l, (-1) ** irrep.l)))
    with pytest.raises(ProofError, match="reflection"):
        proofs.prove_equivariant(good)


def test_the_generator_of_the_module_is_what_is_proved():
    assert actions.generator is rotation.generator
