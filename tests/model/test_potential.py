"""The contract of a potential, once, for every architecture and backend."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell, molecule

from architectures import ARCHITECTURES, SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.frames import DataError
from cartalg.data.graphs import build_graph, collate, find_pairs
from cartalg.model import Potential
from cartalg.ops import KernelNotFound
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


@pytest.fixture(params=list(ARCHITECTURES), scope="module")
def model(request):
    return potential(request.param)


@pytest.mark.parametrize("inversion", [False, True], ids=["rotation", "rotation and reflection"])
@pytest.mark.parametrize("make", [ethanol, copper], ids=["molecule", "crystal"])
def test_rotation_and_reflection(model, make, inversion):
    atoms, turned = make(), make()
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    q = q * np.sign(np.linalg.det(q)) * (-1 if inversion else 1)
    turned.set_cell(atoms.cell.array @ q.T)
    turned.positions = atoms.positions @ q.T
    crystal = bool(atoms.pbc.all())
    e1, f1, p1 = predict(model, atoms, crystal)
    e2, f2, p2 = predict(model, turned, crystal)
    assert e2 == pytest.approx(e1, abs=1e-10)
    np.testing.assert_allclose(f2, f1 @ q.T, atol=1e-10)
    if crystal:
        np.testing.assert_allclose(p2.virial[0].numpy(), q @ p1.virial[0].numpy() @ q.T, atol=1e-9)


@pytest.mark.parametrize(("hidden", "edge", "parity"), [(4, 6, "natural"), (3, 4, "full")])
def test_rotation_and_reflection_at_high_rank(hidden, edge, parity, tmp_path):
    """Kernels emitted for the purpose; on Torch, for compiling them takes minutes."""
    changes = {"hidden_rank": hidden, "edge_rank": edge, "correlation": 2, "parity": parity}
    names = tuple({spec.name for pair in ModelConfig(**changes).kernel_specs() for spec in pair})
    emit.write(emit.render(Set(edge, only=names)), tmp_path / "kernels")
    model = potential(backend="torch", kernels=str(tmp_path / "kernels"), **changes)
    test_rotation_and_reflection(model, ethanol, inversion=True)


def test_translation_also_far_from_the_origin(model):
    atoms, moved = ethanol(), ethanol()
    moved.positions += [1e5, -2e5, 3e5]
    e1, f1, _ = predict(model, atoms)
    e2, f2, _ = predict(model, moved)
    assert e2 == pytest.approx(e1, abs=1e-8)
    np.testing.assert_allclose(f2, f1, atol=1e-7)


def test_permutation(model):
    atoms = ethanol()
    order = np.random.default_rng(2).permutation(len(atoms))
    e1, f1, _ = predict(model, atoms)
    e2, f2, _ = predict(model, atoms[order])
    assert e2 == pytest.approx(e1, abs=1e-11)
    np.testing.assert_allclose(f2, f1[order], atol=1e-11)


def test_supercell_is_extensive(model):
    atoms = copper()
    double = make_supercell(atoms, [[2, 0, 0], [1, 1, 0], [0, 0, 1]])
    e1, _, p1 = predict(model, atoms, True)
    e2, _, p2 = predict(model, double, True)
    assert e2 == pytest.approx(2 * e1, abs=1e-9)
    np.testing.assert_allclose(p2.virial.numpy(), 2 * p1.virial.numpy(), atol=1e-9)


@pytest.mark.parametrize("make", [ethanol, copper], ids=["molecule", "crystal"])
def test_forces_are_the_derivative_of_the_energy(model, make):
    atoms = make()
    _, forces, _ = predict(model, atoms)
    h = 1e-4
    for atom, axis in [(0, 0), (1, 2), (len(atoms) - 1, 1)]:
        energies = []
        for shift in (-2 * h, -h, h, 2 * h):
            moved = atoms.copy()
            moved.positions[atom, axis] += shift
            energies.append(predict(model, moved)[0])
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
        assert -slope == pytest.approx(forces[atom, axis], abs=1e-8)


@pytest.mark.parametrize("left_handed", [False, True])
def test_stress_is_the_strain_derivative_in_left_handed_cells_too(left_handed):
    model, atoms = potential(), copper()
    if left_handed:
        atoms.set_cell(atoms.cell.array[[1, 0, 2]])
        assert np.linalg.det(atoms.cell.array) < 0
    _, _, p = predict(model, atoms, True)
    graph = build_graph(atoms, model.config.cutoff, model.elements)
    stress, h = p.virial[0].numpy() / float(graph.volume[0]), 1e-4
    assert float(graph.volume[0]) > 0
    for a, b in [(0, 0), (1, 2), (2, 2)]:
        energies = []
        for sign in (-1, 1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * h / 2
            strain[b, a] += sign * h / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(predict(model, strained)[0])
        slope = (energies[1] - energies[0]) / (2 * h) / float(graph.volume[0])
        assert slope == pytest.approx(stress[a, b], abs=1e-7)


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


def test_frames_of_a_batch_do_not_see_each_other(model):
    frames = [ethanol(), Atoms("C"), copper(), Atoms("HO", [[0, 0, 0], [0, 0, 9.0]]), molecule("H2O")]
    graphs = [build_graph(a, model.config.cutoff, model.elements) for a in frames]
    batch = model(collate(graphs), virial=True)
    start = 0
    for n, (atoms, graph) in enumerate(zip(frames, graphs, strict=True)):
        alone = model(graph, virial=True)
        assert float(batch.energy[n]) == pytest.approx(float(alone.energy[0]), abs=1e-11)
        np.testing.assert_allclose(batch.forces[start : start + len(atoms)].numpy(), alone.forces.numpy(), atol=1e-11)
        np.testing.assert_allclose(batch.virial[n].numpy(), alone.virial[0].numpy(), atol=1e-10)
        start += len(atoms)


def test_isolated_atoms_have_an_energy_and_no_force(model):
    for symbol in ELEMENTS:
        energy, forces, _ = predict(model, Atoms(symbol))
        assert np.isfinite(energy)
        assert (forces == 0).all()
    far = Atoms("CO", [[0, 0, 0], [0, 0, 50.0]])
    assert predict(model, far)[0] == pytest.approx(predict(model, Atoms("C"))[0] + predict(model, Atoms("O"))[0])


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
    assert errors[ModelConfig().knots] < 1e-4
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
        assert sorted(zip(ours.receiver, ours.sender, map(tuple, ours.shifts), strict=True)) == theirs
