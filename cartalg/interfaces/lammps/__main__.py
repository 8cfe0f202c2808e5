"""`mpirun -n 2 python -m cartalg.interfaces.lammps in.lammps` runs an input file."""

import sys

from cartalg.interfaces.lammps.script import main

sys.exit(main(sys.argv[1:]))
