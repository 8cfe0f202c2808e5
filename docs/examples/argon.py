"""Labelled frames of Lennard-Jones argon, to learn a potential whose thermal conductivity is known.

    python argon.py DATA/argon

Langevin dynamics of 108 atoms at several temperatures and densities with ASE's calculator, sigma 3.405 A, epsilon
k 119.8 K, cutoff 2.5 sigma: `train.xyz` and `test.xyz`.
"""

import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

SIGMA, EPSILON = 3.405, 119.8 * units.kB


def frames(temperature: float, constant: float, count: int, seed: int) -> list[Atoms]:
    """So many frames of a crystal with this lattice constant, 0.4 ps apart."""
    rng, found = np.random.default_rng(seed), []
    atoms = bulk("Ar", "fcc", constant, cubic=True) * 3
    atoms.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=2.5 * SIGMA)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=rng)
    dynamics = Langevin(atoms, 10 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=rng)
    for _ in range(count):
        dynamics.run(40)
        frame = atoms.copy()
        frame.info["energy"], frame.arrays["forces"] = atoms.get_potential_energy(), atoms.get_forces()
        del frame.arrays["momenta"]
        found.append(frame)
    return found


def main() -> None:
    """Write both files; a quarter of the frames is for testing."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10
    folder.mkdir(parents=True, exist_ok=True)
    conditions = [(t, a) for t in (25.0, 60.0, 95.0) for a in (5.25, 5.35, 5.45)]
    every = [f for n, (t, a) in enumerate(conditions) for f in frames(t, a, count, seed=n)]
    ase.io.write(folder / "train.xyz", [f for n, f in enumerate(every) if n % 4])
    ase.io.write(folder / "test.xyz", every[::4])


if __name__ == "__main__":
    main()
