"""Molecular dynamics in a folder: run, killed at any instant, gone on with bit for bit."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from rich.progress import Progress

from cartalg.data.frames import DataError
from cartalg.files import write_file
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.simulate.ensembles import check, conserved, integrator, numbers, set_numbers, start
from cartalg.simulate.folder import LOG_FILE, Records, State, identity, opened
from cartalg.simulate.guard import Guard, coverage_of
from cartalg.simulate.options import Simulation
from cartalg.simulate.structures import as_xyz, read_structure, with_results
from cartalg.train.plots import simulation_plot
from cartalg.train.records import read_metrics
from cartalg.train.run import threads_for

OUTSIDE_FILE, FINAL_FILE, PLOT_FILE = "outside.xyz", "final.xyz", "simulation.png"
#: Seconds from one note of the progress bar to the next.
SHOWN = 0.3


class LeftCoverage(RuntimeError):
    """A simulation was stopped because it left what its model was trained on."""


@dataclass
class Outcome:
    """How a simulation went.

    Attributes:
        steps: Done in all.
        time_ps: Simulated in all.
        ns_per_day: Of the steps done now; NaN if there were none.
        temperature: Mean and standard deviation in K over the log's second half.
        drift: Change of the conserved energy in meV/atom/ns, a straight line through the log; NaN for Langevin.
    """

    steps: int
    time_ps: float
    ns_per_day: float
    temperature: tuple[float, float]
    drift: float


class Run:
    """One simulation at work.

    Args:
        atoms: With velocities, or without.
        calculator: For them.
        options: What to do.
        folder: Opened for it.
        guard: When to stop.
        resumed: Whether to go on from the folder's state.
    """

    def __init__(
        self,
        atoms: Atoms,
        calculator: CartalgCalculator,
        options: Simulation,
        folder: Path,
        guard: Guard,
        resumed: bool,
    ) -> None:
        self.atoms, self.calculator, self.options = atoms, calculator, options
        self.folder, self.guard = folder, guard
        self.periodic = bool(atoms.pbc.all())
        atoms.info = {}  # of the structure file, labels perhaps
        atoms.calc = calculator
        state, self.fresh = State.read(folder) if resumed else None, not resumed
        self.rng = np.random.default_rng(options.seed)
        if state is None:
            start(atoms, options, self.rng)
            calculator.search(atoms)
        else:
            for name in ("searched", "atoms"):
                atoms.set_cell(state.arrays[f"{name}.cell"])
                atoms.arrays["positions"][:] = state.arrays[f"{name}.positions"]
                if name == "searched":
                    calculator.search(atoms)
            atoms.arrays["momenta"] = state.arrays["atoms.momenta"]
            self.rng.bit_generator.state = state.random
        self.dynamics = integrator(atoms, options, self.rng)
        if state is not None:
            of_dynamics = {k.removeprefix("dynamics."): v for k, v in state.arrays.items() if k.startswith("dynamics.")}
            set_numbers(self.dynamics, of_dynamics | state.scalars)
        self.records = Records(folder, [name for name, _ in self._line()], state.lengths if state else {})
        self.saved = time.perf_counter()

    def steps(self) -> Iterator[int]:
        """Do the steps that are left; yields the number of each when it is done, recorded and, now and then, saved.

        Raises:
            LeftCoverage: Where the guard stops it; the records end with the step before.
        """
        first = self.dynamics.nsteps
        if self.fresh:
            self._step(0, self.guard(self.atoms))
        generator = self.dynamics.irun(self.options.steps - self.dynamics.nsteps)
        while True:
            if self.calculator.uncertain:  # where it is logged: it changes little from step to step
                self.calculator.uncertainty = (self.dynamics.nsteps + 1) % self.options.log_interval == 0
            try:
                next(generator)
            except StopIteration:
                break
            except DataError as error:  # atoms on top of each other, positions that are not finite
                self._step(self.dynamics.nsteps + 1, str(error))
            step = self.dynamics.nsteps
            if step == first:  # before any step
                continue
            self._step(step, self.guard(self.atoms))
            yield step
        self.save()
        write_file(self.folder / FINAL_FILE, as_xyz(self._frame()))
        (self.folder / OUTSIDE_FILE).unlink(missing_ok=True)  # of a stop that was gone beyond

    def _step(self, step: int, wrong: str | None) -> None:
        """Record a step, or stop there."""
        if wrong is not None:
            self._stop(step, wrong)
        if step % self.options.log_interval == 0:
            self.records.log([value for _, value in self._line()])
        if step % self.options.frame_interval == 0:
            self.records.frame(self._frame())
        if not step or time.perf_counter() - self.saved >= self.options.state_seconds:
            self.save()

    def _stop(self, step: int, wrong: str) -> None:
        self.records.settled()
        femtoseconds = step * self.options.timestep
        write_file(self.folder / OUTSIDE_FILE, as_xyz(self._frame({"outside": wrong})))
        raise LeftCoverage(
            f"step {step} ({femtoseconds:g} fs) leaves what the training data cover: {wrong}. The trajectory is whole "
            f"up to there; {self.folder / OUTSIDE_FILE} holds the structure: label it and train on it, or go on "
            f"with a larger --guard-margin or --no-guard"
        )

    def save(self) -> None:
        """Write the state."""
        searched, found = self.calculator.searched, numbers(self.dynamics)
        assert searched is not None
        arrays = {f"dynamics.{k}": v for k, v in found.items() if isinstance(v, np.ndarray)}
        for name, atoms in (("searched", searched), ("atoms", self.atoms)):
            arrays |= {f"{name}.positions": atoms.positions, f"{name}.cell": atoms.cell.array}
        arrays["atoms.momenta"] = self.atoms.get_momenta()
        scalars = {k: v for k, v in found.items() if not isinstance(v, np.ndarray)}
        State(arrays, scalars, dict(self.rng.bit_generator.state), self.records.settled()).write(self.folder)
        self.saved = time.perf_counter()

    def _line(self) -> Iterator[tuple[str, float]]:
        """One line of the log: names of columns and values."""
        atoms = self.atoms
        potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        kept = conserved(self.dynamics)
        yield "step", self.dynamics.nsteps
        yield "time_fs", self.dynamics.nsteps * self.options.timestep
        yield "potential_eV", potential
        yield "kinetic_eV", kinetic
        yield "total_eV", potential + kinetic
        if kept is not None:
            yield "conserved_eV", kept
        yield "temperature_K", atoms.get_temperature()
        if self.periodic:
            stress = atoms.get_stress(voigt=False, include_ideal_gas=True)
            yield "pressure_GPa", -float(np.trace(stress)) / 3 / units.GPa
            yield "volume_A3", atoms.get_volume()
        for name, column in (("grade", "grade"), ("energy_std", "energy_std_eV")):
            if name in self.calculator.results:
                yield column, self.calculator.results[name]

    def _frame(self, more: dict[str, Any] | None = None) -> Atoms:
        """A copy for a file, with what was calculated of it."""
        frame, step = with_results(self.atoms), self.dynamics.nsteps
        frame.info |= {"step": step, "time_fs": step * self.options.timestep, **(more or {})}
        return frame


def simulate(run: Path, structure: Path, output: Path, options: Simulation, backend: str, bar: Progress) -> Outcome:
    """Run molecular dynamics in a folder, or go on with what it holds.

    Args:
        run: Model file, or folder of a training run, of a committee too.
        structure: File with a structure.
        output: Folder for everything.
        options: What to do.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        bar: Progress.
    Raises:
        LeftCoverage: If the guard stops it.
        CheckpointError: If the folder holds something else.
        FileNotFoundError, DataError, ValueError: For bad input; the message says which.
    """
    atoms = read_structure(structure, options.frame) * options.supercell
    check(atoms, options)
    own = identity(run, atoms, {**options.identifying, "backend": backend})
    calculator = CartalgCalculator(run, options.skin, backend)
    if calculator.uncertain:  # a model that has been measured since has other columns in its log
        calculator.uncertainty, own["uncertainty"] = True, True
    coverage = coverage_of(run, options, calculator) if options.guard else None
    if options.guard and coverage is None and not calculator.uncertain:
        bar.console.print(
            f"{run} does not say what its training data cover: only numbers that are not finite and atoms on top of "
            "each other stop this simulation; name labelled frames with --guard-data",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    graph, model = calculator.search(atoms), calculator.model
    torch.set_num_threads(options.threads or threads_for(len(graph.vectors), model.config.channels))
    with opened(output, own) as resumed:
        work = Run(atoms, calculator, options, output, Guard(coverage, options, calculator), resumed)
        first = work.dynamics.nsteps
        if resumed:
            bar.console.print(f"going on from step {first} of {output}", highlight=False, soft_wrap=True)
        try:
            speed = _advance(work, bar)
        finally:
            work.records.close()
            rows = read_metrics(output / LOG_FILE)
            if len(rows) > 1:
                simulation_plot(rows, len(atoms), output / PLOT_FILE)
    return _outcome(rows, work.dynamics.nsteps, options.timestep, speed, len(atoms))


def _advance(work: Run, bar: Progress) -> float:
    """Do all steps under a progress bar: nanoseconds a day."""
    options, first, total = work.options, work.dynamics.nsteps, work.options.steps
    task = bar.add_task("dynamics", total=total, completed=first, note="")
    began = shown = time.perf_counter()
    lines, step = 0, first

    def speed() -> float:
        return (step - first) * options.timestep * 1e-6 * 86400 / max(time.perf_counter() - began, 1e-9)

    for step in work.steps():
        now = time.perf_counter()
        if now - shown > SHOWN or step == total:
            energy = work.atoms.get_potential_energy()
            note = f"{work.atoms.get_temperature():.0f} K, {energy:.3f} eV, {speed():.3g} ns/day"
            bar.update(task, completed=step, note=note)
            shown = now
            if not bar.console.is_terminal and 10 * step // total > lines:
                lines = 10 * step // total
                bar.console.print(f"step {step}: {note}", highlight=False)
    return speed() if step > first else float("nan")


def _outcome(rows: list[dict[str, float]], steps: int, timestep: float, speed: float, atoms: int) -> Outcome:
    later = np.array([row["temperature_K"] for row in rows[len(rows) // 2 :]])
    drift = float("nan")
    if len(rows) > 2 and "conserved_eV" in rows[0]:
        times = np.array([row["time_fs"] for row in rows]) * 1e-6
        drift = float(np.polyfit(times, [row["conserved_eV"] for row in rows], 1)[0]) * 1e3 / atoms
    return Outcome(steps, steps * timestep / 1e3, speed, (float(later.mean()), float(later.std())), drift)
