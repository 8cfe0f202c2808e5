"""Phonon frequencies of a relaxed crystal at the zone's centre and at its edge, with phonopy.

python docs/examples/ase/phonons.py RUN PRIMITIVE

`cartalg phonons` draws bands and density as well.
"""

import sys

from ase import Atoms
from ase.io import read
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from cartalg.interfaces.ase import CartalgCalculator

run, primitive = sys.argv[1:]
atoms, calculator = read(primitive), CartalgCalculator(run)
cell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
phonon = Phonopy(cell, [[4, 0, 0], [0, 4, 0], [0, 0, 4]], primitive_matrix="P")
phonon.generate_displacements(distance=0.02)
forces = []
for image in phonon.supercells_with_displacements:
    moved = Atoms(image.numbers, cell=image.cell, scaled_positions=image.scaled_positions, pbc=True)
    moved.calc = calculator
    forces.append(moved.get_forces())
phonon.forces = forces
phonon.produce_force_constants(show_drift=False)
for point in ([0, 0, 0], [0.5, 0, 0]):
    (frequencies,) = phonon.run_qpoints([point]).frequencies
    print(point, "THz:", *(f"{f:.3f}" for f in frequencies))
