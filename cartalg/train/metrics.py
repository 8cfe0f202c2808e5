"""Errors of a model on labelled frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from cartalg.data.frames import Frame
from cartalg.data.graphs import Graph, collate
from cartalg.model import Potential

#: Quantity -> (unit of the report, factor from eV and angstrom)
UNITS = {
    "energy": ("meV", 1e3),
    "energy_per_atom": ("meV/atom", 1e3),
    "forces": ("meV/A", 1e3),
    "stress": ("meV/A^3", 1e3),
}
UNIT_SUFFIX = {"energy": "meV", "energy_per_atom": "meV_per_atom", "forces": "meV_per_A", "stress": "meV_per_A3"}


@dataclass
class Comparison:
    """Reference and predicted values of each quantity, flat, in eV and angstrom."""

    reference: dict[str, list[np.ndarray]] = field(default_factory=dict)
    predicted: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, quantity: str, reference: object, predicted: object) -> None:
        """Append values of a quantity."""
        self.reference.setdefault(quantity, []).append(np.ravel(np.asarray(reference, dtype=float)))
        self.predicted.setdefault(quantity, []).append(np.ravel(np.asarray(predicted, dtype=float)))

    def pair(self, quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """(reference, predicted), each concatenated."""
        return np.concatenate(self.reference[quantity]), np.concatenate(self.predicted[quantity])

    def errors(self) -> dict[str, float]:
        """MAE and RMSE of each quantity, e.g. ``forces_rmse_meV_per_A``: units in the keys."""
        result = {}
        for quantity in self.reference:
            reference, predicted = self.pair(quantity)
            difference, factor = predicted - reference, UNITS[quantity][1]
            result[f"{quantity}_mae_{UNIT_SUFFIX[quantity]}"] = float(np.abs(difference).mean() * factor)
            result[f"{quantity}_rmse_{UNIT_SUFFIX[quantity]}"] = float(np.sqrt((difference**2).mean()) * factor)
        return result


def compare(
    model: Potential,
    frames: Sequence[Frame],
    graphs: Sequence[Graph],
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Predict labelled frames and put predictions beside references; only labels that are there are compared.

    Args:
        model: The potential.
        frames, graphs: Frames and their graphs, in one order.
        batch_size: Frames at a time.
        progress: Called with the number of frames done after each batch.
    """
    result = Comparison()
    for start in range(0, len(frames), batch_size):
        chosen = frames[start : start + batch_size]
        batch = collate(graphs[start : start + batch_size])
        with_stress = any(f.stress is not None for f in chosen)
        prediction = model(batch, forces=any(f.forces is not None for f in chosen), virial=with_stress)
        first = 0
        for n, frame in enumerate(chosen):
            count = len(frame.atoms)
            energy = float(prediction.energy[n])
            if frame.energy is not None:
                result.add("energy", frame.energy, energy)
                result.add("energy_per_atom", frame.energy / count, energy / count)
            if frame.forces is not None and prediction.forces is not None:
                result.add("forces", frame.forces, prediction.forces[first : first + count].detach().numpy())
            if frame.stress is not None and prediction.virial is not None and torch.isfinite(batch.volume[n]):
                stress = prediction.virial[n].double().detach() / batch.volume[n]
                upper = np.triu_indices(3)
                result.add("stress", frame.stress[upper], stress.numpy()[upper])
            first += count
        if progress:
            progress(min(start + batch_size, len(frames)))
    return result
