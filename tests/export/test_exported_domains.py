"""Domains whose ghosts belong to others: together they say what one says of the whole."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from cartalg.export.build import LIBRARY
from export.systems import arrays, structures

DONE, ORDER = 0, 12


class Domains:
    """Atoms shared out to domains, and the exchange between them: each in a thread, with a barrier for the network.

    Args:
        whole: Arguments of `Model.compute` for all atoms.
        home: Domain of each atom.
        count: Number of domains.
    """

    def __init__(self, whole, home, count):
        positions, types, first, neighbours, owners = whole
        atoms = len(first) - 1
        owner = np.array([*range(atoms), *owners])
        self.atoms = [np.flatnonzero(home == d) for d in range(count)]
        self.owner, self.given, self.shared, self.barrier = [], [], [None] * count, Barrier(count)
        for own in self.atoms:
            places, ghosts, lists, starts = {int(n): k for k, n in enumerate(own)}, [], [], [0]
            for n in own:
                for j in neighbours[first[n] : first[n + 1]]:
                    if j not in places:
                        places[j] = len(own) + len(ghosts)
                        ghosts.append(j)
                    lists.append(places[j])
                starts.append(len(lists))
            every = [*own, *ghosts]
            self.given.append((positions[every].reshape(-1, 3), np.array(types, dtype=int)[every], starts, lists))
            self.owner.append(owner[ghosts] if ghosts else np.empty(0, dtype=int))
        self.place = np.zeros(atoms, dtype=int)
        for own in self.atoms:
            self.place[own] = np.arange(len(own))
        self.home = home

    def _everyone(self, domain, rows):
        """What every domain has to say."""
        self.shared[domain] = rows.copy()
        self.barrier.wait(20)
        found = [*self.shared]
        self.barrier.wait(20)
        return found

    def to_ghosts(self, domain, rows):
        said, count = self._everyone(domain, rows), len(self.atoms[domain])
        for n, owner in enumerate(self.owner[domain]):
            rows[count + n] = said[self.home[owner]][self.place[owner]]

    def from_ghosts(self, domain, rows, into):
        for other, said in enumerate(self._everyone(domain, rows)):
            for n, owner in enumerate(self.owner[other]):
                if self.home[owner] == domain:
                    into[self.place[owner]] += said[len(self.atoms[other]) + n]

    def run(self, twins):
        def compute(d):
            def back(rows, into):
                self.from_ghosts(d, rows, into)

            found = twins[d].compute_domain(*self.given[d], lambda rows: self.to_ghosts(d, rows), back)
            self.from_ghosts(d, found["forces"], found["forces"][: len(self.atoms[d])])
            return found

        with ThreadPoolExecutor(len(twins)) as pool:
            return list(pool.map(compute, range(len(twins))))


SETTINGS = {
    "float64": {},
    "float32": {"dtype": "float32", "channels": 16},
    "three layers, gate, norm and repulsion": {"layers": 3, "gate": True, "norm": True, "zbl": True},
    "matrices of each element": {"residual": "matrices", "element_messages": 2, "edge_rank": 1},
    "a table for each pair": {"distance_transform": "agnesi", "density": True, "edge_rank": 1},
    "heads": {"properties": [{"name": "alpha", "tensor": "ij=ji"}]},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_domains_together_are_the_whole(exported, library, wrapper, settings):
    made = exported(**settings)
    twins = [wrapper.Model(made.file, library / LIBRARY) for _ in range(3)]
    rounding = 2e-5 if settings.get("dtype") == "float32" else 1e-12
    for name in ("molecule", "alloy", "slab"):
        atoms = structures()[name]
        whole = arrays(atoms, made.twin.elements, made.twin.cutoff + 0.3)
        expected = made.twin.compute(*whole)
        home = (atoms.positions[:, 0] > np.median(atoms.positions[:, 0])).astype(int)  # the third has no atoms
        domains = Domains(whole, home, 3)
        assert all(len(owner) for owner in domains.owner[:2])
        found = domains.run(twins)
        for key in ("energy", "virial"):
            total = sum(part[key] for part in found)
            np.testing.assert_allclose(total, expected[key], rtol=0, atol=rounding * max(1, np.abs(total).max()))
        for own, part in zip(domains.atoms, found, strict=True):
            for key in ("energies", "forces", *(p.name for p in made.model.config.properties)):
                scale = max(1, np.abs(expected[key]).max())
                np.testing.assert_allclose(part[key][: len(own)], expected[key][own], rtol=0, atol=rounding * scale)


def test_steps_out_of_order_are_refused(library):
    loaded, model, exchange = ctypes.CDLL(str(library / LIBRARY)), ctypes.c_void_p(), (ctypes.c_int64 * 4)()
    loaded.cartalg_message.restype = ctypes.c_char_p
    assert loaded.cartalg_create(str(library / "model.cartalg").encode(), ctypes.byref(model), None, 0) == 0
    assert loaded.cartalg_next(model, exchange) == ORDER
    assert loaded.cartalg_message(model) == b"cartalg_next comes after cartalg_begin"
    assert loaded.cartalg_end(model, *[None] * 4) == ORDER
    positions, types = (ctypes.c_double * 3)(), (ctypes.c_int32 * 1)()
    first = (ctypes.c_int64 * 2)()
    one, none = ctypes.c_int64(1), ctypes.c_int64(0)
    assert loaded.cartalg_begin(model, one, none, positions, types, first, None, 0) == 0
    assert loaded.cartalg_next(model, exchange) == 0
    assert loaded.cartalg_end(model, *[None] * 4) == ORDER
    assert b"when cartalg_next has nothing to exchange" in loaded.cartalg_message(model)
    while loaded.cartalg_next(model, exchange) == 0 and exchange[0] & 0xFFFFFFFF:
        pass
    assert loaded.cartalg_end(model, None, None, positions, None) == ORDER
    assert b"not asked for in cartalg_begin" in loaded.cartalg_message(model)
    assert loaded.cartalg_end(model, *[None] * 4) == DONE
    loaded.cartalg_free(model)
