"""Replay: frames of a second data set drawn into each epoch, so that a fine-tuned model keeps what it knew."""

from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cartalg.data.dataset import Dataset
from cartalg.data.frames import Frame
from cartalg.data.lazy import ConcatDataset, LazyDataset


@dataclass(frozen=True)
class Replay:
    """The second set of a run.

    Attributes:
        train: Frames to draw from.
        valid: Frames that are never trained on, to validate on.
        count: Frames in each epoch.
        share: Of their errors in the loss that selects the best model, for each part of the first set's.
    """

    train: Dataset
    valid: Dataset
    count: int
    share: float

    def draw(self, generator: torch.Generator) -> Tensor:
        """Numbers of the frames of an epoch: none twice before all have been drawn."""
        found, size = [], len(self.train)
        for start in range(0, self.count, size):
            found.append(torch.randperm(size, generator=generator)[: self.count - start])
        return torch.cat(found)

    def moved(self, moves: dict[str, float]) -> "Replay":
        """With energies moved by so many eV for each atom of an element: to the reference of another set."""
        if not any(moves.values()):
            return self
        return replace(self, train=_moved(self.train, moves), valid=_moved(self.valid, moves))


def joined(first: Dataset, second: Dataset) -> Dataset:
    """The frames of both, one set after the other."""
    frames, graphs = ConcatDataset([first.frames, second.frames]), ConcatDataset([first.graphs, second.graphs])
    return Dataset(frames, graphs, first.quantities)


def _moved(dataset: Dataset, moves: dict[str, float]) -> Dataset:
    def of(number: int) -> Frame:
        frame = dataset.frames[number]
        if "energy" not in frame.labels:
            return frame
        counts = Counter(frame.atoms.get_chemical_symbols())
        move = sum(moves.get(element, 0.0) * count for element, count in counts.items())
        return replace(frame, labels={**frame.labels, "energy": frame.labels["energy"] + move})

    return replace(dataset, frames=LazyDataset(of, len(dataset)))
