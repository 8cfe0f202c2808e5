"""Errors of a model on labelled frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from cartalg.data.dataset import Dataset
from cartalg.model import Prediction
from cartalg.quantities import Quantity, Report, request


@dataclass
class Values:
    """Reference and predicted values beside each other, in the labels' unit."""

    reference: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)

    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """(reference, predicted), rows [.., components]."""
        return np.concatenate(self.reference), np.concatenate(self.predicted)

    def errors(self, report: Report) -> dict[str, float]:
        """MAE and RMSE; without a unit also RMSE relative to the spread of components about their means, in percent."""
        reference, predicted = self.pair()
        difference, factor = predicted - reference, report.unit.factor if report.unit else 1.0
        rmse = float(np.sqrt((difference**2).mean()) * factor)
        result = {report.key("mae"): float(np.abs(difference).mean() * factor), report.key("rmse"): rmse}
        if report.unit is None:
            spread = float(np.sqrt(((reference - reference.mean(0)) ** 2).mean()))
            result[report.key("relative_rmse_percent")] = 100 * rmse / spread if spread else float("nan")
        return result


@dataclass
class Comparison:
    """Reference and predicted values of all that errors are given of: of each quantity of which there are labels."""

    quantities: Sequence[Quantity]
    values: dict[Report, Values]

    @property
    def compared(self) -> dict[Report, Values]:
        """One for each quantity: what the loss and pictures are of."""
        return {q.compared: self.values[q.compared] for q in self.quantities if q.compared in self.values}

    def errors(self) -> dict[str, float]:
        """Errors under their keys, e.g. ``forces_rmse_meV_per_A``: units in the keys."""
        return {key: error for report, values in self.values.items() for key, error in values.errors(report).items()}

    @classmethod
    def joined(cls, parts: Sequence["Comparison"]) -> "Comparison":
        """Several comparisons of the same quantities, one after the other, as one."""
        found: dict[Report, Values] = {}
        for part in parts:
            for report, values in part.values.items():
                into = found.setdefault(report, Values())
                into.reference += values.reference
                into.predicted += values.predicted
        return cls(parts[0].quantities, found)


def compare(
    model: Callable[..., Prediction],
    dataset: Dataset,
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Predict labelled frames and put predictions beside references; only labels that are there are compared.

    Args:
        model: The potential.
        dataset: Frames with their graphs.
        batch_size: Frames at a time.
        progress: Called with the number of frames done after each batch.
    """
    found = {report: Values() for quantity in dataset.quantities for report in quantity.reports}
    for start in range(0, len(dataset), batch_size):
        stop = min(start + batch_size, len(dataset))
        graph, labels = dataset.batch(range(start, stop))
        wanted = [q for q in dataset.quantities if labels.has[q.name].any()]
        prediction = model(graph, **request(wanted))
        for quantity in wanted:
            rows = quantity.rows(labels.has[quantity.name], graph)
            predicted = quantity.predicted(prediction, graph, rows)
            if predicted is None:
                continue
            pair = _components(quantity, labels.values[quantity.name]), _components(quantity, predicted)
            for report in quantity.reports:
                divisor = graph.atoms_per_frame[rows, None].numpy() if report.per_atom else 1
                for known, values in zip((found[report].reference, found[report].predicted), pair, strict=True):
                    known.append(values / divisor)
        if progress:
            progress(stop)
    return Comparison(dataset.quantities, {report: values for report, values in found.items() if values.reference})


def _components(quantity: Quantity, values: Tensor) -> np.ndarray:
    """Components that errors are taken of, float64 [rows, components]."""
    array = values.detach().double().numpy()
    if quantity.symmetric:
        array = np.ascontiguousarray(array[:, *np.triu_indices(3)])  # sums to the last bit depend on the layout
    return array.reshape(len(array), -1)
