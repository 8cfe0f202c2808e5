"""Found errors beside predicted ones: of energies and of forces, frame by frame and atom by atom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cartalg.data.dataset import Dataset
from cartalg.data.graphs import Graph
from cartalg.model import Prediction
from cartalg.uncertainty.committee import Predictor
from cartalg.uncertainty.measure import Spread

Array = np.ndarray[Any, Any]
#: Bins of a reliability curve, each with as many values.
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Errors beside the standard deviations that were predicted for them.

    Attributes:
        errors: [n, components].
        deviations: Of each component, [n].
    """

    errors: Array
    deviations: Array

    @property
    def sizes(self) -> Array:
        """Root mean square of each error's components, [n]."""
        return np.sqrt((self.errors**2).mean(1))  # type: ignore[no-any-return]

    @property
    def z(self) -> Array:
        """Errors over standard deviations, [n, components]."""
        return self.errors / self.deviations[:, None]  # type: ignore[no-any-return]

    @property
    def scale(self) -> float:
        """The root mean square of z: 1 if errors are as large as predicted, more if they are larger."""
        return float(np.sqrt((self.z**2).mean()))

    @property
    def likelihood(self) -> float:
        """Mean of -log(likelihood) of the errors, in eV or eV/angstrom, normal with these deviations."""
        logarithms = np.log(2 * np.pi * self.deviations**2)[:, None]
        return float((logarithms + self.z**2).mean() / 2)

    @property
    def rank(self) -> float:
        """Spearman's rank correlation of predicted and found errors; NaN of fewer than two."""
        if len(self.sizes) < 2:
            return float("nan")
        one, other = (np.argsort(np.argsort(values, kind="stable")) for values in (self.deviations, self.sizes))
        return float(np.atleast_2d(np.corrcoef(one, other))[0, 1])

    def coverage(self, levels: Array) -> Array:
        """Of each confidence level [n], the part of all errors that lie within its central interval, [n]."""
        sizes = np.sort(np.abs(self.z).ravel())
        limits = torch.special.ndtri(torch.from_numpy((1 + levels) / 2)).numpy()
        return np.searchsorted(sizes, limits, side="right") / len(sizes)  # type: ignore[no-any-return]

    @property
    def miscalibration(self) -> float:
        """Area between the curve of `coverage` and the diagonal: 0 is perfect, 0.5 the worst."""
        levels = np.linspace(0, 1, 201)[1:-1]
        return float(np.abs(self.coverage(levels) - levels).mean())

    def bins(self) -> tuple[Array, Array]:
        """Predicted and found errors, root mean squares of groups of like predictions: both [bins], rising."""
        groups = np.array_split(np.argsort(self.deviations, kind="stable"), min(BINS, len(self.deviations)))
        means = [(np.sqrt((self.deviations[g] ** 2).mean()), np.sqrt((self.sizes[g] ** 2).mean())) for g in groups]
        predicted, found = np.array(means).T
        return predicted, found

    def figures(self) -> dict[str, float]:
        """All of these numbers, by name; those that are defined."""
        found = {
            "error_over_std": self.scale,
            "negative_log_likelihood": self.likelihood,
            "miscalibration_area": self.miscalibration,
            "rank_correlation": self.rank,
        }
        return {name: value for name, value in found.items() if np.isfinite(value)}


@dataclass(frozen=True)
class Assessment:
    """A predictor's own uncertainty, set against labelled frames.

    Attributes:
        reliability: Of ``"energy"`` (whole frames, in eV) and ``"forces"`` (eV/angstrom), where there are both.
        grades: Largest extrapolation grade of each frame's atoms, [frames]; None without.
    """

    reliability: dict[str, Reliability]
    grades: Array | None


def together(parts: Sequence[Assessment]) -> Assessment:
    """Several sets of frames as one."""
    kept = {}
    for name in dict.fromkeys(name for part in parts for name in part.reliability):
        found = [part.reliability[name] for part in parts if name in part.reliability]
        kept[name] = Reliability(
            np.concatenate([one.errors for one in found]), np.concatenate([one.deviations for one in found])
        )
    grades = [part.grades for part in parts if part.grades is not None]
    return Assessment(kept, np.concatenate(grades) if len(grades) == len(parts) else None)


class Watched:
    """A predictor, called as a model is, that remembers its uncertainty of all that it was asked for.

    Args:
        predictor: It.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self._found = predictor, list[tuple[Graph, Prediction, Spread]]()

    def __call__(self, graph: Graph, **asked: bool) -> Prediction:
        """The prediction. Keywords as of the model's call."""
        prediction, spread = self.predictor.predict(graph, **asked)
        self._found.append((graph, prediction, spread))
        return prediction

    def assess(self, dataset: Dataset) -> Assessment:
        """Set what was remembered, of all of a dataset's frames in their order, against their labels."""
        errors: dict[str, list[Array]] = {"energy": [], "forces": []}
        deviations: dict[str, list[Array]] = {"energy": [], "forces": []}
        grades: list[float] | None = []
        start = 0
        for graph, prediction, spread in self._found:
            frames = [dataset.frames[n] for n in range(start, start + graph.n_frames)]
            start += graph.n_frames
            counts = graph.atoms_per_frame.tolist()
            for name, single in (("energy", True), ("forces", False)):
                predicted, spreads = getattr(prediction, name), getattr(spread, name)
                if predicted is None or spreads is None:
                    continue
                sizes = [1] * len(frames) if single else counts
                of_frames = predicted.double().reshape(len(predicted), -1).split(sizes), spreads.split(sizes)
                for frame, values, own in zip(frames, *of_frames, strict=True):
                    if name in frame.labels:
                        errors[name].append(values.numpy() - frame.labels[name].reshape(len(values), -1))
                        deviations[name].append(own.numpy())
            if spread.grades is None:
                grades = None
            elif grades is not None:
                grades += [float(own.max()) for own in spread.grades.split(counts)]
        kept = {}
        for name, found in errors.items():
            if found:
                joined, own = np.concatenate(found), np.concatenate(deviations[name])
                known = np.isfinite(own) & (own > 0)
                if known.any():
                    kept[name] = Reliability(joined[known], own[known])
        return Assessment(kept, None if grades is None else np.array(grades))


def assess(
    predictor: Predictor, dataset: Dataset, batch_size: int = 16, progress: Callable[[], None] | None = None
) -> Assessment:
    """Predict all frames and set uncertainties against the errors.

    Args:
        predictor: What predicts.
        dataset: Labelled frames.
        batch_size: Frames at a time.
        progress: Called for each frame.
    """
    watched = Watched(predictor)
    for start in range(0, len(dataset), batch_size):
        graph, _ = dataset.batch(range(start, min(start + batch_size, len(dataset))))
        watched(graph)
        for _ in range(graph.n_frames if progress else 0):
            progress()  # type: ignore[misc]
    return watched.assess(dataset)
