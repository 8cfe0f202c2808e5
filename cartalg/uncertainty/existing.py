"""Measure the uncertainty of a run that lies there, or of a model file with any labelled frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from cartalg.data.dataset import Dataset
from cartalg.data.frames import DataError, read_frames, require_labels, split_isolated
from cartalg.model import Potential
from cartalg.quantities import QUANTITIES, find
from cartalg.train.checkpoint import CHECKPOINT_FILE, load_model, members, read_tensors
from cartalg.train.config import Config, ConfigError, load_config, parse_config
from cartalg.train.run import build_dataset
from cartalg.train.split import load_split
from cartalg.uncertainty.assess import Assessment, assess
from cartalg.uncertainty.committee import Predictor
from cartalg.uncertainty.fit import BATCH, calibrate, fit
from cartalg.uncertainty.measure import uncertainty_file


@dataclass(frozen=True)
class Measured:
    """How a run's uncertainty compares with the errors that it is scaled by.

    Attributes:
        files: What was written.
        train, valid: Numbers of frames.
        assessment: On the validation frames.
    """

    files: list[Path]
    train: int
    valid: int
    assessment: Assessment


@dataclass(frozen=True)
class Source:
    """Where the frames of a run are.

    Attributes:
        config: Of the run; by default what its checkpoint holds.
        data_dir: Where the paths in it start; by default the configuration's folder.
        train, valid: Files of labelled frames, in place of a configuration's.
    """

    config: Path | None = None
    data_dir: Path | None = None
    train: Sequence[Path] = ()
    valid: Sequence[Path] = ()


def measure_run(run: Path, source: Source, backend: str, bar: Progress) -> Measured:
    """Measure a run's uncertainty, of each of a committee's members and of the committee, and write it there.

    Args:
        run: Folder of a training run, of a committee too, or a model file.
        source: Where the frames that it was trained and validated on are.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        bar: Progress.
    Raises:
        FileNotFoundError, ConfigError, DataError, CheckpointError: For bad input; the message says which.
    """
    places = members(run)
    models = [load_model(place, backend) for place in places]
    train, valid, learned = _frames(places[0], source, models[0], bar)
    files = []
    for place, model in zip(places, models, strict=True):
        task = bar.add_task(f"uncertainty, {place.name}", total=2 * (len(train) + len(valid)), note="")
        found = fit(model, train, valid, learned, lambda task=task: bar.advance(task))  # type: ignore[misc]
        files.append(uncertainty_file(place))
        found.write(files[-1])
    if len(models) > 1:
        task = bar.add_task("committee", total=len(valid), note="")
        files.append(calibrate(run, valid, backend, lambda: bar.advance(task)).write(run))
    return Measured(files, len(train), len(valid), assess(Predictor.open(run, backend), valid, BATCH))


def _frames(run: Path, source: Source, model: Potential, bar: Progress) -> tuple[Dataset, Dataset, list[str]]:
    """Training and validation frames, and what a model has learnt of them."""
    if bool(source.train) != bool(source.valid):
        raise DataError("give both --train and --valid: distances are from the one, errors are those of the other")
    cutoff, elements = model.config.cutoff, model.elements
    if source.train:
        quantities, parts = QUANTITIES[:2], []
        for files in (source.train, source.valid):
            frames, _ = split_isolated([f for file in files for f in read_frames(file, quantities)])
            parts.append(frames)
        learned = [q.name for q in quantities if any(q.name in f.labels for f in parts[1])]
        if not learned:
            raise DataError(f"{source.valid[0]}: no frame has an energy or forces, which --valid needs")
        require_labels(parts[1], [find(name) for name in learned])
        train, valid = (
            build_dataset(f, cutoff, elements, quantities, bar, what)
            for f, what in zip(parts, ("training", "validation"), strict=True)
        )
        return train, valid, learned
    config, folder = _config(run, source)
    split, on_disk = load_split(config, folder), config.data.on_disk
    train = build_dataset(split.train, cutoff, elements, config.quantities, bar, "training", on_disk)
    valid = build_dataset(split.valid, cutoff, elements, config.quantities, bar, "validation", on_disk)
    return train, valid, [quantity.name for quantity in config.learned]


def _config(run: Path, source: Source) -> tuple[Config, Path]:
    """The configuration, and where its paths start."""
    if source.config is not None:
        return load_config(source.config), source.data_dir or source.config.parent
    checkpoint = run / CHECKPOINT_FILE
    if not checkpoint.is_file():
        raise ConfigError(f"{run} holds no checkpoint with a configuration: give --config, or --train and --valid")
    if source.data_dir is None:
        raise ConfigError("give --data-dir, the folder where the run's data paths start, or --config")
    _, description = read_tensors(checkpoint)
    return parse_config(description["config"], str(checkpoint)), source.data_dir
