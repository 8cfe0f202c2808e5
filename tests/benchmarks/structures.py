"""The structures that are timed, from the shared data beside the checkout."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def alloy() -> list[Atoms]:
    """250 atoms: the first frame of two atoms of the Mo-Nb-Ta-W data, repeated, with mixed elements, displaced."""
    frames = read(DATA / "monbtaw" / "train.xyz", ":")
    cell = next(a for a in frames if len(a) == 2).repeat(5)
    random = np.random.default_rng(0)
    cell.set_chemical_symbols(list(random.choice(["Mo", "Nb", "Ta", "W"], len(cell))))
    cell.rattle(0.05, rng=random)
    return [cell]


def acetylacetone(count: int) -> list[Atoms]:
    """Molecules of 15 atoms."""
    return read(DATA / "acetylacetone" / "train_300K.xyz", f":{count}")


def bpa(count: int) -> list[Atoms]:
    """Molecules of 27 atoms."""
    return read(DATA / "3bpa" / "train_300K.xyz", f":{count}")


def salt() -> list[Atoms]:
    """64 atoms of rock salt, a quarter of them another metal, displaced."""
    random = np.random.default_rng(0)
    cell = bulk("NaCl", "rocksalt", a=5.0, cubic=True) * (2, 2, 2)
    cell.symbols[random.permutation(len(cell))[: len(cell) // 4]] = "K"
    cell.rattle(0.05, rng=random)
    return [cell]
