"""A structure and its cell at the nearest minimum of the enthalpy.

python docs/examples/ase/relax.py RUN STRUCTURE relaxed.xyz
"""

import sys

from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.optimize import FIRE2

from cartalg.interfaces.ase import CartalgCalculator

run, structure, output = sys.argv[1:]
atoms = read(structure)
atoms.calc = CartalgCalculator(run)
target = FrechetCellFilter(atoms) if atoms.pbc.all() else atoms  # positions, shape and volume of a crystal
FIRE2(target).run(fmax=0.005, steps=500)
write(output, atoms)
print(f"{atoms.get_potential_energy():.6f} eV, {abs(atoms.get_forces()).max():.1e} eV/A")
