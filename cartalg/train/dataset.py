"""Labelled frames with their graphs, and the split of a configuration's files into training and validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from cartalg.data.frames import DataError, Frame, read_frames, require_labels, split_isolated
from cartalg.data.graphs import Graph, build_graph, collate
from cartalg.data.indexed import IndexedFile
from cartalg.data.sequences import Chosen, Joined, Made
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

    frames: Sequence[Frame]
    graphs: Sequence[Graph]

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def build(
        cls,
        frames: Sequence[Frame],
        cutoff: float,
        elements: Sequence[str],
        progress: Callable[[], None] | None = None,
        on_disk: bool = False,
    ) -> "Dataset":
        """Find the neighbours of every frame: now, or when a frame is asked for if it stays on the disk.

        Raises:
            DataError: As `build_graph` does, and for a stress of a frame that is not periodic.
        """

        def find(number: int) -> Graph:
            frame = frames[number]
            graph = build_graph(frame.atoms, cutoff, elements, frame.source)
            if frame.stress is not None and not bool(torch.isfinite(graph.volume).all()):
                raise DataError(f"{frame.source}: has a stress, but is not periodic along all three axes")
            if progress:
                progress()
            return graph

        graphs: Sequence[Graph] = Made(find, len(frames))
        return cls(frames, graphs if on_disk else list(graphs))

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

    train: Sequence[Frame]
    valid: Sequence[Frame]
    test: Sequence[Frame]
    isolated: dict[str, float] | None

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Every element of the training and validation frames, by atomic number."""
        numbers = {int(z) for part in (self.train, self.valid) for f in part for z in f.atoms.numbers}
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

    def opened(file: str, weight: float = 1.0) -> tuple[Sequence[Frame], Sequence[int] | None]:
        """Frames of a file, and their sizes if they stay on the disk."""
        if not data.on_disk:
            return [replace(f, weight=weight) for f in read_frames(folder / file, config.keys)], None
        indexed = IndexedFile(folder / file, config.keys, weight)
        return indexed, indexed.atoms.tolist()

    raw, pools, isolated = [], [], dict[str, float]()
    for chosen in data.sets:
        frames, sizes = opened(chosen.file, chosen.weight)
        others, isolated = split_isolated(frames, sizes, isolated)
        raw.append(frames)
        pools.append(_choose(others, chosen.count, seed, chosen.file))
    everything, pool = Joined(raw), Joined(pools)
    file = " and ".join(chosen.file for chosen in data.sets)
    if data.isolated_atoms:
        _, more = split_isolated([_as_isolated(f) for f in read_frames(folder / data.isolated_atoms, config.keys)])
        isolated = {**isolated, **more}
    train: Sequence[Frame]
    valid: Sequence[Frame]
    test: Sequence[Frame] = []
    if data.valid:
        valid, _ = split_isolated(*opened(data.valid))
        train = _choose(pool, data.train_count, seed, file)
        if data.train_numbers:
            train = _numbered(everything, folder / data.train_numbers, file)
    elif data.valid_numbers:
        if not data.train_numbers:
            raise DataError("valid_numbers needs train_numbers as well, so that no frame is in both")
        train = _numbered(everything, folder / data.train_numbers, file)
        valid = _numbered(everything, folder / data.valid_numbers, file)
        shared = {*read_numbers(folder / data.train_numbers)} & {*read_numbers(folder / data.valid_numbers)}
        if shared:
            raise DataError(f"{len(shared)} frames are both in {data.train_numbers} and in {data.valid_numbers}")
    else:
        train, valid, test = _draw(pool, data, seed, file)
    if data.test:
        test, sizes = opened(data.test)
        if data.test_numbers:
            test, sizes = _numbered(test, folder / data.test_numbers, data.test), None
        test, _ = split_isolated(test, sizes)
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


def _numbered(frames: Sequence[Frame], path: Path, file: str) -> Sequence[Frame]:
    numbers = read_numbers(path)
    wrong = [n for n in numbers if n >= len(frames)]
    if wrong:
        raise DataError(f"{path}: frame {wrong[0]} asked for, but {file} has frames 0 to {len(frames) - 1}")
    return Chosen(frames, numbers)


def _choose(pool: Sequence[Frame], count: int | None, seed: int, file: str) -> Sequence[Frame]:
    if count is None:
        return pool
    if count > len(pool):
        raise DataError(f"train_count is {count}, but {file} has {len(pool)} frames")
    order = np.random.default_rng(seed).permutation(len(pool))
    return Chosen(pool, sorted(order[:count]))


def _draw(pool: Sequence[Frame], data: DataConfig, seed: int, file: str) -> list[Sequence[Frame]]:
    """Training, validation and test frames; the test frames are the same whatever the other counts."""
    test_count, left = data.test_count or 0, len(pool) - (data.test_count or 0)
    valid_count = data.valid_count or max(1, left // 10)
    train_count = data.train_count or left - valid_count
    if train_count < 1 or train_count + valid_count > left:
        more = f" and {test_count} to test on" if test_count else ""
        raise DataError(
            f"{file} has {len(pool)} frames, not {train_count} to train and {valid_count} to validate on{more}"
        )
    order = np.random.default_rng(seed).permutation(len(pool))
    drawn = order[:train_count], order[train_count : train_count + valid_count], order[left:]
    return [Chosen(pool, sorted(numbers)) for numbers in drawn]


def _as_isolated(frame: Frame) -> Frame:
    if len(frame.atoms) != 1:
        raise DataError(f"{frame.source}: a file of isolated atoms holds one atom a frame, this has {len(frame.atoms)}")
    return Frame(frame.atoms, frame.energy, frame.forces, frame.stress, frame.source, True)
