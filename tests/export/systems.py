"""Small models, and structures as an engine gives them: atoms, ghosts with their owners, and full neighbour lists."""

import numpy as np
import torch
from ase.build import bulk, fcc111, molecule

from architectures import SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.graphs import find_pairs
from cartalg.model import Potential


def potential(**settings):
    """A small model with random weights."""
    torch.manual_seed(3)
    shifts = torch.tensor([-1.0, 2.0, 0.5, 3.0])
    config = ModelConfig(**{**SMALL, **settings})
    return Potential(config, ("H", "C", "O", "Cu"), shifts, scale=1.3, mean_neighbours=9.0)


def arrays(atoms, elements, reach):
    """Arguments of `Model.compute`, neighbours out to `reach`; every image that is one is a ghost."""
    pairs, owners, positions, ghosts, neighbours = find_pairs(atoms, reach), [], [*atoms.positions], {}, []
    for sender, shift in zip(pairs.sender.tolist(), pairs.shifts.tolist(), strict=True):
        place = sender
        if any(shift):
            place = ghosts.setdefault((sender, *shift), len(atoms) + len(ghosts))
            if place == len(positions):
                owners.append(sender)
                positions.append(atoms.positions[sender] + shift @ atoms.cell.array)
        neighbours.append(place)
    types = [elements.index(symbol) for symbol in atoms.get_chemical_symbols()]
    first = np.searchsorted(pairs.receiver, np.arange(len(atoms) + 1))
    return np.array(positions), types + [types[n] for n in owners], first, neighbours, owners


def alloy():
    atoms = bulk("Cu", cubic=True) * (2, 2, 1)
    atoms.symbols[::3] = "O"
    return atoms


def structures():
    """A molecule, an alloy, a slab, an atom whose neighbours are all itself, and one without neighbours."""
    found = {"molecule": molecule("CH3COOH"), "alloy": alloy(), "slab": fcc111("Cu", (2, 2, 2), vacuum=6.0)}
    found |= {"one atom": bulk("Cu"), "alone": molecule("O")}
    for n, atoms in enumerate(found.values()):
        atoms.rattle(0.05, rng=np.random.default_rng(n))
    return found
