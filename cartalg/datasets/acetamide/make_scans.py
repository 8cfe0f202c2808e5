"""Make scans of acetamide, labelled as the frames of the data set are: what a potential says along known coordinates.

The molecule at its PBE/def2-SVP minimum; groups turned about the C-N and the C-C bond, bonds stretched and pressed, all
else rigid. No frame of them is for training.

    pip install pyscf==2.14.0 ase==3.29.0
    python make_scans.py --out scans.xyz       # about ten minutes on one core; resumes where it stopped
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS
from labels import label

#: (name, the four atoms of the angle, atoms that turn, angles in degrees).
TORSIONS = (
    ("torsion C-N", "OCNH", range(0, 181, 10)),
    ("torsion C-C", "OCCH", range(0, 120, 15)),
)
#: (name, fixed and moved atom, lengths over the length at the minimum).
WIDE = (*np.arange(0.8, 0.99, 0.05), *np.arange(1.05, 1.51, 0.05))
BONDS = (
    ("bond C=O", "CO", WIDE),
    ("bond C-N", "CN", WIDE),
    ("bond C-C", "CC", WIDE[:7]),
    ("bond N-H", "NH", (1.2, 0.9, 1.3, 1.1, 1.5)),
)


class PBE(Calculator):  # type: ignore[misc]
    """The labels, for a relaxation."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms: Atoms, properties: list[str], changes: list[str] = all_changes) -> None:
        """As ASE asks for it."""
        super().calculate(atoms, properties, changes)
        labelled = label(Atoms(atoms.symbols, atoms.positions))
        self.results = {"energy": labelled.info["REF_energy"], "forces": labelled.arrays["REF_forces"]}


def minimum() -> Atoms:
    """The molecule at its minimum."""
    atoms = molecule("CH3CONH2")
    atoms.calc = PBE()
    BFGS(atoms).run(fmax=0.03)
    return Atoms(atoms.symbols, atoms.positions)


def bonded(atoms: Atoms, start: int) -> list[int]:
    """Neighbours of an atom."""
    near = atoms.get_distances(start, range(len(atoms)))
    reach = [1.2 if "H" in (atoms.symbols[start], s) else 1.7 for s in atoms.symbols]
    return [n for n, r in enumerate(near) if n != start and r < reach[n]]


def side(atoms: Atoms, fixed: int, start: int) -> list[int]:
    """Atoms on the far side of the bond from `fixed` to `start`."""
    found = [start]
    for at in found:
        found += [n for n in bonded(atoms, at) if n != fixed and n not in found]
    return found


def chain(atoms: Atoms, symbols: str) -> list[int]:
    """The first atoms of these symbols, each bonded to the one before."""
    chains = [[n] for n, s in enumerate(atoms.symbols) if s == symbols[0]]
    for symbol in symbols[1:]:
        chains = [[*c, n] for c in chains for n in bonded(atoms, c[-1]) if n not in c and atoms.symbols[n] == symbol]
    return chains[0]


def scans(atoms: Atoms) -> Iterator[Atoms]:
    """All frames, each with the scan's name and the coordinate in degrees or angstrom; the minimum first."""
    first = atoms.copy()
    first.info |= {"scan": "minimum", "coordinate": 0.0}
    yield first
    for name, symbols, turns in TORSIONS:
        a, b, c, d = chain(atoms, symbols)
        start, moved = atoms.get_dihedral(a, b, c, d), side(atoms, b, c)
        for turn in turns[1:]:
            frame = atoms.copy()
            frame.set_dihedral(a, b, c, d, start + turn, indices=moved)
            frame.info |= {"scan": name, "coordinate": float(turn)}
            yield frame
    for name, symbols, lengths in BONDS:
        fixed, start = chain(atoms, symbols)
        moved = side(atoms, fixed, start)
        for length in lengths:
            frame = atoms.copy()
            bond = atoms.positions[start] - atoms.positions[fixed]
            frame.positions[moved] += (length - 1) * bond
            frame.info |= {"scan": name, "coordinate": round(float(length * np.linalg.norm(bond)), 4)}
            yield frame


def main() -> None:
    """Relax, scan, label, write; frames already in the output file are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("scans.xyz"))
    out = parser.parse_args().out
    done = ase.io.read(out, ":") if out.exists() else []
    frames = list(scans(Atoms(done[0].symbols, done[0].positions) if done else minimum()))
    for number, frame in enumerate(frames[len(done) :], start=len(done)):
        ase.io.write(out, label(frame), append=True)
        print(f"{number + 1}/{len(frames)}", flush=True)


if __name__ == "__main__":
    main()
