"""The files of a configuration, divided into frames to train, validate and test on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from cartalg.data.frames import DataError, Frame, read_frames, read_numbers, require_labels, split_isolated
from cartalg.data.indexed import IndexedFile
from cartalg.data.lazy import ConcatDataset, Subset
from cartalg.train.config import Config, DataConfig


@dataclass(frozen=True)
class Split:
    """Frames of a run: training, validation, test, and the isolated atoms' energies if they are used as shifts.

    Of a second set `replay` to train on, and `replay_valid` to validate on.
    """

    train: Sequence[Frame]
    valid: Sequence[Frame]
    test: Sequence[Frame]
    isolated: dict[str, float] | None
    replay: Sequence[Frame] = ()
    replay_valid: Sequence[Frame] = ()

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
            return [replace(f, weight=weight) for f in read_frames(folder / file, config.quantities)], None
        indexed = IndexedFile(folder / file, config.quantities, weight)
        return indexed, indexed.atoms.tolist()

    raw, pools, isolated = [], [], dict[str, float]()
    for chosen in data.sets:
        frames, sizes = opened(chosen.file, chosen.weight)
        others, isolated = split_isolated(frames, sizes, isolated)
        raw.append(frames)
        pools.append(_choose(others, chosen.count, seed, chosen.file))
    everything, pool = ConcatDataset(raw), ConcatDataset(pools)
    file = " and ".join(chosen.file for chosen in data.sets)
    if data.isolated_atoms:
        _, more = split_isolated(
            [_as_isolated(f) for f in read_frames(folder / data.isolated_atoms, config.quantities)]
        )
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
    replay: Sequence[Sequence[Frame]] = [], []
    if data.replay:
        again, _ = split_isolated(*opened(data.replay.file, data.replay.weight))
        count = data.replay.valid_count or max(1, len(again) // 10)
        if count >= len(again):
            raise DataError(f"{data.replay.file} has {len(again)} frames, not {count} to validate on and more to train")
        order = np.random.default_rng(seed).permutation(len(again))
        replay = [Subset(again, sorted(numbers)) for numbers in (order[count:], order[:count])]
    for frames in (train, valid, *replay):
        require_labels(frames, config.learned)
    return Split(train, valid, test, isolated or None, *replay)


def _numbered(frames: Sequence[Frame], path: Path, file: str) -> Sequence[Frame]:
    numbers = read_numbers(path)
    wrong = [n for n in numbers if n >= len(frames)]
    if wrong:
        raise DataError(f"{path}: frame {wrong[0]} asked for, but {file} has frames 0 to {len(frames) - 1}")
    return Subset(frames, numbers)


def _choose(pool: Sequence[Frame], count: int | None, seed: int, file: str) -> Sequence[Frame]:
    if count is None:
        return pool
    if count > len(pool):
        raise DataError(f"train_count is {count}, but {file} has {len(pool)} frames")
    order = np.random.default_rng(seed).permutation(len(pool))
    return Subset(pool, sorted(order[:count]))


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
    return [Subset(pool, sorted(numbers)) for numbers in drawn]


def _as_isolated(frame: Frame) -> Frame:
    if len(frame.atoms) != 1:
        raise DataError(f"{frame.source}: a file of isolated atoms holds one atom a frame, this has {len(frame.atoms)}")
    return replace(frame, isolated=True)
