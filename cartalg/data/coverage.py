"""What training data cover: energies, forces and distances; where a simulation leaves them, a model extrapolates."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from cartalg.data.frames import DataError, Frame
from cartalg.data.graphs import Graph
from cartalg.data.statistics import Compositions

#: In the folder of a training run.
COVERAGE_FILE = "coverage.json"


@dataclass(frozen=True)
class Coverage:
    """Extremes of a labelled set.

    Attributes:
        shifts: Energy of each element in eV, fitted to the set's energies by least squares; empty without energies.
        energy: Lowest and highest energy per atom in eV, less the shifts; None without energies.
        force: Largest force on an atom in eV/angstrom; None without forces.
        typical_force: Root mean square of the force components in eV/angstrom; None without forces.
        distances: Shortest distance of each pair of elements in angstrom, under ``"C-H"``, symbols by the alphabet.
    """

    shifts: dict[str, float]
    energy: tuple[float, float] | None
    force: float | None
    typical_force: float | None
    distances: dict[str, float]

    @classmethod
    def of(cls, frames: Iterable[Frame], graphs: Iterable[Graph], elements: Sequence[str]) -> "Coverage":
        """Measure labelled frames; species of the graphs count through `elements`. Shapes as in `Graph`."""
        compositions, squares, components, force = Compositions(elements), 0.0, 0, 0.0
        shortest = np.full((len(elements), len(elements)), np.inf)
        for frame, graph in zip(frames, graphs, strict=True):
            compositions.add(frame, frame.energy)
            if (forces := frame.labels.get("forces")) is not None:
                squares, components = squares + float((forces**2).sum()), components + forces.size
                force = max(force, float(np.linalg.norm(forces, axis=1).max()))
            species = graph.species.numpy()
            pairs = species[graph.edges.receiver.numpy()], species[graph.edges.sender.numpy()]
            np.minimum.at(shortest, pairs, np.linalg.norm(graph.vectors.numpy(), axis=1))
        shifts = compositions.fit() if len(compositions) else {}
        above = compositions.above(shifts) if len(compositions) else np.zeros(0)
        distances = {
            pair_name(one, other): float(shortest[a, b])
            for a, one in enumerate(elements)
            for b, other in enumerate(elements[a:], a)
            if np.isfinite(shortest[a, b])  # each pair is an edge in both directions
        }
        return cls(
            shifts,
            (float(above.min()), float(above.max())) if len(above) else None,
            force if components else None,
            (squares / components) ** 0.5 if components else None,
            distances,
        )

    def above(self, atoms: Atoms, energy: float) -> float | None:
        """Energy per atom in eV, less the shifts; None if the set has no energies or not all of the elements."""
        symbols = atoms.get_chemical_symbols()
        if not self.shifts or not {*symbols} <= self.shifts.keys():
            return None
        return (energy - sum(self.shifts[s] for s in symbols)) / len(symbols)

    def as_json(self) -> dict[str, Any]:
        """For a file of JSON."""
        return asdict(self)


def pair_name(a: str, b: str) -> str:
    """The key of a pair of elements."""
    return "-".join(sorted((a, b)))


def read_coverage(path: Path) -> Coverage:
    """Read what `Coverage.as_json` gave. Raises DataError if the file holds something else."""
    try:
        values = json.loads(path.read_text())
        energy = values.pop("energy")
        return Coverage(energy=tuple(energy) if energy else None, **values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: not the coverage of a training run ({error}); delete it, or train again") from error
