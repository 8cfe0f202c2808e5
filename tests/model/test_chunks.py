"""Atoms in chunks: the same results as all at once, whatever the chunks."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from test_domains import ELEMENTS, assert_agree, potential

from architectures import ARCHITECTURES, SMALL
from cartalg.chunks import Chunks, chunks
from cartalg.data.graphs import build_graph, collate


def crystal(seed=0, size=(3, 2, 2)):
    atoms = bulk("Cu", cubic=True).repeat(size)
    atoms.set_chemical_symbols(np.random.default_rng(1).choice(ELEMENTS, len(atoms)))
    atoms.rattle(0.1, seed=seed)
    return atoms


def graph(*frames):
    return collate([build_graph(a, SMALL["cutoff"], ELEMENTS) for a in frames])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_chunks_change_nothing(name):
    model, reference, bound = potential(name), potential(name), []
    model.chunk = 20
    for seed in range(3):
        batch = graph(crystal(seed))
        expected = reference(batch, virial=True, properties=True)
        for _ in range(2):
            assert_agree(model(batch, virial=True, properties=True), expected)
        alone = model(batch, forces=False)
        assert (alone.forces, alone.properties) == (None, {})
        torch.testing.assert_close(alone.energy, expected.energy, rtol=1e-12, atol=1e-12)
        bound.append(model._engine._bound)
    assert isinstance(model._engine, Chunks)
    assert bound[0] is bound[1] is bound[2]


@pytest.mark.parametrize("size", [1, 7, 47])
def test_any_size_will_do(size):
    model, batch = potential("three layers"), graph(crystal(), crystal(1, (1, 1, 1)))
    expected = potential("three layers")(batch, virial=True)
    model.chunk = size
    assert_agree(model(batch, virial=True), expected)
    model.chunk = None
    assert_agree(model(batch, virial=True), expected)
    assert not isinstance(model._engine, Chunks)


def test_other_species_other_weights_and_more_neighbours_are_noticed():
    model, reference = potential(), potential()
    model.chunk = 16
    batch = graph(crystal())
    model(batch)
    swapped = crystal()
    swapped.symbols[:] = np.roll(swapped.symbols, 1)
    denser = crystal()
    denser.set_cell(0.85 * denser.cell.array, scale_atoms=True)
    for atoms in (swapped, denser, crystal(0, (2, 2, 2))):
        assert_agree(model(graph(atoms), virial=True), reference(graph(atoms), virial=True))
    with torch.no_grad():
        for of in (model, reference):
            of.embedding.mul_(2)
    assert_agree(model(batch, virial=True), reference(batch, virial=True))


def test_threads_change_nothing():
    model, batch, before = potential(), graph(crystal(0, (4, 4, 4))), torch.get_num_threads()
    model.chunk = 100
    expected = model(batch, virial=True)
    try:
        torch.set_num_threads(2)
        assert_agree(model(batch, virial=True), expected)
    finally:
        torch.set_num_threads(before)


def test_chunks_have_all_edges_once():
    batch = graph(crystal())
    parts = list(chunks(batch, 10))
    assert [p.atoms.start for p in parts[1:]] == [p.atoms.stop for p in parts[:-1]]
    sender = torch.cat([p.senders[p.graph.edges.sender] for p in parts])
    assert torch.equal(sender, batch.edges.sender)
    assert max(p.graph.edges.receivers for p in parts) <= 10
