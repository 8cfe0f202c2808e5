"""The uncertainty of a trained model, from its training and validation frames; the calibration of a committee."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from cartalg.data.dataset import Dataset
from cartalg.model import Potential
from cartalg.train.checkpoint import fingerprint, load_committee
from cartalg.uncertainty.assess import assess
from cartalg.uncertainty.committee import Calibration, Predictor
from cartalg.uncertainty.density import Described, Moments
from cartalg.uncertainty.measure import Uncertainty

BATCH = 16
Progress = Callable[[], None]


def described(
    model: Potential, dataset: Dataset, numbers: range | list[int], progress: Progress | None = None
) -> Iterator[Described]:
    """Elements and features of the atoms of some frames, batch by batch, in order; `progress` for each frame."""
    for start in range(0, len(numbers), BATCH):
        graph, _ = dataset.batch(numbers[start : start + BATCH])
        prediction = model(graph, forces=False, descriptors=True)
        assert prediction.descriptors is not None
        yield graph.of_atoms, prediction.descriptors.flatten(1)
        for _ in range(graph.n_frames if progress else 0):
            progress()  # type: ignore[misc]


def fit(
    model: Potential, train: Dataset, valid: Dataset, learned: Collection[str], progress: Progress | None = None
) -> Uncertainty:
    """Measure what a model's training data cover, and scale the distance from them.

    Args:
        model: Trained.
        train: What it was trained on.
        valid: Labelled frames that it was not trained on.
        learned: What it was trained for: ``"energy"``, ``"forces"``; others get no uncertainty.
        progress: Called for each frame of both, twice.
    """
    moments = Moments(len(model.elements))
    for species, features in described(model, train, range(len(train)), progress):
        moments.add(species, features)
    density = moments.fit(described(model, valid, range(len(valid)), progress))
    farthest = torch.zeros(len(model.elements), dtype=torch.float64)
    for species, features in described(model, train, range(len(train)), progress):
        farthest.scatter_reduce_(0, species, density.distances(species, features), "amax")
    farthest[~density.mean[:, 0].isfinite()] = 1.0  # of elements that are infinitely far
    first = Uncertainty(fingerprint(model), density, farthest, 1.0, 1.0)
    for species, features in described(model, valid, range(len(valid))):
        distances = density.distances(species, features)
        farthest.scatter_reduce_(0, species, torch.where(distances.isfinite(), distances, 0.0), "amax")
    found = assess(Predictor([model], [first]), valid, BATCH, progress).reliability
    energy, forces = (found[n].scale if n in found and n in learned else None for n in ("energy", "forces"))
    return replace(first, energy=energy, forces=forces)


def calibrate(run: Path, valid: Dataset, backend: str = "auto", progress: Progress | None = None) -> Calibration:
    """The factors of a committee's standard deviations; arguments as of `fit`, the folder of its run first."""
    models = load_committee(run, backend)
    found = assess(Predictor(models, [None] * len(models)), valid, BATCH, progress).reliability
    return Calibration([fingerprint(m) for m in models], {name: one.scale for name, one in found.items()})
