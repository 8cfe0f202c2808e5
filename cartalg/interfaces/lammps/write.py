"""A commented input of LAMMPS for a model and a structure."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import complete_cell
from ase.io.lammpsdata import write_lammps_data

from cartalg.files import write_file
from cartalg.interfaces.lammps.lists import DEVIATION
from cartalg.model import Potential

#: Around a system that is open along an axis, in angstrom; LAMMPS shrinks the box to the atoms.
MARGIN = 5.0
SCRIPT, DATA = "in.lammps", "structure.data"


@dataclass(frozen=True)
class Plan:
    """What is to be simulated.

    Attributes:
        ensemble: Kept constant: energy, temperature, or temperature and pressure.
        temperature: In kelvin.
        pressure: In bar.
        steps: Number of steps.
        timestep: In fs; None for 1, or 0.5 if there is hydrogen.
    """

    ensemble: Literal["nve", "nvt", "npt"] = "nvt"
    temperature: float = 300.0
    pressure: float = 0.0
    steps: int = 1000
    timestep: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("temperature", 0.0), ("steps", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least:g}, got {getattr(self, name)}")
        if self.timestep is not None and not self.timestep > 0:
            raise ValueError(f"timestep must be positive, got {self.timestep}")


def write_input(folder: Path, run: Path, models: Sequence[Potential], atoms: Atoms | None, plan: Plan) -> list[Path]:
    """Write ``in.lammps`` and, for a structure, ``structure.data``.

    Args:
        folder: Where; made as needed.
        run: The model file or folder of a run that is named in the input.
        models: What is in there, one or a committee.
        atoms: The structure; None for one that the user has as a data file.
        plan: What is to be simulated.
    Returns:
        The files.
    Raises:
        DataError: If the model does not know an element.
        ValueError: If a pressure is asked for that an open system does not have.
    """
    model = models[0]
    elements: Sequence[str] = model.elements
    if atoms is not None:
        elements = [e for e in model.elements if e in set(atoms.get_chemical_symbols())]
        if unknown := sorted(set(atoms.get_chemical_symbols()) - set(elements)):
            raise ValueError(
                f"the model knows {', '.join(model.elements)}, but the structure holds {', '.join(unknown)}"
            )
        if plan.ensemble == "npt" and not atoms.pbc.any():
            raise ValueError("constant pressure needs a periodic axis; choose another --ensemble")
    written = [folder / SCRIPT]
    write_file(folder / SCRIPT, _script(run, elements, atoms, plan, len(models) > 1))
    if atoms is not None:
        write_file(folder / DATA, data_file(atoms, elements))
        written.append(folder / DATA)
    return written


def data_file(atoms: Atoms, elements: Sequence[str]) -> str:
    """A structure as LAMMPS reads it: types in the order of `elements`, boxes around what is open along an axis."""
    boxed, text = atoms.copy(), io.StringIO()
    boxed.calc = None
    cell = atoms.cell.array * np.asarray(atoms.pbc)[:, None]
    boxed.cell = complete_cell(cell)
    scaled = boxed.cell.scaled_positions(boxed.positions)
    for axis in np.flatnonzero(~np.asarray(atoms.pbc)):
        direction = boxed.cell.array[axis]  # of length one, and perpendicular to the periodic ones
        low, high = (scaled[:, axis].min(initial=0.0) - MARGIN, scaled[:, axis].max(initial=0.0) + MARGIN)
        boxed.positions -= low * direction
        boxed.cell[axis] = (high - low) * direction
    moving = boxed.has("momenta")
    write_lammps_data(
        text, boxed, specorder=list(elements), masses=True, velocities=moving, units="metal", atom_style="atomic"
    )
    return text.getvalue()


def _script(run: Path, elements: Sequence[str], atoms: Atoms | None, plan: Plan, committee: bool) -> str:
    """The input's text."""
    periodic = [True] * 3 if atoms is None else [bool(p) for p in atoms.pbc]
    sides = [side for side, p in zip("xyz", periodic, strict=True) if p]
    barostat = " ".join(f"{s} {plan.pressure:g} {plan.pressure:g} 1.0" for s in (sides if len(sides) < 3 else ["iso"]))
    thermostat = "temp ${T} ${T} 0.1"
    integrator = {"nve": "nve", "nvt": f"nvt {thermostat}", "npt": f"npt {thermostat} {barostat}"}[plan.ensemble]
    skewed = atoms is not None and not atoms.cell.orthorhombic
    moving = atoms is not None and atoms.has("momenta")
    create = 'if "${fresh}" then "velocity all create ${T} 4928459 mom yes rot no dist gaussian"'
    step = plan.timestep if plan.timestep is not None else (0.5 if "H" in elements else 1.0)
    thermo, of_atoms = (" f_cartalg[1] f_cartalg[2]", f" {DEVIATION}") if committee else ("", "")
    apart = "# f_cartalg: deviation of the committee, [1] largest of forces on an atom, eV/A, [2] of the energy, eV\n"
    masses = "".join(f"#   mass {n} {atomic_masses[atomic_numbers[e]]:.4f}  # {e}\n" for n, e in enumerate(elements, 1))
    return f"""# Molecular dynamics with {run.name}. Start it on 2 processes with
#   mpirun -n 2 python -m cartalg.interfaces.lammps {SCRIPT}
# and go on after an interruption with
#   mpirun -n 2 python -m cartalg.interfaces.lammps {SCRIPT} -var restart restart.1000

variable T equal {plan.temperature:g}              # kelvin
variable steps equal {plan.steps}          # in all, those before a restart included
variable fresh equal !is_defined(variable,restart)

units metal                       # eV, angstrom, ps, bar
atom_style atomic
boundary {" ".join("p" if p else "s" for p in periodic)}                    # p periodic, s open
{"box tilt large" + chr(10) if skewed else ""}if "${{fresh}}" then "read_data {DATA}" else "read_restart ${{restart}}"

# The model, then the element of each atom type. Masses are in the data file:
{masses}pair_style cartalg {run}
pair_coeff * * {" ".join(elements)}

neighbor 0.5 bin                  # a wider skin is searched less often, and costs more in every step
neigh_modify every 1 delay 0 check yes
timestep {step / 1000:g}                    # ps
{"# velocities are in the data file" if moving else create}
fix integrate all {integrator}

thermo 100
{apart if committee else ""}thermo_style custom step temp pe etotal press vol{thermo}
variable first equal step
variable begin equal ${{first}}     # a number in the trajectory's name: where this part of it starts
dump trajectory all custom 100 trajectory.${{begin}}.lammpstrj id type element xu yu zu fx fy fz{of_atoms}
dump_modify trajectory element {" ".join(elements)} sort id
restart 1000 restart.*

run ${{steps}} upto
write_restart restart.last
"""
