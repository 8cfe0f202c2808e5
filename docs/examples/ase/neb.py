"""The barrier of an atom that hops into a vacancy of a crystal, by the nudged elastic band with a climbing image.

python docs/examples/ase/neb.py RUN CRYSTAL path.xyz

The crystal is a relaxed supercell. Its atom 0 is taken out; a nearest neighbour of it moves there.
"""

import sys

import numpy as np
from ase.io import read, write
from ase.mep import NEB
from ase.optimize import FIRE2, LBFGS

from cartalg.interfaces.ase import CartalgCalculator

run, crystal, output = sys.argv[1:]
whole = read(crystal)
model = CartalgCalculator(run).model  # images have a calculator each, and share the model
hops = int(np.argmin(whole.get_distances(0, range(1, len(whole)), mic=True)))  # its number without atom 0
start = whole[1:]
end = start.copy()
end.positions[hops] -= whole.get_distance(0, hops + 1, mic=True, vector=True)
images = [start, *(start.copy() for _ in range(3)), end]
for image in images:
    image.calc = CartalgCalculator(model)
for image in (start, end):
    LBFGS(image, logfile=None).run(fmax=0.01, steps=300)
band = NEB(images, climb=True, method="improvedtangent")
band.interpolate("idpp", mic=True)
converged = FIRE2(band).run(fmax=0.03, steps=300)
energies = np.array([image.get_potential_energy() for image in images])
write(output, images)
print("energies along the path, eV:", *(f"{e:.4f}" for e in energies - energies[0]))
print(f"barrier {energies.max() - energies[0]:.4f} eV" if converged else "the band has not converged")
