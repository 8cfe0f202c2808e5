"""ASE's integrators by the name of an ensemble, and their whole state: every number that they hold."""

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from cartalg.simulate.options import Simulation
from cartalg.train.checkpoint import CheckpointError

#: Kinds of numbers in a state; a float and a NumPy float are not rounded alike in every operation.
SCALARS: dict[str, Any] = {kind.__name__: kind for kind in (int, float, np.float64, np.int64)}


def check(atoms: Atoms, options: Simulation) -> None:
    """Make sure that atoms are fit for an ensemble.

    Raises:
        ValueError: For npt of a system that is not periodic along all three axes, or has constraints, and for nve
            with neither momenta nor a temperature.
    """
    if options.ensemble == "npt" and not atoms.pbc.all():
        raise ValueError(f"npt needs a cell that is periodic along all three axes; pbc is {atoms.pbc.tolist()}")
    if options.ensemble == "npt" and atoms.constraints:
        raise ValueError("npt moves every atom with the cell: remove the structure's constraints")
    if options.temperature is None and not _moving(atoms, options):
        raise ValueError("nve of a structure without momenta needs a temperature (in K) to draw velocities at")


def _moving(atoms: Atoms, options: Simulation) -> bool:
    return bool(atoms.get_momenta().any()) and not options.new_velocities


def start(atoms: Atoms, options: Simulation, rng: np.random.Generator) -> None:
    """Give atoms velocities, unless they have momenta that are to be kept.

    Drawn at the temperature, without motion of the whole and, of an open system, without rotation.
    """
    if _moving(atoms, options):
        return
    thermalize_momenta(atoms, options.temperature, rng=rng)
    if len(atoms) > 1 and not atoms.constraints:
        Stationary(atoms)
        if not atoms.pbc.any():
            ZeroRotation(atoms)


def integrator(atoms: Atoms, options: Simulation, rng: np.random.Generator) -> MolecularDynamics:
    """The integrator of an ensemble, at its start."""
    step, heat = options.timestep * units.fs, options.thermostat_time * units.fs
    kelvin = options.temperature
    if options.ensemble == "nve":
        return VelocityVerlet(atoms, step)
    if options.ensemble == "npt":
        kind = IsotropicMTKNPT if options.cell == "isotropic" else MTKNPT
        pressure = options.pressure * units.GPa
        return kind(atoms, step, kelvin, pressure, tdamp=heat, pdamp=options.barostat_time * units.fs)
    if options.thermostat == "nose-hoover":
        return NoseHooverChainNVT(atoms, step, kelvin, tdamp=heat)
    if options.thermostat == "bussi":
        return Bussi(atoms, step, kelvin, taut=heat, rng=rng)
    return LangevinBAOAB(atoms, step, temperature_K=kelvin, T_tau=heat, rng=rng)


def conserved(dynamics: MolecularDynamics) -> float | None:
    """The energy in eV that the dynamics conserve, of atoms and thermostat together; None for Langevin."""
    if isinstance(dynamics, LangevinBAOAB):
        return None
    if isinstance(dynamics, Bussi):
        return float(dynamics.atoms.get_total_energy() - dynamics.transferred_energy)
    found = getattr(dynamics, "get_conserved_energy", dynamics.atoms.get_total_energy)()
    return float(found)


def numbers(thing: Any, prefix: str = "") -> dict[str, Any]:
    """Every number and array of floats of an integrator and of its thermostat and barostat, by its path."""
    found: dict[str, Any] = {}
    for name, value in vars(thing).items():
        if type(value).__name__ in SCALARS or (isinstance(value, np.ndarray) and value.dtype == np.float64):
            found[prefix + name] = value
        elif type(value).__module__.startswith("ase.md."):
            found |= numbers(value, f"{prefix}{name}.")
    found.pop("max_steps", None)  # of the call, not of the dynamics
    return found


def set_numbers(thing: Any, values: dict[str, Any]) -> None:
    """Put back what `numbers` gave. Raises CheckpointError if the integrator is another."""
    missing = numbers(thing).keys() - values.keys()
    if missing:
        raise CheckpointError(f"the state has no {', '.join(sorted(missing))}: it is of another version of ASE")
    for path, value in values.items():
        owner = thing
        *way, name = path.split(".")
        for part in way:
            owner = getattr(owner, part)
        setattr(owner, name, value.copy() if isinstance(value, np.ndarray) else value)
