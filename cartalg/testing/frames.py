"""Frames to test potentials on, of any elements, and what is done to them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from cartalg.testing.equivariance import Turn

Array = np.ndarray[Any, Any]


def cluster(elements: Sequence[str], count: int = 6, seed: int = 0) -> Atoms:
    """Atoms in the open, each bonded to another one, none closer to another than 0.8 of the sum of their radii."""
    random = np.random.default_rng(seed)
    symbols = [elements[n % len(elements)] for n in range(count)]
    atoms = Atoms(symbols[:1], [[0, 0, 0]])
    while len(atoms) < count:
        new = Atoms(symbols[len(atoms) : len(atoms) + 1])
        bonded = random.integers(len(atoms))
        direction = random.standard_normal(3)
        length = 1.1 * (_radius(new)[0] + _radius(atoms)[bonded])
        new.positions[0] = atoms.positions[bonded] + length * direction / np.linalg.norm(direction)
        trial = atoms + new
        if _apart(trial):
            atoms = trial
    return atoms


def crystal(elements: Sequence[str], count: int = 4, seed: int = 0) -> Atoms:
    """Atoms in a small triclinic cell, in no order, none close to another or to an image."""
    random = np.random.default_rng(seed)
    symbols = [elements[n % len(elements)] for n in range(count)]
    size = 2.4 * float(np.cbrt((_radius(Atoms(symbols)) ** 3).sum()))
    shape = np.eye(3) + 0.15 * random.uniform(-1, 1, (3, 3))
    while True:
        atoms = Atoms(symbols, scaled_positions=random.random((count, 3)), cell=size * shape, pbc=True)
        if _apart(atoms * (2, 2, 2)):
            return atoms
        size *= 1.003


def _radius(atoms: Atoms) -> Array:
    return np.asarray(covalent_radii[atoms.numbers])


def _apart(atoms: Atoms) -> bool:
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any())) + 99 * np.eye(len(atoms))
    return bool((distances > 0.8 * np.add.outer(_radius(atoms), _radius(atoms))).all())


def turned(atoms: Atoms, turn: Turn) -> Atoms:
    """A frame after a rotation or reflection about the origin, cell included."""
    matrix, found = turn.matrix().astype(float), atoms.copy()
    found.set_cell(atoms.cell.array @ matrix.T)
    found.positions = atoms.positions @ matrix.T
    return found


def moved(atoms: Atoms, displacement: Array) -> Atoms:
    """A frame with its atoms displaced, all alike ([3]) or each ([atoms, 3]), and not wrapped."""
    found = atoms.copy()
    found.positions = atoms.positions + displacement
    return found


def strained(atoms: Atoms, strain: Array) -> Atoms:
    """A frame and its cell after a strain [3, 3]."""
    found = atoms.copy()
    found.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return found
