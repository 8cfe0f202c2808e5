"""Make the acetamide data set: frames from GFN2-xTB dynamics, labelled with DFT.

Langevin dynamics of one acetamide molecule (CH3-CO-NH2, 9 atoms) at 300, 500, 700 and 1000 K with GFN2-xTB (tblite)
gives the geometries; PySCF labels each of them with PBE/def2-SVP (density fitting, fine grid, tight convergence).
Energies are in eV, forces in eV/A, dipoles in e*A.

    pip install pyscf==2.14.0 tblite==0.8.0 ase==3.29.0
    python make_acetamide.py --out acetamide.xyz       # about one hour on one core; resumes where it stopped

The split files hold frame numbers: every temperature appears in each split in the same proportion.
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from labels import label
from tblite.ase import TBLite

TEMPERATURES = (300, 500, 700, 1000)
FRAMES_EACH = 125
STEP_FS, STEPS_BETWEEN, STEPS_BEFORE = 0.5, 100, 1000


def acetamide() -> Atoms:
    """The molecule, relaxed with GFN2-xTB."""
    atoms = molecule("CH3CONH2")
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=0.01)
    return atoms


def sample(temperature: float, seed: int) -> list[Atoms]:
    """Geometries from Langevin dynamics, one every 50 fs after 0.5 ps of equilibration."""
    rng = np.random.default_rng(seed)
    atoms = acetamide()
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(atoms, STEP_FS * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng)
    dynamics.run(STEPS_BEFORE)
    frames = []
    for _ in range(FRAMES_EACH):
        dynamics.run(STEPS_BETWEEN)
        frame = Atoms(atoms.symbols, atoms.positions - atoms.get_center_of_mass())
        frame.info["temperature_K"] = temperature
        frames.append(frame)
    return frames


def main() -> None:
    """Sample, label, write; frames already in the output file are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("acetamide.xyz"))
    out = parser.parse_args().out
    done = len(ase.io.read(out, ":")) if out.exists() else 0
    sampled = [sample(t, seed) for seed, t in enumerate(TEMPERATURES)]
    frames = [frames[i] for i in range(FRAMES_EACH) for frames in sampled]
    for number, frame in enumerate(frames[done:], start=done):
        ase.io.write(out, label(frame), append=True)
        print(f"{number + 1}/{len(frames)}", flush=True)

    order = np.random.default_rng(0).permutation(FRAMES_EACH)
    width = len(TEMPERATURES)
    for name, rows in {"train": order[:95], "val": order[95:105], "test": order[105:]}.items():
        numbers = sorted(int(r) * width + t for r in rows for t in range(width))
        out.with_name(f"{name}.txt").write_text("\n".join(map(str, numbers)) + "\n")


if __name__ == "__main__":
    main()
