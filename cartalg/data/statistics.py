"""What a model takes from the training data before it is trained: energy shifts, a scale, the mean neighbourhood."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cartalg.data.frames import DataError, Frame
from cartalg.data.graphs import Graph


@dataclass(frozen=True)
class Statistics:
    """Statistics of a training set.

    Attributes:
        shifts: Energy of each element in eV.
        scale: Root mean square of the force components in eV/angstrom (of energies per atom, if there are no forces).
        mean_neighbours: Mean number of neighbours of an atom.
    """

    shifts: dict[str, float]
    scale: float
    mean_neighbours: float


def element_shifts(
    frames: Sequence[Frame], elements: Sequence[str], isolated: dict[str, float] | None
) -> dict[str, float]:
    """Energy of each element: of its isolated atom, or fitted by least squares over compositions.

    With few distinct compositions the least-squares shifts are the smallest ones that fit (minimum norm).

    Raises:
        DataError: If isolated-atom energies are used and an element is missing, or no frame has an energy.
    """
    if isolated is not None:
        missing = [e for e in elements if e not in isolated]
        if missing:
            raise DataError(
                f"no isolated-atom energy for {', '.join(missing)}; add the frame, or set data.shifts to fit"
            )
        return {e: isolated[e] for e in elements}
    labelled = [f for f in frames if f.energy is not None]
    if not labelled:
        raise DataError("no frame has an energy, so element shifts cannot be fitted")
    counts = np.array([[f.atoms.get_chemical_symbols().count(e) for e in elements] for f in labelled], dtype=float)
    energies = np.array([f.energy for f in labelled])
    solution, *_ = np.linalg.lstsq(counts, energies, rcond=1e-8)
    return dict(zip(elements, map(float, solution), strict=True))


def energies_above_shifts(frames: Sequence[Frame], shifts: dict[str, float]) -> list[float]:
    """Energy per atom of each labelled frame less its atoms' shifts, in eV."""
    return [
        (f.energy - sum(shifts[s] for s in f.atoms.get_chemical_symbols())) / len(f.atoms)
        for f in frames
        if f.energy is not None
    ]


def gather(
    frames: Sequence[Frame], graphs: Sequence[Graph], elements: Sequence[str], isolated: dict[str, float] | None
) -> Statistics:
    """Statistics of training frames and their graphs. Raises DataError as `element_shifts` does.

    Frames without any energy, to train tensor properties on, have shifts of zero.
    """
    energies = isolated is not None or any(f.energy is not None for f in frames)
    shifts = element_shifts(frames, elements, isolated) if energies else dict.fromkeys(elements, 0.0)
    forces = [f.forces.ravel() for f in frames if f.forces is not None]
    if forces:
        scale = float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    else:
        scale = float(np.std(energies_above_shifts(frames, shifts) or [0.0]))
    atoms = sum(len(g.species) for g in graphs)
    edges = sum(len(g.vectors) for g in graphs)
    return Statistics(shifts, scale if scale > 1e-6 else 1.0, edges / max(atoms, 1))
