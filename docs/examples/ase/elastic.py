"""Elastic constants of a relaxed crystal in GPa: stresses of strained cells, atoms relaxed in each.

python docs/examples/ase/elastic.py RUN CRYSTAL
"""

import sys

import numpy as np
from ase import units
from ase.io import read
from ase.optimize import LBFGS
from ase.stress import voigt_6_to_full_3x3_strain

from cartalg.interfaces.ase import CartalgCalculator

run, crystal = sys.argv[1:]
strain = 0.003
atoms = read(crystal)
calculator = CartalgCalculator(run)


def stress(voigt):
    """Stress of the strained crystal in eV/A^3, Voigt's order."""
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ voigt_6_to_full_3x3_strain(voigt), scale_atoms=True)
    strained.calc = calculator
    LBFGS(strained, logfile=None).run(fmax=0.001, steps=300)
    return strained.get_stress()


rows = [(stress(strain * unit) - stress(-strain * unit)) / (2 * strain) for unit in np.eye(6)]
constants = np.array(rows) / units.GPa
constants = (constants + constants.T) / 2
print(np.array2string(constants, precision=2, suppress_small=True))
bulk = constants[:3, :3].sum() / 9
shear = (np.trace(constants[:3, :3]) - constants[:3, :3].sum() / 3) / 10 + np.trace(constants[3:, 3:]) / 5
print(f"Voigt averages: bulk modulus {bulk:.2f} GPa, shear modulus {shear:.2f} GPa")
