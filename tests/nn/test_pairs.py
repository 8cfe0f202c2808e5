"""Tables of pairs of elements: which there are, and that they follow atoms that change in place."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.data import atomic_numbers, covalent_radii

from architectures import SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph, collate
from cartalg.inference import roomy, settle
from cartalg.model import Potential
from cartalg.nn.pairs import ElementPairs
from cartalg.nn.radial import RadialWeights

ELEMENTS = ("H", "C", "O", "Cu", "Au")


def graph(*frames):
    return collate([build_graph(atoms, 3.5, ELEMENTS) for atoms in frames])


def alloy(symbols="CuAu", seed=0):
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[:] = (symbols[:2], symbols[2:] or symbols[:2]) * 4
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    return atoms


def assert_fits(tables, of):
    """Each edge's table has the radii of the two elements, and no pair has two tables."""
    radii = [covalent_radii[atomic_numbers[e]] for e in ELEMENTS]
    wanted = [
        radii[of.species[i]] + radii[of.species[j]] for i, j in zip(of.edges.receiver, of.edges.sender, strict=True)
    ]
    count = len(wanted)
    assert tables.of_edges[:count].tolist() == pytest.approx(wanted)
    pairs = {
        tuple(sorted((int(of.species[i]), int(of.species[j])))): int(b)
        for i, j, b in zip(of.edges.receiver, of.edges.sender, tables.block, strict=False)
    }
    assert len(set(pairs.values())) == len(pairs)


def test_pairs_are_those_of_each_frame():
    of = graph(molecule("CH3OH"), alloy())
    present = ElementPairs(ELEMENTS).present(of)
    names = {"".join(sorted((ELEMENTS[i], ELEMENTS[j]))) for i, j in present.nonzero().tolist()}
    assert names == {"HH", "CH", "HO", "CC", "CO", "OO", "CuCu", "AuCu", "AuAu"}
    assert ElementPairs(ELEMENTS).room(of) == 9
    assert_fits(ElementPairs(ELEMENTS).of(of), of)


def test_tables_follow_atoms_and_edges_that_change_in_place():
    pairs, frames = (
        ElementPairs(ELEMENTS),
        [[molecule("CH3OH"), alloy()], [alloy("Cu"), alloy("AuH", 1)], [alloy("AuC", 2)]],
    )
    graphs = [graph(*f) for f in frames]
    own = roomy(graphs[0], 40, 40, 2000)
    tables = pairs.of(own)
    for of in (graphs[0], graphs[1], graphs[2], graphs[0]):
        settle(own, of)
        tables.update()
        assert pairs.room(own) == pairs.room(of)  # what there is room for adds no pair
        assert_fits(tables, of)


def test_room_grows_by_steps():
    def room(count):
        pairs = ElementPairs(ELEMENTS)
        pairs.present = lambda graph: torch.eye(count) > 0
        return pairs.room(None)

    assert [room(n) for n in (0, 1, 9, 15, 16, 17, 31, 33, 100)] == [1, 1, 9, 15, 16, 18, 32, 36, 104]


CHANGES = {"layers": 2, "edge_rank": 1, "correlation": 2, "distance_transform": "agnesi", "density": True}


def potential(backend="auto", **changes):
    torch.manual_seed(0)
    return Potential(ModelConfig(**{**SMALL, **CHANGES, **changes}), ELEMENTS, mean_neighbours=8.0, backend=backend)


def assert_same(ours, reference):
    torch.testing.assert_close(ours.energy, reference.energy.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.forces, reference.forces.detach(), rtol=1e-9, atol=1e-9)


def test_one_engine_for_frames_of_any_elements():
    """Species, frames and neighbours change in place; more pairs than there is room for are bound anew."""
    model, reference = potential(), potential("torch")
    same = [alloy("CuAu"), alloy("AuCu")]
    batches = [[alloy("Cu")], [alloy("Au")], [alloy("AuCu")], [alloy("CuC"), alloy("AuH")], same, [same[1], same[0]]]
    bound = []
    for frames in batches:
        of = graph(*frames)
        assert_same(model(of), reference(of))
        bound.append(model._engine._bound)
    assert bound[0] is bound[1]
    assert bound[1] is not bound[2]


def test_the_same_species_in_other_frames_have_other_pairs():
    model, one = potential(), alloy("CuAu")[:2]
    one.positions[1] = one.positions[0] + [2.2, 0, 0]
    two = [one[:1], one[1:]]
    for atoms in (one, *two):
        atoms.pbc, atoms.cell = False, None
    together, apart = graph(one), graph(*two)
    assert torch.equal(together.species, apart.species)
    energies = [float(model(of).energy.sum()) for of in (together, apart, together)]
    assert energies[0] == energies[2]
    fresh = [float(potential()(of).energy.sum()) for of in (together, apart)]
    assert energies[:2] == pytest.approx(fresh, abs=1e-12)


def test_training_on_batches_of_other_elements():
    model, other = potential(), potential()
    other._learner = None  # autograd
    for frames in ([alloy("CuAu")], [molecule("CH3OH"), alloy("Cu")], [alloy("AuC")], [alloy("CuAu", 3)]):
        found = []
        for m in (model, other):
            p = m(graph(*frames), training=True)
            ((p.forces**2).sum() + p.energy.sum()).backward()
            found.append([parameter.grad.clone() for parameter in m.parameters()])
            m.zero_grad(set_to_none=False)
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
    assert model._learner is not None


@pytest.mark.parametrize("direct", [False, True])
def test_an_atom_without_neighbours(direct):
    model = potential(radial_mode="direct" if direct else "table")
    atoms = molecule("CH3OH")[:1]
    answer = model(graph(atoms), virial=True)
    assert torch.isfinite(answer.energy).all()
    assert answer.forces.abs().max() == 0


def test_tables_are_made_anew_when_pairs_or_weights_are_others(monkeypatch):
    """Not when atoms of the same elements stand in another order."""
    model, made = potential(), []
    before = RadialWeights.table
    monkeypatch.setattr(RadialWeights, "table", lambda self, pairs=None: made.append(0) or before(self, pairs))

    def layers(*frames):
        made.clear()
        found = model(graph(*frames))
        count = len(made) / len(model.interactions)
        assert_same(found, potential("torch")(graph(*frames)))
        made.clear()
        return count

    first = layers(alloy("CuAu"))
    assert first >= 1
    assert layers(alloy("AuCu")) == 0
    assert layers(alloy("CuC")) == 1
    with torch.no_grad():
        model.interactions[0].convolution.radial.last *= 2
    made.clear()
    model(graph(alloy("CuC")))
    assert len(made) >= 1
