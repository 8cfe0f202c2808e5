"""Runs and files: measure a run that lies there, choose frames of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from rich.progress import Progress

from cartalg.data.dataset import Dataset
from cartalg.data.frames import DataError, read_frames
from cartalg.files import whole
from cartalg.train.checkpoint import CheckpointError
from cartalg.uncertainty.committee import Predictor
from cartalg.uncertainty.fit import BATCH
from cartalg.uncertainty.selection import STRATEGIES, most_informative


@dataclass(frozen=True)
class Chosen:
    """A frame that is worth its label.

    Attributes:
        frame: Its number in the file.
        grade: The largest extrapolation grade of its atoms.
        energy_std: Of its energy in eV; None if not known.
        information: What it adds to the training data and the frames before it, in nats; None if not asked.
    """

    frame: int
    grade: float
    energy_std: float | None
    information: float | None


@dataclass(frozen=True)
class Selection:
    """The frames chosen of a file, in order, and the grades of all [frames]."""

    chosen: list[Chosen]
    grades: np.ndarray[Any, Any]


def select_frames(
    run: Path,
    files: Sequence[Path],
    count: int,
    output: Path,
    strategy: str,
    max_grade: float | None,
    seed: int,
    backend: str,
    bar: Progress,
) -> Selection:
    """Choose frames for labelling and write them, without labels, to extended XYZ.

    Args:
        run: Folder of a training run, of a committee too, or a model file, with its uncertainty.
        files: Candidates.
        count: How many to choose.
        output: What to write: ``frame`` (number, counted through all files), ``grade``, ``energy_std`` and
            ``information`` of each frame, ``grades`` of its atoms.
        strategy: One of `STRATEGIES`.
        max_grade: Leave out frames beyond that.
        seed: Of a random choice.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        bar: Progress.
    Raises:
        FileNotFoundError, DataError, CheckpointError, ValueError: For bad input; the message says which.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"no strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
    predictor = Predictor.open(run, backend)
    measure, model = predictor.measures[0], predictor.models[0]
    if measure is None or not predictor.graded:
        raise CheckpointError(f"{run} does not say how far atoms are from its training data: run `cartalg uncertainty`")
    frames = [frame for file in files for frame in read_frames(file, ())]
    task = bar.add_task("neighbours", total=len(frames), note="")
    dataset = Dataset.build(frames, model.config.cutoff, model.elements, (), lambda: bar.advance(task))
    bar.remove_task(task)
    task = bar.add_task("uncertainty", total=len(frames), note="")
    grades, energies, species, features = (list[torch.Tensor]() for _ in range(4))
    for start in range(0, len(frames), BATCH):
        graph, _ = dataset.batch(range(start, min(start + BATCH, len(frames))))
        prediction, spread = predictor.predict(graph, forces=False)
        if len(predictor.models) > 1:  # features are the first member's
            prediction = model(graph, forces=False, descriptors=True)
        counts = graph.atoms_per_frame.tolist()
        assert spread.grades is not None
        assert prediction.descriptors is not None
        grades += spread.grades.split(counts)
        species += graph.of_atoms.split(counts)
        features += prediction.descriptors.flatten(1).split(counts)
        energies += [spread.energy] if spread.energy is not None else []
        bar.update(task, completed=start + len(counts))
    largest = torch.stack([own.max() for own in grades])
    deviations = torch.cat(energies) if energies else None
    allowed = [n for n, grade in enumerate(largest.tolist()) if max_grade is None or grade <= max_grade]
    if count > len(allowed):
        beyond = "" if max_grade is None else f" of a grade up to {max_grade:g}"
        raise DataError(f"{' and '.join(map(str, files))}: {len(allowed)} frames{beyond}, not {count} to choose")
    information: dict[int, float] = {}
    if strategy == "information":
        task = bar.add_task("choosing", total=count, note="")
        for number, gain in islice(most_informative(measure.density, species, features, allowed), count):
            information[number] = gain
            bar.advance(task)
        numbers = list(information)
    elif strategy == "uncertainty":
        numbers = sorted(allowed, key=lambda n: -float(largest[n]))[:count]
    else:
        numbers = np.random.default_rng(seed).permutation(allowed)[:count].tolist()
    chosen = [
        Chosen(n, float(largest[n]), None if deviations is None else float(deviations[n]), information.get(n))
        for n in numbers
    ]
    images = [_scored(frames[one.frame].atoms, one, grades[one.frame].numpy()) for one in chosen]
    with whole(output) as temporary:
        ase.io.write(temporary, images, format="extxyz")
    return Selection(chosen, largest.numpy())


def _scored(atoms: Atoms, chosen: Chosen, grades: np.ndarray[Any, Any]) -> Atoms:
    """A copy with scores."""
    found = atoms.copy()
    found.info |= {name: value for name, value in vars(chosen).items() if value is not None}
    found.arrays["grades"] = grades
    return found
