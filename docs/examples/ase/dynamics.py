"""Langevin dynamics of a crystal, then constant pressure, with ASE's integrators.

python docs/examples/ase/dynamics.py RUN CRYSTAL TEMPERATURE STEPS

`cartalg md` does this with a restart, a guard and records.
"""

import sys

import numpy as np
from ase import units
from ase.io import read
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from cartalg.interfaces.ase import CartalgCalculator

run, crystal = sys.argv[1:3]
temperature, steps = float(sys.argv[3]), int(sys.argv[4])
rng = np.random.default_rng(0)
atoms = read(crystal)
atoms.calc = CartalgCalculator(run)
thermalize_momenta(atoms, temperature, rng=rng)
Stationary(atoms)


def say(name):
    """One line on where it is."""
    pressure = -atoms.get_stress(include_ideal_gas=True)[:3].mean() / units.GPa
    print(
        f"{name}: {atoms.get_temperature():.0f} K, {pressure:.2f} GPa, {atoms.get_volume() / len(atoms):.3f} A^3/atom"
    )


step = 2 * units.fs
heated = LangevinBAOAB(atoms, step, temperature_K=temperature, T_tau=50 * step, rng=rng)
heated.attach(say, interval=max(steps // 4, 1), name="Langevin")
heated.run(steps)
pressed = IsotropicMTKNPT(atoms, step, temperature, pressure_au=0.0, tdamp=50 * step, pdamp=500 * step)
pressed.attach(say, interval=max(steps // 4, 1), name="constant pressure")
pressed.run(steps)
