"""The engine computes what autograd computes, notices every change, and shares nothing with what it returned."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from architectures import ARCHITECTURES, SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph, collate
from cartalg.model import Potential

ELEMENTS = ("H", "C", "O", "Cu")


def crystal(seed=0):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    return atoms


def acid(seed=0):
    atoms = molecule("CH3COOH")
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    return atoms


def potential(seed=0, **settings):
    torch.manual_seed(seed)
    config = ModelConfig(**{"dtype": "float64", "channels": 8, **settings})
    return Potential(config, ELEMENTS, mean_neighbours=15.0, scale=1.7)


def graph(model, *frames):
    return collate([build_graph(a, 4.0, model.elements) for a in frames])


#: Beyond what the potential's own contract is tested on: widths that fill lanes and that do not, heads, direct weights.
MORE = {
    "five channels": {"channels": 5, "layers": 1},
    "wide": {"channels": 16, "hidden_rank": 2, "layers": 3},
    "three gated layers": {"channels": 8, "layers": 3, "gate": True, "norm": True, "zbl": True},
    "gates of scalars alone": {"hidden_rank": 0, "edge_rank": 1, "gate": True, "norm": True},
    "heads": {"channels": 8, "properties": [{"name": "mu", "tensor": "i"}, {"name": "alpha", "tensor": "ij=ji"}]},
    "heads of atoms, gated": {
        "gate": True,
        "edge_rank": 3,
        "correlation": 2,
        "properties": [{"name": "alpha", "tensor": "ij=ji", "per": "atom"}],
    },
    "direct radial weights": {"radial_mode": "direct", "zbl": True},
}


def assert_agree(ours, reference, tolerance=1e-11):
    for name in ("energy", "atomic_energies", "forces", "virial"):
        found, expected = getattr(ours, name).detach(), getattr(reference, name).detach()
        torch.testing.assert_close(
            found, expected, rtol=tolerance, atol=tolerance * max(1, float(expected.abs().max()))
        )
    assert ours.properties.keys() == reference.properties.keys()
    for name, tensor in ours.properties.items():
        assert float(tensor.detach().abs().max()) > 0
        torch.testing.assert_close(tensor.detach(), reference.properties[name].detach(), rtol=tolerance, atol=tolerance)


def by_autograd(model, batch, **asked):
    """What autograd makes of the same layers, all the way down."""
    learner, model._learner = model._learner, None
    try:
        return model(batch, training=True, **asked)
    finally:
        model._learner = learner


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MORE])
def test_engine_and_autograd_agree(name, monkeypatch):
    model = potential(**{**SMALL, **{**ARCHITECTURES, **MORE}[name]})
    with torch.no_grad():
        for parameter in model.parameters():  # also those that start as ones or zeros
            parameter += 0.1 * torch.randn_like(parameter)
    batch = graph(model, acid(), crystal(), acid(1))
    reference = by_autograd(model, batch, virial=True, properties=True)
    if model.config.radial_mode == "table":  # then nothing is left to autograd
        monkeypatch.setattr(torch.autograd, "grad", None)
    assert_agree(model(batch, virial=True, properties=True), reference)
    assert_agree(model(batch, virial=True, properties=True), reference)  # a run leaves nothing behind
    alone = model(batch, forces=False)
    assert (alone.forces, alone.virial, alone.properties) == (None, None, {})
    torch.testing.assert_close(alone.energy, reference.energy.detach(), rtol=1e-12, atol=1e-12)


def test_a_change_of_weights_graph_or_threads_is_noticed():
    model, other = potential(), potential(1)
    batch, single = graph(model, acid(), acid(1)), graph(model, crystal())
    first = model(batch)
    kept = first.forces.clone()
    torch.testing.assert_close(model(single).forces, by_autograd(model, single).forces.detach())
    assert torch.equal(first.forces, kept)  # what was returned is the caller's
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(batch).forces, other(batch).forces)
    energy = model(batch).energy
    model.shifts += 1.0
    torch.testing.assert_close(model(batch).energy, energy + torch.tensor([8.0, 8.0], dtype=torch.float64))
    with torch.no_grad():
        model.interactions[0].convolution.radial.last.mul_(2)
    torch.testing.assert_close(model(batch).forces, by_autograd(model, batch).forces.detach())
    model.embedding = torch.nn.Parameter(torch.ones_like(model.embedding))
    torch.testing.assert_close(model(batch).forces, by_autograd(model, batch).forces.detach())
    before, reference = torch.get_num_threads(), model(single)
    try:
        torch.set_num_threads(3)
        torch.testing.assert_close(model(single).forces, reference.forces, rtol=1e-12, atol=1e-12)
    finally:
        torch.set_num_threads(before)


def test_a_copy_has_an_engine_of_its_own():
    model = potential()
    batch = graph(model, acid())
    first = model(batch).forces
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.embedding.mul_(3)
    torch.testing.assert_close(twin(batch).forces, by_autograd(twin, batch).forces.detach())
    torch.testing.assert_close(model(batch).forces, first)


def test_two_models_in_two_python_threads():
    models = [potential(seed) for seed in (0, 1)]
    batches = [graph(m, crystal(seed)) for seed, m in enumerate(models)]
    expected = [m(b).forces for m, b in zip(models, batches, strict=True)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            results = pool.map(lambda pair: pair[0](pair[1]).forces, zip(models, batches, strict=True))
            for found, reference in zip(results, expected, strict=True):
                torch.testing.assert_close(found, reference)


def test_forces_are_the_exact_derivative_of_the_engines_energy():
    model = potential(hidden_rank=2, edge_rank=3, channels=4)
    atoms = acid()
    random, step = np.random.default_rng(0), 1e-4
    direction = random.standard_normal(atoms.positions.shape)

    def energy(t):
        moved = atoms.copy()
        moved.positions += t * direction
        return float(model(graph(model, moved)).energy[0])

    # fourth order differences: error of order step^4 and of rounding / step
    slope = (8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12 * step)
    forces = model(graph(model, atoms)).forces.numpy()
    assert slope == pytest.approx(-(forces * direction).sum(), rel=1e-8)


@pytest.mark.parametrize("settings", [{"channels": 32}, {"channels": 16, "hidden_rank": 2, "edge_rank": 3}], ids=str)
def test_single_precision_is_enough(settings):
    double, single = potential(**settings), potential(**settings, dtype="float32")
    single.load_state_dict(double.state_dict())
    batch = graph(double, acid(), crystal())
    reference, ours = double(batch), single(batch)
    assert float((ours.forces - reference.forces).norm() / reference.forces.norm()) < 5e-5


def test_a_graph_without_edges():
    model = potential()
    lone = molecule("H2O")
    lone.positions *= 100
    prediction = model(graph(model, lone), virial=True)
    assert torch.isfinite(prediction.energy).all()
    assert (prediction.forces == 0).all()


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MORE])
def test_other_neighbours_of_the_same_atoms_bind_nothing_anew(name):
    model, atoms = potential(**{**SMALL, **{**ARCHITECTURES, **MORE}[name]}), crystal()
    model(graph(model, atoms))
    bound, counts = model._engine._bound, set()
    for seed in range(6):
        moved = atoms.copy()
        moved.rattle(0.2 if seed else 0.0, seed=seed)
        batch = graph(model, moved)
        counts.add(len(batch.vectors))
        assert_agree(model(batch, virial=True), by_autograd(model, batch, virial=True))
    assert len(counts) > 2
    assert model._engine._bound is bound


def test_more_neighbours_than_there_is_room_for():
    model, atoms = potential(), crystal()
    model(graph(model, atoms))
    atoms.set_cell(0.85 * atoms.cell.array, scale_atoms=True)
    batch = graph(model, atoms)
    assert_agree(model(batch, virial=True), by_autograd(model, batch, virial=True))


def test_other_atoms_at_the_same_edges_are_noticed():
    model = potential(**SMALL)
    batch = graph(model, acid())
    model(batch)
    swapped = replace(batch, species=batch.species.flip(0))
    assert_agree(model(swapped, virial=True), by_autograd(model, swapped, virial=True))


def test_vectors_of_another_precision_are_bound_anew():
    model = potential(**SMALL)
    batch = graph(model, acid())
    model(replace(batch, vectors=batch.vectors.float()))
    assert_agree(model(batch, virial=True), by_autograd(model, batch, virial=True))


def test_inference_mode_leaves_an_engine_that_works_outside():
    model = potential(**SMALL, zbl=True)
    with torch.inference_mode():
        batch = graph(model, acid())
        inside = model(batch)
    other = graph(model, acid(1))
    reference = by_autograd(model, other, virial=True)
    assert_agree(model(other, virial=True), reference)
    assert torch.equal(model(batch).forces, inside.forces)


def test_one_model_in_two_python_threads():
    model = potential(channels=16)
    batches = [graph(model, crystal()), graph(model, crystal(1), crystal(2))]
    expected = [model(b) for b in batches]

    def repeat(n):
        found = [model(batches[n]) for _ in range(60)]
        return all(torch.equal(f.forces, expected[n].forces) for f in found)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(repeat, range(2))) == [True, True]
    assert torch.equal(pickle.loads(pickle.dumps(model))(batches[0]).forces, expected[0].forces)
