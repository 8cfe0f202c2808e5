"""Labelled frames with their graphs, and the split of a configuration's files into training and validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cartalg.data.frames import DataError, Frame, read_frames, require_labels, split_isolated
from cartalg.data.graphs import Graph, build_graph, collate
from cartalg.train.config import Config, DataConfig


@dataclass(frozen=True)
class Labels:
    """Labels of a batch, float64; the masks say which frames have them.

    Attributes:
        energy [frames], forces [atoms, 3], stress [frames, 3, 3], has_energy, has_forces, has_stress [frames].
        weight: Of each frame in the loss, shape [frames].
        tensors: By name (values of the labelled frames, one after the other; which frames have one [frames]).
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor
    has_energy: Tensor
    has_forces: Tensor
    has_stress: Tensor
    weight: Tensor
    tensors: dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Dataset:
    """Frames and their graphs."""

    frames: list[Frame]
    graphs: list[Graph]

    @classmethod
    def build(
        cls, frames: list[Frame], cutoff: float, elements: Sequence[str], progress: Callable[[], None] | None = None
    ) -> "Dataset":
        """Find the neighbours of every frame. Raises DataError as `build_graph` does."""
        graphs = []
        for frame in frames:
            graph = build_graph(frame.atoms, cutoff, elements, frame.source)
            if frame.stress is not None and not bool(torch.isfinite(graph.volume).all()):
                raise DataError(f"{frame.source}: has a stress, but is not periodic along all three axes")
            graphs.append(graph)
            if progress:
                progress()
        return cls(frames, graphs)

    def batch(self, numbers: Sequence[int]) -> tuple[Graph, Labels]:
        """Graph and labels of some frames."""
        frames = [self.frames[n] for n in numbers]

        def stack(name: str, empty: np.ndarray) -> Tensor:
            return torch.from_numpy(np.stack([empty if getattr(f, name) is None else getattr(f, name) for f in frames]))

        def has(name: str) -> Tensor:
            return torch.tensor([getattr(f, name) is not None for f in frames])

        forces = [np.zeros((len(f.atoms), 3)) if f.forces is None else f.forces for f in frames]
        labels = Labels(
            stack("energy", np.array(0.0)),
            torch.from_numpy(np.concatenate(forces)),
            stack("stress", np.zeros((3, 3))),
            has("energy"),
            has("forces"),
            has("stress"),
            torch.tensor([f.weight for f in frames], dtype=torch.float64),
            self._tensors(frames),
        )
        return collate([self.graphs[n] for n in numbers]), labels

    @staticmethod
    def _tensors(frames: list[Frame]) -> dict[str, tuple[Tensor, Tensor]]:
        found = {}
        for name in {name for f in frames for name in f.tensors}:
            values = np.concatenate([f.tensors[name] for f in frames if name in f.tensors])
            found[name] = (torch.from_numpy(values), torch.tensor([name in f.tensors for f in frames]))
        return found


@dataclass(frozen=True)
class Split:
    """Frames of a run: training, validation, test, and the isolated atoms' energies if they are used as shifts."""

    train: list[Frame]
    valid: list[Frame]
    test: list[Frame]
    isolated: dict[str, float] | None

    @property
    def elements(self) -> tuple[str, ...]:
        """Every element of the training and validation frames, by atomic number."""
        numbers = {int(z) for f in (*self.train, *self.valid) for z in f.atoms.numbers}
        from ase.data import chemical_symbols

        return tuple(chemical_symbols[z] for z in sorted(numbers))


