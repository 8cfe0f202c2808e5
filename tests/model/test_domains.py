"""Domains: graphs whose senders are also copies of atoms, which an exchange brings features to."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import Queue

import numpy as np
import pytest
import torch
from ase.build import bulk

from architectures import ARCHITECTURES, SMALL
from cartalg.architecture import ModelConfig, TensorProperty
from cartalg.data.graphs import Graph, build_graph, find_pairs, species_index
from cartalg.model import Potential
from cartalg.ops import Edges

ELEMENTS = ("Cu", "Au")
PROPERTIES = (TensorProperty(name="alpha", tensor="ij=ji", per="atom"),)
EACH = [*ARCHITECTURES, "direct"]


class Images:
    """Copies of atoms of the same process: of atom `of[n]` in row `owned + n`."""

    def __init__(self):
        self.owned, self.of = 0, torch.zeros(0, dtype=torch.int64)

    def fill(self, rows):
        rows[self.owned : self.owned + len(self.of)] = rows[self.of]

    def collect(self, rows, into):
        into.index_add_(0, self.of, rows[self.owned : self.owned + len(self.of)])


class Domain:
    """One of two, each in a thread of its own: what the other needs is put into its queue."""

    def __init__(self, inbox, outbox):
        self.inbox, self.outbox = inbox, outbox
        self.owned, self.given, self.taken = 0, torch.zeros(0, dtype=torch.int64), 0

    def fill(self, rows):
        self.outbox.put(rows[self.given].clone())
        rows[self.owned : self.owned + self.taken] = self.inbox.get(timeout=20)

    def collect(self, rows, into):
        self.outbox.put(rows[self.owned : self.owned + self.taken].clone())
        into.index_add_(0, self.given, self.inbox.get(timeout=20))


def potential(name="default", **more):
    torch.manual_seed(0)
    settings = {"radial_mode": "direct"} if name == "direct" else ARCHITECTURES[name]
    settings = {**SMALL, "edge_rank": 2, **settings, "properties": PROPERTIES, **more}
    if settings.get("edge_rank", 2) < 2:
        settings["properties"] = ()
    return Potential(ModelConfig(**settings), ELEMENTS, torch.tensor([0.3, -0.2]), scale=0.2, mean_neighbours=10.0)


def crystal(seed=0):
    """As long as it is wide: all images are within reach, some of an atom itself."""
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.set_chemical_symbols(np.random.default_rng(0).choice(ELEMENTS, len(atoms)))
    atoms.rattle(0.1, seed=seed)
    return atoms


def with_images(atoms, exchange):
    """The graph of a whole system whose periodic images are copies."""
    pairs = find_pairs(atoms, SMALL["cutoff"])
    inside = ~pairs.shifts.any(1)
    keys, row = np.unique(np.column_stack([pairs.sender, pairs.shifts])[~inside], axis=0, return_inverse=True)
    sender = pairs.sender.copy()
    sender[~inside] = len(atoms) + row.ravel()
    exchange.owned, exchange.of = len(atoms), torch.from_numpy(keys[:, 0].copy())
    return domain(atoms, pairs, sender, pairs.receiver, np.r_[: len(atoms), keys[:, 0]], exchange)


def of_one(atoms, mine, exchange):
    """The graph of some atoms, `mine` of each; others that they have for neighbours are copies."""
    pairs = find_pairs(atoms, SMALL["cutoff"])
    kept = mine[pairs.receiver]
    pairs = replace(pairs, receiver=pairs.receiver[kept], sender=pairs.sender[kept], image=pairs.image[kept])
    of = np.r_[np.flatnonzero(mine), np.setdiff1d(pairs.sender, np.flatnonzero(mine))]
    row = np.zeros(len(atoms), dtype=np.int64)
    row[of] = np.arange(len(of))
    exchange.owned, exchange.taken = int(mine.sum()), len(of) - int(mine.sum())
    return domain(atoms, pairs, row[pairs.sender], row[pairs.receiver], of, exchange), of


def domain(atoms, pairs, sender, receiver, of, exchange):
    edges = Edges.build(torch.from_numpy(sender), torch.from_numpy(receiver), len(of), exchange.owned, exchange)
    species = torch.from_numpy(species_index(atoms, ELEMENTS)[of])
    frame = torch.zeros(exchange.owned, dtype=torch.int64)
    volume = torch.tensor([atoms.get_volume()], dtype=torch.float64)
    return Graph(species, torch.from_numpy(pairs.vectors(atoms)), edges, frame, 1, volume)


def assert_agree(found, reference, atoms=slice(None)):
    for name in ("energy", "virial"):
        torch.testing.assert_close(getattr(found, name), getattr(reference, name), rtol=1e-11, atol=1e-11)
    assert_same_atoms(found, reference, atoms)


def assert_same_atoms(found, reference, atoms):
    for one, other in [
        (found.atomic_energies, reference.atomic_energies),
        (found.forces, reference.forces),
        *((value, reference.properties[name]) for name, value in found.properties.items()),
    ]:
        torch.testing.assert_close(one.detach(), other.detach()[atoms], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", EACH)
def test_copies_are_as_good_as_atoms(name):
    """Through the engine, which binds once, and through autograd; while the number of copies changes."""
    model, exchange, counts, bounds = potential(name), Images(), set(), []
    for seed in range(3):
        atoms = crystal(seed)
        graph = with_images(atoms, exchange)
        counts.add(graph.edges.senders)
        reference = potential(name)(build_graph(atoms, SMALL["cutoff"], ELEMENTS), virial=True, properties=True)
        assert_agree(model(graph, virial=True, properties=True), reference)
        bounds.append(model._engine._bound)
        model._learner, learner = None, model._learner
        assert_agree(model(graph, virial=True, properties=True, training=True), reference)
        model._learner = learner
    assert len(counts) > 1
    assert bounds[0] is bounds[1] is bounds[2]


def test_a_hessian_goes_through_copies():
    model, atoms = potential(edge_rank=1, correlation=2), crystal()
    expected = model.hessian(build_graph(atoms, SMALL["cutoff"], ELEMENTS))
    torch.testing.assert_close(model.hessian(with_images(atoms, Images())), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("chunk", [None, 7, 16])  # of 16, at times of one of the two alone
@pytest.mark.parametrize("name", ["default", "element messages, three layers", "two-body, with repulsion"])
def test_two_domains_are_one_system(name, chunk):
    """Atoms go from one domain to the other, which binds nothing anew for that; at last one of them is left empty."""
    models = [potential(name), potential(name)]
    for model in models:
        model.chunk = chunk
    whole, boxes = potential(name), [Queue(), Queue()]
    exchanges = [Domain(boxes[n], boxes[1 - n]) for n in range(2)]
    bounds = [[], []]
    with ThreadPoolExecutor(2) as pool:
        for step, border in enumerate((0.5, 0.55, 0.45, 0.5, 1.5)):
            atoms = crystal(step).repeat((2, 1, 1))
            left = atoms.get_scaled_positions(wrap=False)[:, 0] < border
            parts = [of_one(atoms, mine, e) for mine, e in zip((left, ~left), exchanges, strict=True)]
            for n in range(2):
                given = parts[1 - n][1][exchanges[1 - n].owned :]  # what the other has copies of
                exchanges[n].given = torch.from_numpy(np.searchsorted(np.flatnonzero((left, ~left)[n]), given))
            run = lambda pair: pair[0](pair[1][0], virial=True, properties=True)  # noqa: E731
            found = list(pool.map(run, zip(models, parts, strict=True)))
            reference = whole(build_graph(atoms, SMALL["cutoff"], ELEMENTS), virial=True, properties=True)
            for name in ("energy", "virial"):
                total = sum(getattr(f, name) for f in found)
                torch.testing.assert_close(total, getattr(reference, name), rtol=1e-11, atol=1e-11)
            for f, mine in zip(found, (left, ~left), strict=True):
                assert_same_atoms(f, reference, torch.from_numpy(mine))
            for known, model in zip(bounds, models, strict=True):
                known.append(model._engine._bound)
    for known in bounds if chunk is None else ():
        assert len(set(map(id, known[:4]))) < 4  # there is room
