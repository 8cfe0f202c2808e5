"""Labelled frames with their graphs, in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cartalg.data.frames import DataError, Frame
from cartalg.data.graphs import Graph, build_graph, collate
from cartalg.data.lazy import LazyDataset, Subset
from cartalg.quantities import QUANTITIES, Quantity


@dataclass(frozen=True)
class Labels:
    """Labels of a batch, of each quantity that is looked for, by its name.

    Attributes:
        values: Of the frames that have one, one after the other, float64 [rows, 3, ..].
        has: Which frames have one, bool [frames].
        weight: Of each frame in the loss, float64 [frames].
    """

    values: dict[str, Tensor]
    has: dict[str, Tensor]
    weight: Tensor

    @classmethod
    def of(cls, frames: Sequence[Frame], quantities: Sequence[Quantity]) -> "Labels":
        """Put labels of frames one after the other."""
        values, has = {}, {}
        for quantity in quantities:
            present = [f.labels[quantity.name] for f in frames if quantity.name in f.labels]
            values[quantity.name] = torch.from_numpy(np.concatenate([np.zeros((0, *[3] * quantity.order)), *present]))
            has[quantity.name] = torch.tensor([quantity.name in f.labels for f in frames])
        return cls(values, has, torch.tensor([f.weight for f in frames], dtype=torch.float64))


@dataclass(frozen=True)
class Dataset:
    """Frames, their graphs, and the quantities that their labels are of."""

    frames: Sequence[Frame]
    graphs: Sequence[Graph]
    quantities: Sequence[Quantity] = QUANTITIES

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def build(
        cls,
        frames: Sequence[Frame],
        cutoff: float,
        elements: Sequence[str],
        quantities: Sequence[Quantity] = QUANTITIES,
        progress: Callable[[], None] | None = None,
        on_disk: bool = False,
    ) -> "Dataset":
        """Find the neighbours of every frame: now, or when a frame is asked for if it stays on the disk.

        Raises:
            DataError: As `build_graph` does, and for a label that needs a cell of a frame that is not periodic.
        """

        def find(number: int) -> Graph:
            frame = frames[number]
            graph = build_graph(frame.atoms, cutoff, elements, frame.source)
            needy = [q.name for q in quantities if q.per_volume and q.name in frame.labels]
            if needy and not bool(torch.isfinite(graph.volume).all()):
                raise DataError(f"{frame.source}: has a {needy[0]}, but is not periodic along all three axes")
            if progress:
                progress()
            return graph

        graphs: Sequence[Graph] = LazyDataset(find, len(frames))
        return cls(frames, graphs if on_disk else list(graphs), quantities)

    def part(self, numbers: Sequence[int]) -> "Dataset":
        """Some of the frames with their graphs, in this order; nothing is copied."""
        return Dataset(Subset(self.frames, numbers), Subset(self.graphs, numbers), self.quantities)

    def batch(self, numbers: Sequence[int]) -> tuple[Graph, Labels]:
        """Graph and labels of some frames."""
        frames = [self.frames[n] for n in numbers]
        return collate([self.graphs[n] for n in numbers]), Labels.of(frames, self.quantities)
