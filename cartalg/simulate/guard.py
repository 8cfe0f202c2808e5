"""Stops a simulation that leaves what the training data cover."""

from pathlib import Path

import numpy as np
from ase import Atoms

from cartalg.data.coverage import COVERAGE_FILE, Coverage, pair_name, read_coverage
from cartalg.data.dataset import Dataset
from cartalg.data.frames import read_frames, split_isolated
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.simulate.options import Simulation
from cartalg.train.checkpoint import members

#: Energies may always go this far beyond the training data, in eV/atom: half of what 300 K are in a harmonic solid.
ENERGY_SLACK = 0.04
#: Of `guard_margin`, what the largest extrapolation grade is beyond 1.
BEYOND = 8.0
#: Of `guard_margin`, what distances may be shorter by.
SHORTER = 0.2


def coverage_of(run: Path, options: Simulation, calculator: CartalgCalculator) -> Coverage | None:
    """What a run's training data cover: as the run says, or as the options' file does; None where neither is.

    Raises:
        FileNotFoundError, DataError: If a file cannot be read.
    """
    if options.guard_data is not None:
        model = calculator.model
        frames, _ = split_isolated(read_frames(options.guard_data))
        found = Dataset.build(frames, model.config.cutoff, model.elements)
        return Coverage.of(found.frames, found.graphs, model.elements)
    first = members(run)[0]
    path = (first if first.is_dir() else first.parent) / COVERAGE_FILE
    return read_coverage(path) if path.is_file() else None


class Guard:
    """Says in a line how atoms with a calculator leave what is covered.

    Args:
        coverage: Of the training data; None: only what is not finite, and the limits that options give, stop a run.
        options: Margins and limits.
        calculator: Of the simulation.
    """

    def __init__(self, coverage: Coverage | None, options: Simulation, calculator: CartalgCalculator) -> None:
        covered, margin = coverage if options.guard else None, options.guard_margin
        self.covered, self.calculator = covered, calculator
        self.max_force, self.max_deviation = options.max_force, options.max_deviation
        self.max_grade = options.max_grade
        self.energies: tuple[float, float] | None = None
        elements = calculator.model.elements
        self._shortest = np.zeros((len(elements), len(elements)))
        self._of_edges: tuple[object, np.ndarray] | None = None
        if options.guard and self.max_grade is None:
            self.max_grade = 1 + BEYOND * margin
        if covered is None:
            return
        if covered.energy is not None:
            low, high = covered.energy
            wider = max(margin * (high - low), ENERGY_SLACK)
            self.energies = low - wider, high + wider
        if covered.force is not None and covered.typical_force is not None:
            self.max_force = self.max_force or (1 + margin) * covered.force
            if len(calculator.models) > 1:  # of one model grades say it
                self.max_deviation = self.max_deviation or margin * covered.typical_force
        for a, one in enumerate(elements):
            for b, other in enumerate(elements):
                self._shortest[a, b] = covered.distances.get(pair_name(one, other), 0.0) * max(1 - SHORTER * margin, 0)

    def __call__(self, atoms: Atoms) -> str | None:
        """What is wrong with atoms whose energy and forces have just been calculated; None if nothing is."""
        results = self.calculator.results
        energy, forces = results["energy"], results["forces"]
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(atoms.get_momenta()).all()):
            return "energy, forces or velocities are not finite"
        sizes = np.sqrt((forces**2).sum(1))
        worst = int(sizes.argmax())
        if self.max_force is not None and sizes[worst] > self.max_force:
            return f"{_named(atoms, worst)} has a force of {sizes[worst]:.3g} eV/A; the limit is {self.max_force:.3g}"
        return self._distances(atoms) or self._energy(atoms, energy) or self._grade(atoms) or self._deviation(atoms)

    def _energy(self, atoms: Atoms, energy: float) -> str | None:
        if self.covered is None or self.energies is None:
            return None
        above, (low, high) = self.covered.above(atoms, energy), self.energies
        if above is None or low <= above <= high:
            return None
        return (
            f"the energy is {above:.4g} eV/atom beside the elements' own; the training data, with the margin, "
            f"reach from {low:.4g} to {high:.4g}"
        )

    def _distances(self, atoms: Atoms) -> str | None:
        graph = self.calculator.graph
        if self.covered is None or graph is None or not len(graph.vectors):
            return None
        if self._of_edges is None or self._of_edges[0] is not graph.edges:
            species = graph.species.numpy()
            limits = self._shortest[species[graph.edges.receiver.numpy()], species[graph.edges.sender.numpy()]]
            self._of_edges = graph.edges, limits**2
        vectors = graph.vectors.numpy()
        squares = (vectors * vectors).sum(1)
        if (squares >= self._of_edges[1]).all():
            return None
        at = int(np.argmax(self._of_edges[1] - squares))
        a, b = int(graph.edges.receiver[at]), int(graph.edges.sender[at])
        limit = float(np.sqrt(self._of_edges[1][at]))
        apart = f"{np.sqrt(squares[at]):.3f} A"
        return f"{_named(atoms, a)} and {_named(atoms, b)} are {apart} apart; the limit is {limit:.3f} A"

    def _grade(self, atoms: Atoms) -> str | None:
        grades = self.calculator.results.get("grades")
        if grades is None or self.max_grade is None:
            return None
        worst = int(grades.argmax())
        if grades[worst] <= self.max_grade:
            return None
        return (
            f"{_named(atoms, worst)} has the extrapolation grade {grades[worst]:.3g}, where 1 is the farthest atom of "
            f"the training data; the limit is {self.max_grade:.3g}"
        )

    def _deviation(self, atoms: Atoms) -> str | None:
        spread = self.calculator.results.get("forces_std")
        if spread is None or self.max_deviation is None:
            return None
        sizes = np.sqrt((spread**2).sum(1))
        worst = int(sizes.argmax())
        if sizes[worst] <= self.max_deviation:
            return None
        limit = f"by {sizes[worst]:.3g} eV/A; the limit is {self.max_deviation:.3g}"
        if len(self.calculator.models) > 1:
            return f"the committee's forces on {_named(atoms, worst)} deviate {limit}"
        return f"the force on {_named(atoms, worst)} is uncertain {limit}"


def _named(atoms: Atoms, number: int) -> str:
    return f"atom {number} ({atoms.symbols[number]})"
