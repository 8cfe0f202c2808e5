"""What a model takes from the training data before it is trained: energy shifts, a scale, the mean neighbourhood."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cartalg.data.frames import DataError, Frame
from cartalg.data.graphs import Graph


@dataclass(frozen=True)
class Statistics:
    """Statistics of a training set.

    Attributes:
        shifts: Energy of each element in eV: of its isolated atom plus the mean binding energy per atom, or fitted.
        scale: Root mean square of the force components in eV/angstrom (of energies per atom, if there are no forces).
        mean_neighbours: Mean number of neighbours of an atom.
    """

    shifts: dict[str, float]
    scale: float
    mean_neighbours: float


class Compositions:
    """Numbers of atoms of each element, and energies: what shifts are fitted to."""

    def __init__(self, elements: Sequence[str]) -> None:
        self.elements = tuple(elements)
        self._counts: list[list[int]] = []
        self._energies: list[float] = []

    def add(self, frame: Frame, energy: float | None) -> None:
        """Take a frame with an energy in eV; without one, nothing."""
        if energy is not None:
            counted = Counter(frame.atoms.get_chemical_symbols())
            self._counts.append([counted[e] for e in self.elements])
            self._energies.append(energy)

    def __len__(self) -> int:
        return len(self._energies)

    def fit(self) -> dict[str, float]:
        """Energy of each element by least squares; with few distinct compositions the smallest that fit."""
        if not self:
            raise DataError("no frame has an energy, so element shifts cannot be fitted")
        counts = np.array(self._counts, dtype=float)
        solution, *_ = np.linalg.lstsq(counts, np.array(self._energies), rcond=1e-8)
        return dict(zip(self.elements, map(float, solution), strict=True))

    def above(self, shifts: dict[str, float]) -> np.ndarray[Any, Any]:
        """Energy per atom of each frame less its atoms' shifts, in eV."""
        counts = np.array(self._counts, dtype=float).reshape(-1, len(self.elements))
        rest = np.array(self._energies) - counts @ np.array([shifts[e] for e in self.elements])
        return np.asarray(rest / counts.sum(1))


def element_shifts(compositions: Compositions, isolated: dict[str, float] | None) -> dict[str, float]:
    """Energy of each element: of its isolated atom, or fitted by least squares over compositions.

    Raises:
        DataError: If isolated-atom energies are used and an element is missing, or no frame has an energy.
    """
    if isolated is None:
        return compositions.fit()
    missing = [e for e in compositions.elements if e not in isolated]
    if missing:
        raise DataError(f"no isolated-atom energy for {', '.join(missing)}; add the frame, or set data.shifts to fit")
    return {e: isolated[e] for e in compositions.elements}


def gather(
    frames: Iterable[Frame], graphs: Iterable[Graph], elements: Sequence[str], isolated: dict[str, float] | None
) -> Statistics:
    """Statistics of training frames and their graphs, in one pass. Raises DataError as `element_shifts` does.

    Frames without any energy, to train tensor properties on, have shifts of zero.
    """
    compositions = Compositions(elements)
    squares, components, atoms, edges = 0.0, 0, 0, 0
    for frame, graph in zip(frames, graphs, strict=True):
        compositions.add(frame, frame.energy)
        atoms += len(graph.species)
        edges += len(graph.vectors)
        if "forces" in frame.labels:
            squares += float((frame.labels["forces"] ** 2).sum())
            components += frame.labels["forces"].size
    if isolated is None and not compositions:
        shifts = dict.fromkeys(elements, 0.0)
    else:
        shifts = element_shifts(compositions, isolated)
    above = compositions.above(shifts)
    scale = (squares / components) ** 0.5 if components else float(above.std()) if len(above) else 0.0
    if isolated is not None and len(above):
        # Isolated atoms leave the binding energy to the network; its mean per atom is better put in the shifts.
        shifts = {e: s + float(above.mean()) for e, s in shifts.items()}
    return Statistics(shifts, scale if scale > 1e-6 else 1.0, edges / max(atoms, 1))