def load_split(config: Config, folder: Path) -> Split:
    """Read and divide the files of a configuration.

    Args:
        config: The run.
        folder: Where relative paths start.
    Raises:
        DataError: If labels are missing, the numbers asked for are not there, or a set would be empty or overlap.
        FileNotFoundError: If a file is missing.
    """
    data, seed = config.data, config.training.seed
    everything: list[Frame] = []
    for chosen in data.sets:
        frames = [replace(f, weight=chosen.weight) for f in read_frames(folder / chosen.file, config.keys)]
        if chosen.count is not None:
            frames = _choose(frames, chosen.count, seed, chosen.file)
        everything += frames
    pool, isolated = split_isolated(everything)
    file = " and ".join(chosen.file for chosen in data.sets)
    if data.isolated_atoms:
        _, more = split_isolated([_as_isolated(f) for f in read_frames(folder / data.isolated_atoms, config.keys)])
        isolated = {**isolated, **more}
    if data.valid:
        valid, _ = split_isolated(read_frames(folder / data.valid, config.keys))
        train = _choose(pool, data.train_count, seed, file)
        if data.train_numbers:
            train = _numbered(everything, folder / data.train_numbers, file)
    elif data.valid_numbers:
        if not data.train_numbers:
            raise DataError("valid_numbers needs train_numbers as well, so that no frame is in both")
        train = _numbered(everything, folder / data.train_numbers, file)
        valid = _numbered(everything, folder / data.valid_numbers, file)
        shared = {id(f) for f in train} & {id(f) for f in valid}
        if shared:
            raise DataError(f"{len(shared)} frames are both in {data.train_numbers} and in {data.valid_numbers}")
    else:
        train, valid = _draw(pool, data, seed, file)
    test: list[Frame] = []
    if data.test:
        numbers = read_numbers(folder / data.test_numbers) if data.test_numbers else None
        test, _ = split_isolated(read_frames(folder / data.test, config.keys, numbers))
    settings = config.training
    tensors = [p.name for p in config.model.properties if settings.property_weights.get(p.name, 1)]
    require_labels(train, *settings.learns, tensors)
    require_labels(valid, *settings.learns, tensors)
    return Split(train, valid, test, isolated or None)


def read_numbers(path: Path) -> list[int]:
    """Frame numbers, one a line. Raises DataError for a line that is no number, FileNotFoundError for no file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    numbers = []
    for place, line in enumerate(path.read_text().split("\n"), start=1):
        if line.strip():
            if not line.strip().isdigit():
                raise DataError(f"{path}, line {place}: {line.strip()!r} is not a frame number")
            numbers.append(int(line))
    return numbers


def _numbered(frames: list[Frame], path: Path, file: str) -> list[Frame]:
    numbers = read_numbers(path)
    wrong = [n for n in numbers if n >= len(frames)]
    if wrong:
        raise DataError(f"{path}: frame {wrong[0]} asked for, but {file} has frames 0 to {len(frames) - 1}")
    return [frames[n] for n in numbers]


def _choose(pool: list[Frame], count: int | None, seed: int, file: str) -> list[Frame]:
    if count is None:
        return pool
    if count > len(pool):
        raise DataError(f"train_count is {count}, but {file} has {len(pool)} frames")
    order = np.random.default_rng(seed).permutation(len(pool))
    return [pool[n] for n in sorted(order[:count])]


def _draw(pool: list[Frame], data: DataConfig, seed: int, file: str) -> tuple[list[Frame], list[Frame]]:
    valid_count = data.valid_count or max(1, len(pool) // 10)
    train_count = data.train_count or len(pool) - valid_count
    if train_count < 1 or train_count + valid_count > len(pool):
        raise DataError(f"{file} has {len(pool)} frames, not {train_count} to train and {valid_count} to validate on")
    order = np.random.default_rng(seed).permutation(len(pool))
    train = [pool[n] for n in sorted(order[:train_count])]
    return train, [pool[n] for n in sorted(order[train_count : train_count + valid_count])]


def _as_isolated(frame: Frame) -> Frame:
    if len(frame.atoms) != 1:
        raise DataError(f"{frame.source}: a file of isolated atoms holds one atom a frame, this has {len(frame.atoms)}")
    return Frame(frame.atoms, frame.energy, frame.forces, frame.stress, frame.source, True)
