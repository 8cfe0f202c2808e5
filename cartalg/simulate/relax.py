"""Relaxation of structures: every frame of a file, positions alone or the cell too."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE2, LBFGS, BFGSLineSearch
from rich.progress import Progress

from cartalg.data.frames import DataError
from cartalg.files import write_file
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.simulate.structures import as_xyz, read_structures, with_results

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "bfgs": BFGS,
    "bfgs-linesearch": BFGSLineSearch,
    "fire": FIRE2,
    "lbfgs": LBFGS,
}


@dataclass(frozen=True)
class Relaxed:
    """One frame, relaxed.

    Attributes:
        atoms: At the end, with energy, forces and stress attached.
        before, after: Energies in eV.
        force: Largest force on an atom at the end, in eV/angstrom.
        moved: Largest displacement of an atom in angstrom; with the cell, at its fractional coordinates.
        steps: Of the optimiser.
        converged: Whether all forces (and the cell's) fell below the limit.
    """

    atoms: Atoms
    before: float
    after: float
    force: float
    moved: float
    steps: int
    converged: bool


def relax(
    atoms: Atoms,
    fmax: float,
    steps: int,
    optimizer: str,
    cell: bool,
    pressure: float = 0.0,
    on_step: Callable[[int, float], None] | None = None,
) -> Relaxed:
    """Relax atoms with a calculator, in place.

    Args:
        atoms: The structure.
        fmax: Largest force that is left, in eV/angstrom.
        steps: At most.
        optimizer: One of `OPTIMIZERS`.
        cell: Whether the cell is relaxed, too, shape and volume.
        pressure: On the cell, in GPa.
        on_step: Called with (step, largest force).
    Raises:
        ValueError: If a cell that is not periodic along all three axes is to be relaxed.
        DataError: If atoms come on top of each other, or leave for infinity.
    """
    if cell and not atoms.pbc.all():
        raise ValueError(f"a cell is relaxed if it is periodic along all three axes; pbc is {atoms.pbc.tolist()}")
    before, start, frame = atoms.get_potential_energy(), atoms.positions.copy(), atoms.cell.array.copy()
    target = FrechetCellFilter(atoms, scalar_pressure=pressure * units.GPa) if cell else atoms
    engine = OPTIMIZERS[optimizer](target, logfile=None)
    if on_step:
        engine.attach(lambda: on_step(engine.nsteps, largest(target.get_forces())))
    converged = bool(engine.run(fmax=fmax, steps=steps))
    if cell:
        start = start @ np.linalg.solve(frame, atoms.cell.array)
    return Relaxed(
        with_results(atoms),
        before,
        atoms.get_potential_energy(),
        largest(atoms.get_forces()),
        float(np.linalg.norm(atoms.positions - start, axis=1).max()),
        engine.nsteps,
        converged,
    )


def largest(forces: np.ndarray[Any, Any]) -> float:
    """The largest force on an atom, in the forces' unit."""
    return float(np.linalg.norm(forces, axis=1).max())


def relax_file(
    run: Path,
    structures: Path,
    output: Path,
    fmax: float,
    steps: int,
    optimizer: str,
    cell: bool,
    pressure: float,
    backend: str,
    bar: Progress,
) -> list[Relaxed]:
    """Relax every frame of a file, and write all of them to another, whole.

    Args:
        run: Model file, or folder of a training run.
        structures: File that ASE reads.
        output: Extended XYZ to write.
        fmax, steps, optimizer, cell, pressure: As in `relax`.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        bar: Progress.
    Raises:
        FileNotFoundError, DataError, ValueError: For bad input; the message says which frame.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    frames, calculator = read_structures(structures), CartalgCalculator(run, backend=backend)
    task, found = bar.add_task("relaxing", total=len(frames), note=""), list[Relaxed]()
    for number, atoms in enumerate(frames):
        atoms.calc = calculator

        def show(step: int, force: float, number: int = number) -> None:
            bar.update(task, note=f"frame {number}, step {step}: {force:.3g} eV/A")

        try:
            relaxed = relax(atoms, fmax, steps, optimizer, cell, pressure, show)
        except ValueError as error:  # DataError, too
            raise DataError(f"{structures}, frame {number}: {error}") from error
        relaxed.atoms.info["converged"] = relaxed.converged
        found.append(relaxed)
        bar.advance(task)
    write_file(output, "".join(as_xyz(r.atoms) for r in found))
    return found
