"""Edge forces, virials of atoms and heat flux are what their definitions say, beyond the neighbours of an atom too."""

from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from scipy.integrate import solve_ivp

from architectures import ARCHITECTURES, SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph, collate
from cartalg.flow import Flows, pair_virials
from cartalg.model import Potential
from cartalg.nn.images import Images

ELEMENTS = ("H", "C", "O", "Cu")


def potential(**settings):
    torch.manual_seed(0)
    settings = {"zbl": False, **settings}  # finite differences do not follow its steep slopes
    config = ModelConfig(**{**SMALL, **settings})
    return Potential(config, ELEMENTS, torch.tensor([-1.0, -3.0, 2.0, 0.5]), mean_neighbours=10.0, scale=1.7)


def cell(*repeats):
    atoms = bulk("Cu") * repeats
    atoms.rattle(0.1, rng=np.random.default_rng(0))
    atoms.positions += [7.0, -3.0, 11.0]  # not inside the cell
    return atoms


def acid():
    atoms = molecule("CH3COOH")
    atoms.rattle(0.05, rng=np.random.default_rng(0))
    return atoms


def flow_of(model, atoms, flows=None, positions=None):
    graph = build_graph(atoms, model.config.cutoff, model.elements)
    return (flows or Flows(model))(graph, torch.tensor(atoms.positions if positions is None else positions))


def unfolded(atoms, reach):
    """An open copy with all images up to a distance, and the number of its first atom that is in the cell itself."""
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    counts = [range(-n, n + 1) for n in np.ceil(reach / heights).astype(int)]
    shifts = list(product(*counts))
    positions = np.concatenate([atoms.positions + np.array(s) @ atoms.cell.array for s in shifts])
    return Atoms(atoms.get_chemical_symbols() * len(shifts), positions), shifts.index((0, 0, 0)) * len(atoms)


@pytest.mark.parametrize("name", ["default", "three layers", "repulsion as of MACE", "gated"])
def test_the_centroid_virial_is_its_definition_in_an_unfolded_copy(name):
    model = potential(**{**ARCHITECTURES, "gated": {"gate": True, "norm": True, "element_messages": 1}}[name])
    atoms = cell(3, 1, 1)  # two would be an inversion of each other
    open_copy, home = unfolded(atoms, model.config.layers * model.config.cutoff)
    graph = build_graph(open_copy, model.config.cutoff, ELEMENTS)
    places = torch.tensor(open_copy.positions, requires_grad=True)
    edges = graph.edges
    energies = model.energies(graph, places[edges.sender] - places[edges.receiver])[home : home + len(atoms)]
    (slope,) = torch.autograd.grad(energies.sum(), places, retain_graph=True)
    expected = torch.zeros(len(atoms), 3, 3, dtype=torch.float64)
    for axis in range(3):  # images of i beside the cell stand for i beside images of j
        weights = places[home : home + len(atoms), axis].detach()
        (moment,) = torch.autograd.grad(energies, places, weights, retain_graph=True)
        expected[:, axis] = (places[:, axis, None] * slope - moment).detach().view(-1, len(atoms), 3).sum(0)
    found = flow_of(model, atoms)
    torch.testing.assert_close(found.centroid, expected, rtol=1e-10, atol=1e-11)
    asymmetry = (found.centroid - found.centroid.mT).abs().max()
    assert asymmetry > 1e-6  # of single atoms: the sum is symmetric
    model.backend = "torch"
    by_autograd = flow_of(model, atoms)
    for name in ("energies", "edge_forces", "forces", "centroid"):
        torch.testing.assert_close(getattr(by_autograd, name), getattr(found, name), rtol=1e-9, atol=1e-11)


def test_the_flux_of_a_periodic_cell_by_finite_differences():
    model = potential(cutoff=2.8)
    atoms = cell(2, 1, 1)
    velocities = np.random.default_rng(1).normal(size=(2, 3))
    open_copy, home = unfolded(atoms, 4 * 2.8 + 0.2)  # those that feel an atom, with all that they feel
    expected, h = np.zeros((2, 3)), 1e-3
    for i, velocity in enumerate(velocities):
        energies = []
        for shift in (-2 * h, -h, h, 2 * h):
            moved = open_copy.copy()
            moved.positions[home + i] += shift * velocity
            energies.append(model(build_graph(moved, 2.8, ELEMENTS), forces=False).atomic_energies.numpy())
        rate = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
        expected[i] = rate @ (open_copy.positions - open_copy.positions[home + i])
    total, convective = flow_of(model, atoms).heat_flux(torch.tensor(velocities), torch.ones(2))
    np.testing.assert_allclose((total - convective).numpy(), expected, atol=1e-8 * abs(expected).max())


def barycentre(model, atoms, velocities, masses):
    graph = build_graph(atoms, model.config.cutoff, ELEMENTS)
    energies = model(graph, forces=False).atomic_energies.numpy() + 0.5 * masses * (velocities**2).sum(1)
    return energies @ atoms.positions


