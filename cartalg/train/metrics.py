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
class TensorValues:
    """Reference and predicted components of one tensor property, in the file's units."""

    reference: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)

    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """(reference, predicted), rows [.., components]."""
        return np.concatenate(self.reference), np.concatenate(self.predicted)

    def errors(self) -> dict[str, float]:
        """MAE, RMSE, and RMSE relative to the spread of each reference component about its mean, in percent."""
        reference, predicted = self.pair()
        difference = predicted - reference
        rmse = float(np.sqrt((difference**2).mean()))
        spread = float(np.sqrt(((reference - reference.mean(0)) ** 2).mean()))
        relative = 100 * rmse / spread if spread else float("nan")
        return {"mae": float(np.abs(difference).mean()), "rmse": rmse, "relative_rmse_percent": relative}


@dataclass
class Comparison:
    """Reference and predicted values of each quantity, flat, in eV and angstrom; tensor properties by name."""

    reference: dict[str, list[np.ndarray]] = field(default_factory=dict)
    predicted: dict[str, list[np.ndarray]] = field(default_factory=dict)
    tensors: dict[str, TensorValues] = field(default_factory=dict)

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
        for name, values in self.tensors.items():
            result |= {f"{name}_{measure}": value for measure, value in values.errors().items()}
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
        forces = any(f.forces is not None for f in chosen)
        prediction = model(batch, forces=forces, virial=with_stress, properties=True)
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
            for name in frame.tensors.keys() & prediction.properties.keys():
                values, label = prediction.properties[name], frame.tensors[name]
                own = values[n : n + 1] if len(values) == len(chosen) else values[first : first + count]
                known = result.tensors.setdefault(name, TensorValues())
                known.reference.append(label.reshape(len(label), -1))
                known.predicted.append(own.double().numpy().reshape(len(label), -1))
            first += count
        if progress:
            progress(min(start + batch_size, len(frames)))
    return result
