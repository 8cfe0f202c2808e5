"""The contract of a potential, once, for every architecture and backend."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from architectures import ARCHITECTURES, SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.frames import DataError
from cartalg.data.graphs import build_graph, collate, find_pairs
from cartalg.model import Potential
from cartalg.ops import KernelNotFound
from cartalg.testing import SINGLE
from cartalg.testing.potential import FromModel, PotentialContract
from cartalg_codegen import emit
from cartalg_codegen.sets import Set

ELEMENTS = ("H", "C", "O", "Cu")


def potential(name="default", backend="numba", seed=0, **changes):
    torch.manual_seed(seed)
    config = ModelConfig(**{**SMALL, **ARCHITECTURES[name], **changes})
    shifts = torch.tensor([-1.0, -5.0, -9.0, -3.0], dtype=torch.float64)
    return Potential(config, ELEMENTS, shifts, scale=0.7, mean_neighbours=8.0, backend=backend)


def predict(model, atoms, virial=False):
    p = model(build_graph(atoms, model.config.cutoff, model.elements), virial=virial)
    return float(p.energy[0]), p.forces.numpy(), p


def ethanol(seed=0):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    return atoms


def copper(seed=0, size=1):
    atoms = bulk("Cu", cubic=True) * (size, size, size)
    atoms.rattle(0.08, seed=seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * np.array([[1, 2, 0], [0, -1, 1], [1, 0, 2]])), True)
    return atoms


@pytest.fixture(params=ARCHITECTURES, scope="module")
def model(request):
    return potential(request.param)


class TestContract(PotentialContract):
    displacement = (1e5, -2e5, 3e5)

    @pytest.fixture
    def potential(self, model):
        return FromModel(model)

    def molecule(self, potential):
        return ethanol()

    def crystal(self, potential):
        return copper()


class TestContractInSinglePrecision(TestContract):
    tolerance, displacement = SINGLE, (1e2, -2e2, 3e2)

    @pytest.fixture
    def potential(self):
        return FromModel(potential(dtype="float32"))


class TestContractOnTorch(TestContract):
    @pytest.fixture
    def potential(self):
        return FromModel(potential("full parity, gate and norm", backend="torch"))


@pytest.mark.campaign
@pytest.mark.parametrize(("hidden", "edge", "parity"), [(4, 6, "natural"), (3, 4, "full")])
def test_rotation_and_reflection_at_high_rank(hidden, edge, parity, tmp_path):
    """Kernels emitted for the purpose; on Torch, for compiling them takes minutes."""
    changes = {"hidden_rank": hidden, "edge_rank": edge, "correlation": 2, "parity": parity}
    names = tuple({spec.name for pair in ModelConfig(**changes).kernel_specs() for spec in pair})
    emit.write(emit.render(Set(edge, only=names)), tmp_path / "kernels")
    model = potential(backend="torch", kernels=str(tmp_path / "kernels"), **changes)
    suite = PotentialContract()
    suite.frames = lambda potential: [ethanol()]
    suite.test_rotations_and_reflections(FromModel(model))


def test_energy_force_and_its_slope_are_smooth_at_the_cutoff():
    model = potential()
    cutoff, h = model.config.cutoff, 2e-3

    def dimer(r):
        return predict(model, Atoms("CO", [[0, 0, 0], [0, 0.6 * r, 0.8 * r]]))

    separate = sum(predict(model, Atoms(s))[0] for s in "CO")
    assert dimer(cutoff + 1e-9)[0] == separate
    energies = np.array([dimer(cutoff + n * h)[0] - separate for n in range(-4, 3)])
    forces = np.array([dimer(cutoff + n * h)[1][1] for n in range(-4, 3)])
    assert abs(energies[4:]).max() == 0
    assert abs(forces[4:]).max() == 0
    # value, slope and curvature of the envelope vanish at the cutoff, so all fall like powers of the distance to it
    assert abs(energies[3]) < 1e-6
    assert abs(forces[3]).max() < 1e-4
    slopes = np.diff(forces, axis=0) / h
    assert abs(slopes[3]).max() < 5e-2 * max(abs(predict(model, Atoms("CO", [[0, 0, 0], [0, 0, 1.2]]))[1]).max(), 1)


@pytest.mark.parametrize("name", ["default", "two-body, with repulsion", "shared weights, gate and norm"])
def test_hessian_is_the_derivative_of_the_forces(name):
    model, atoms = potential(name), molecule("H2O")
    hessian = model.hessian(build_graph(atoms, model.config.cutoff, model.elements)).numpy()
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-10)
    np.testing.assert_allclose(hessian.reshape(3, 3, 9).sum(0), 0, atol=1e-10)  # a translation costs nothing
    h = 1e-4
    for place in range(9):
        forces = []
        for shift in (-2 * h, -h, h, 2 * h):
            moved = atoms.copy()
            moved.positions.reshape(-1)[place] += shift
            forces.append(predict(model, moved)[1].reshape(-1))
        slope = (forces[0] - 8 * forces[1] + 8 * forces[2] - forces[3]) / (12 * h)
        np.testing.assert_allclose(hessian[place], -slope, atol=1e-7)
    assert (model.hessian(build_graph(Atoms("C"), 3.5, model.elements)) == 0).all()
    batch = collate([build_graph(a, 3.5, model.elements) for a in (atoms, atoms)])
    with pytest.raises(ValueError, match="one frame"):
        model.hessian(batch)


def test_a_batch_of_frames_without_edges_trains():
    model = potential()
    graph = collate([build_graph(Atoms(s), 3.5, ELEMENTS) for s in ("C", "H")])
    p = model(graph, virial=True, training=True)
    (p.energy.sum() + (p.forces**2).sum()).backward()
    assert torch.isfinite(model.embedding.grad).all()


def test_backends_give_the_same_training_gradients():
    graph = collate([build_graph(a, 3.5, ELEMENTS) for a in (ethanol(), copper())])
    results = []
    for backend in ("numba", "torch"):
        model = potential(backend=backend)
        p = model(graph, virial=True, training=True)
        (p.energy.sum() + (p.forces**2).sum() + (p.virial**2).sum()).backward()
        results.append([p.energy, p.forces, p.virial, *(q.grad for q in model.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_the_table_converges_to_direct_evaluation_at_the_splines_order():
    graph = collate([build_graph(a, 5.0, ELEMENTS) for a in (ethanol(), copper())])
    settings = {"cutoff": 5.0, "n_bessel": 8, "radial_hidden": (16, 16)}
    exact = potential(backend="torch", radial_mode="direct", **settings)(graph).forces
    errors = {}
    for knots in (64, 128, 256):
        forces = potential(knots=knots, **settings)(graph).forces
        errors[knots] = float((forces - exact).norm() / exact.norm())
    assert errors[ModelConfig().knots] < 5e-3
    # forces hold the derivative of a cubic spline: third order in the knot distance
    assert errors[64] / errors[128] > 6
    assert errors[128] / errors[256] > 6


def test_precision_stays_what_it_was():
    double, single = potential(), potential(dtype="float32")
    graph = build_graph(ethanol(), 3.5, ELEMENTS)
    p64, p32 = double(graph), single(graph)
    assert (p64.forces.dtype, p32.forces.dtype) == (torch.float64, torch.float32)
    assert p64.energy.dtype == p32.energy.dtype == torch.float64
    assert double.shifts.dtype == single.shifts.dtype == torch.float64
    error = (p32.forces.double() - p64.forces).norm() / p64.forces.norm()
    assert error < 5e-5


def test_unknown_architectures_and_elements_are_explained(tmp_path):
    emit.write(emit.render(Set(1, only=("linear",))), tmp_path / "kernels")
    with pytest.raises(KernelNotFound, match="generate --only product_natural_limited_a2_o1_n3"):
        potential(kernels=str(tmp_path / "kernels"))
    with pytest.raises(ValueError, match="chemical symbols"):
        Potential(ModelConfig(**SMALL), ("C", "Xx"))
    with pytest.raises(DataError, match="frame holds N"):
        build_graph(molecule("NH3"), 3.5, ELEMENTS)


def test_small_cells_neighbour_their_own_images():
    atoms = bulk("Cu")  # one atom
    pairs = find_pairs(atoms, 3.5)
    assert len(pairs.sender) == 12
    model = potential()
    one, _, p1 = predict(model, atoms, True)
    eight, _, p8 = predict(model, atoms * (2, 2, 2), True)
    assert eight == pytest.approx(8 * one, abs=1e-9)
    np.testing.assert_allclose(p8.virial.numpy(), 8 * p1.virial.numpy(), atol=1e-9)


def test_a_slab_whose_third_cell_vector_is_zero():
    slab = bulk("Cu", cubic=True)
    slab.set_cell([slab.cell[0], slab.cell[1], [0, 0, 0]])
    slab.pbc = (True, True, False)
    thick = slab.copy()
    thick.set_cell([slab.cell[0], slab.cell[1], [0, 0, 100.0]])
    model = potential()
    e1, f1, _ = predict(model, slab)
    e2, f2, _ = predict(model, thick)
    assert e1 == pytest.approx(e2, abs=1e-10)
    np.testing.assert_allclose(f1, f2, atol=1e-10)


def test_pairs_agree_with_ases_neighbour_list():
    from ase.neighborlist import neighbor_list

    for atoms in (ethanol(), copper(), copper() * (2, 1, 1)):
        i, j, shifts = neighbor_list("ijS", atoms, 4.0)
        ours = find_pairs(atoms, 4.0)
        theirs = sorted(zip(i, j, map(tuple, shifts), strict=True))
        assert list(zip(ours.receiver, ours.sender, map(tuple, ours.shifts), strict=True)) == theirs
        far = atoms.copy()
        far.positions[-1] += [7, -5, 3] @ atoms.cell.array
        np.testing.assert_allclose(find_pairs(far, 4.0).vectors(far), ours.vectors(atoms), atol=1e-12)