def test_the_flux_is_the_motion_of_the_barycentre_of_energy_and_so_is_its_integral():
    model, atoms = potential(), acid()
    flows = Flows(model)
    masses, velocities = atoms.get_masses(), 0.05 * np.random.default_rng(1).normal(size=(8, 3))

    def flux_and_acceleration(atoms, velocities):
        flow = flow_of(model, atoms, flows)
        flux, _ = flow.heat_flux(torch.tensor(velocities), torch.tensor(masses))
        return flux.sum(0).numpy(), flow.forces.numpy() / masses[:, None]

    flux, acceleration = flux_and_acceleration(atoms, velocities)
    values, h = [], 1e-3
    for t in (-2 * h, -h, h, 2 * h):
        moved = atoms.copy()
        moved.positions += t * velocities
        values.append(barycentre(model, moved, velocities + t * acceleration, masses))
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    np.testing.assert_allclose(flux, slope, rtol=1e-7, atol=1e-9)

    def motion(_, state):
        moved = atoms.copy()
        moved.positions, speeds = state[:24].reshape(8, 3), state[24:48].reshape(8, 3)
        flux, acceleration = flux_and_acceleration(moved, speeds)
        return np.concatenate([state[24:48], acceleration.ravel(), flux])

    start = np.concatenate([atoms.positions.ravel(), velocities.ravel(), np.zeros(3)])
    end = solve_ivp(motion, (0, 0.5), start, method="DOP853", rtol=1e-8, atol=1e-8).y[:, -1]
    there = atoms.copy()
    there.positions = end[:24].reshape(8, 3)
    gained = barycentre(model, there, end[24:48].reshape(8, 3), masses) - barycentre(model, atoms, velocities, masses)
    assert abs(gained).max() > 0.1
    np.testing.assert_allclose(end[48:], gained, atol=1e-5 * abs(gained).max())


@pytest.mark.parametrize("name", ["default", "three layers", "one layer, rank 0"])
def test_virials_of_atoms_add_up_and_cells_are_extensive(name):
    model, one, eight = potential(**ARCHITECTURES[name]), cell(3, 1, 1), cell(3, 1, 1) * (2, 2, 2)
    graph = build_graph(one, model.config.cutoff, ELEMENTS)
    said = model(graph, virial=True, edge_forces=True)
    flow = flow_of(model, one)
    torch.testing.assert_close(flow.edge_forces, said.edge_forces)
    torch.testing.assert_close(flow.forces, said.forces)
    torch.testing.assert_close(flow.energies, said.atomic_energies)
    for virials in (flow.centroid, pair_virials(graph, said.edge_forces)):
        torch.testing.assert_close(virials.sum(0), said.virial[0])
    shared = pair_virials(graph, said.edge_forces)
    by_hand = torch.zeros_like(shared)
    for i, j, vector, force in zip(
        graph.edges.receiver, graph.edges.sender, graph.vectors, said.edge_forces, strict=True
    ):
        part = -(torch.outer(vector, force) + torch.outer(force, vector)) / 4
        by_hand[i] += part
        by_hand[j] += part
    torch.testing.assert_close(shared, by_hand)
    many = flow_of(model, eight)
    torch.testing.assert_close(many.centroid, flow.centroid.repeat(8, 1, 1), rtol=1e-9, atol=1e-11)
    assert model(graph).edge_forces is None
    alone = model(graph, forces=False, edge_forces=True)
    assert alone.forces is None
    torch.testing.assert_close(alone.edge_forces, said.edge_forces)
    training = model(graph, edge_forces=True, training=True)
    torch.testing.assert_close(training.edge_forces.detach(), said.edge_forces)


def test_frames_beside_each_other_and_atoms_in_other_cells_change_nothing():
    model, flows = potential(), Flows(potential())
    frames = [cell(2, 1, 1), acid(), cell(1, 1, 1)]
    batch = collate([build_graph(a, model.config.cutoff, ELEMENTS) for a in frames])
    expected = torch.cat([flow_of(model, a).centroid for a in frames])
    positions = np.concatenate([a.positions for a in frames])
    torch.testing.assert_close(flows(batch, torch.tensor(positions)).centroid, expected)
    positions[1] += 5 * frames[0].cell[1] - 2 * frames[0].cell[2]
    torch.testing.assert_close(flows(batch, torch.tensor(positions)).centroid, expected)
    assert (flow_of(model, Atoms("C")).centroid == 0).all()
    whole = build_graph(frames[0], model.config.cutoff, ELEMENTS)
    domain = Images(whole, torch.tensor(frames[0].positions)).graph
    with pytest.raises(ValueError, match="not of a domain"):
        flows(domain, torch.tensor(frames[0].positions))


def test_what_is_kept_follows_atoms_cells_and_weights():
    from cartalg.data.graphs import find_pairs, move_graph

    model, atoms = potential(), cell(2, 2, 1)
    flows, pairs = Flows(model), find_pairs(atoms, model.config.cutoff + 0.3)
    graph, bound = build_graph(atoms, model.config.cutoff, ELEMENTS, pairs=pairs), set()
    for step in range(4):
        atoms.rattle(0.01, rng=np.random.default_rng(step))
        atoms.set_cell(atoms.cell * (1 + 1e-4 * step), scale_atoms=True)
        moved = move_graph(graph, atoms, pairs)
        found = flows(moved, torch.tensor(atoms.positions))
        torch.testing.assert_close(found.centroid, flow_of(model, atoms).centroid, rtol=1e-10, atol=1e-11)
        bound.add(id(flows._bound))
    assert len(bound) == 1
    with torch.no_grad():
        model.embedding.mul_(1.5)
    found = flows(moved, torch.tensor(atoms.positions))
    torch.testing.assert_close(found.centroid, flow_of(model, atoms).centroid, rtol=1e-10, atol=1e-11)


def test_precision():
    single, atoms = potential(dtype="float32"), cell(3, 2, 1)
    exact = flow_of(potential(), atoms).centroid
    scale = exact.abs().max()
    assert 0 < (flow_of(single, atoms).centroid - exact).abs().max() < 1e-5 * scale
    doubled = flow_of(single, atoms, Flows(single, torch.float64)).centroid
    # the same weights, rounded once
    assert (doubled - exact).abs().max() < 1e-6 * scale
    assert single.dtype == torch.float32
