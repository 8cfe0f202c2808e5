"""Whole runs: from a configuration to a trained model with its plots; from a model and a file to errors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from cartalg.data.coverage import COVERAGE_FILE, Coverage
from cartalg.data.dataset import Dataset
from cartalg.data.frames import DataError, Frame, groups_by, read_frames, read_numbers, split_isolated
from cartalg.model import Potential
from cartalg.quantities import Quantity
from cartalg.train.checkpoint import (
    CHECKPOINT_FILE,
    MEMBER,
    MODEL_FILE,
    CheckpointError,
    load_model,
    read_tensors,
    save_model,
)
from cartalg.train.config import Config, load_config
from cartalg.train.distributed import ProcessGroup
from cartalg.train.metrics import Comparison, compare
from cartalg.train.pairs import PAIRS_FILE, report_pairs
from cartalg.train.plots import learning_curve, parity
from cartalg.train.records import METRICS_FILE, read_metrics, write_json
from cartalg.train.replay import Replay, joined
from cartalg.train.split import Split, load_split
from cartalg.train.start import initial_model, moves, refit_shifts
from cartalg.train.trainer import Trainer
from cartalg.uncertainty.assess import Assessment, Watched, together
from cartalg.uncertainty.committee import Predictor
from cartalg.uncertainty.fit import calibrate, fit
from cartalg.uncertainty.measure import uncertainty_file
from cartalg.uncertainty.plots import calibration
from cartalg_codegen.backends.numba.workers import cores

Errors = dict[str, float]
#: Edges of a batch that another thread is worth its waiting for, with 32 channels.
EDGES_PER_THREAD = 2500


@dataclass(frozen=True)
class Run:
    """What the models of a committee have in common: data, place, processes and terminal.

    Attributes:
        config: As it was read; each member has a seed of its own.
        folder: Where paths in the configuration start.
        split: Frames.
        elements: Of the models.
        train, valid: Frames to train and validate on, with their graphs.
        replay: A second set.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        bar: Progress.
        group: This process among several.
    """

    config: Config
    folder: Path
    split: Split
    elements: tuple[str, ...]
    train: Dataset
    valid: Dataset
    replay: Replay | None
    coverage: Coverage
    backend: str
    bar: Progress
    group: ProcessGroup

    @classmethod
    def open(cls, config: Config, folder: Path, backend: str, bar: Progress) -> "Run":
        """Read the data and find neighbours. Raises as `train_run`."""
        group, split = ProcessGroup.join(), load_split(config, folder)
        elements = split.elements
        if config.training.start_from is not None:
            elements = load_model(folder / config.training.start_from, backend).elements

        def built(what: str, frames: Sequence[Frame]) -> Dataset:
            cutoff, on_disk = config.model.cutoff, config.data.on_disk
            return build_dataset(frames, cutoff, elements, config.quantities, bar, what, on_disk)

        train, valid, replay = built("training", split.train), built("validation", split.valid), None
        seen = train
        if chosen := config.data.replay:
            count = max(1, round(chosen.fraction * len(train)))
            again, held = built("replay", split.replay), built("replay, validation", split.replay_valid)
            replay, seen = Replay(again, held, count, count / len(train) * chosen.weight), joined(train, again)
        coverage = Coverage.of(seen.frames, seen.graphs, elements)
        return cls(config, folder, split, elements, train, valid, replay, coverage, backend, bar, group)


def build_dataset(
    frames: Sequence[Frame],
    cutoff: float,
    elements: tuple[str, ...],
    quantities: Sequence[Quantity],
    bar: Progress,
    what: str,
    on_disk: bool = False,
) -> Dataset:
    """Graphs of frames, under a progress bar."""
    task = bar.add_task(f"neighbours, {what}", total=len(frames), note="")
    progress = None if on_disk else lambda: bar.advance(task)
    dataset = Dataset.build(frames, cutoff, elements, quantities, progress, on_disk)
    bar.remove_task(task)
    return dataset


def train_run(
    config_path: Path,
    output: Path,
    data_dir: Path | None,
    restart: bool,
    backend: str,
    bar: Progress,
    on_epoch: Callable[[Errors], None] | None = None,
) -> dict[str, Errors]:
    """Train as a configuration says, or go on where the run stopped; plots and errors go to `output`.

    `on_epoch` is called with each epoch's row of metrics.csv.

    Returns:
        Errors of the best model on the validation frames and, if there are any, the test frames.
    Raises:
        ConfigError, DataError, CheckpointError, FileNotFoundError: For bad input; the message says which.
    """
    config = load_config(config_path)
    torch.set_num_threads(1)
    run = Run.open(config, data_dir or config_path.parent, backend, bar)
    torch.set_num_threads(config.training.threads or worthwhile_threads(config, run.train, run.group.size))
    if config.training.committee == 1:
        return _train_one(run, config, output, restart, on_epoch)
    results: dict[str, Errors] = {}
    for member in range(config.training.committee):
        # same frames, other weights and another order of frames
        own = config.training.model_copy(update={"seed": config.training.seed + 1000 * member})
        place = output / f"{MEMBER}{member}"
        trained = _train_one(run, config.model_copy(update={"training": own}), place, restart, on_epoch)
        results |= {f"{place.name} {k}": v for k, v in trained.items()}
    if run.group.first:
        calibrate(output, run.valid, backend).write(output)
    return results


def worthwhile_threads(config: Config, train: Dataset, processes: int = 1) -> int:
    """Threads that a training step has work for: one for every `EDGES_PER_THREAD`, as far as there are cores.

    Args:
        config: Batch size and channels.
        train: Whose first frames say how many edges a frame has.
        processes: That share cores and batches.
    """
    graphs = [train.graphs[n] for n in range(min(len(train), 32))]
    edges = sum(len(graph.vectors) for graph in graphs) / len(graphs) * min(config.training.batch_size, len(train))
    return threads_for(edges, config.model.channels, processes)


def threads_for(edges: float, channels: int, processes: int = 1) -> int:
    """Threads that a call for so many edges has work for, in one of several processes."""
    work = edges * channels / 32 / processes
    return max(1, min(round(work / EDGES_PER_THREAD), cores() // processes))


def _train_one(
    run: Run, config: Config, output: Path, restart: bool, also: Callable[[Errors], None] | None
) -> dict[str, Errors]:
    """Train one model, or go on with it: errors of the best one, by set."""
    bar, group = run.bar, run.group
    shortest, replay = run.coverage.distances, run.replay
    model = initial_model(config, run.split, run.train, run.elements, run.backend, run.folder, shortest)
    if replay and config.training.start_from:
        replay = replay.moved(moves(model, run.folder / config.training.start_from))
    trainer = Trainer(config, model, run.train, run.valid, output, group, replay)
    if (output / CHECKPOINT_FILE).exists() and not restart:
        trainer.resume()
        bar.console.print(f"going on from epoch {trainer.state.epoch} of {output}", highlight=False)
    elif output.exists() and any(output.iterdir()) and not restart and not (output / METRICS_FILE).exists():
        raise CheckpointError(f"{output} is not empty and holds no run; choose another --output, or --restart")
    count = sum(p.numel() for p in model.parameters())
    bar.console.print(
        f"{len(run.train)} training, {len(run.valid)} validation frames; "
        + (f"{replay.count} of {len(replay.train)} of a second set in each epoch; " if replay else "")
        + f"{', '.join(run.elements)}; "
        f"{model.mean_neighbours:.1f} neighbours; {count} weights",
        highlight=False,
    )
    steps = trainer.steps_per_epoch
    task = bar.add_task("training", total=trainer.epochs * steps, completed=trainer.state.epoch * steps, note="")

    def on_epoch(row: Errors) -> None:
        if also:
            also(row)
        note = progress_note(row, config.quantities)
        bar.update(task, note=note, total=trainer.epochs * steps)
        if not bar.console.is_terminal and (row["epoch"] % 10 == 0 or row["epoch"] == 1):
            bar.console.print(f"epoch {row['epoch']:.0f}: validation {note}", highlight=False)

    group.barrier()  # for all to have looked at the folder before the first one writes to it
    trainer.run(lambda: bar.advance(task), on_epoch)
    group.barrier()
    return _finish(run, config, output, replay) if group.first else {}


def _finish(run: Run, config: Config, output: Path, replay: Replay | None) -> dict[str, Errors]:
    """Refit the best model's shifts, and write pictures and errors: the errors, by set."""
    learning_curve(read_metrics(output / METRICS_FILE), config.quantities, output / "learning_curve.png")
    write_json(output / COVERAGE_FILE, run.coverage.as_json())
    best = load_model(output, run.backend)
    if any(quantity.name == "energy" for quantity in config.learned):
        refit_shifts(best, joined(run.train, replay.train) if replay else run.train)
        _, description = read_tensors(output / MODEL_FILE)
        kept = {k: v for k, v in description.items() if k not in ("format", "model")}
        save_model(output / MODEL_FILE, best, kept)
    sets = {"valid": run.valid}
    if replay:
        sets["replay"] = replay.valid
    if run.split.test:
        cutoff, on_disk = config.model.cutoff, config.data.on_disk
        sets["test"] = build_dataset(run.split.test, cutoff, run.elements, config.quantities, run.bar, "test", on_disk)
    _measure(best, run, config, output, replay)
    results = {}
    for name, dataset in sets.items():
        comparison = compare(best, dataset)
        parity(comparison, output / f"parity_{name}.png")
        results[name] = comparison.errors()
    write_json(output / "errors.json", results)
    report_pairs(best, run.coverage.distances, output / PAIRS_FILE, run.bar.console)
    return results


def _measure(best: Potential, run: Run, config: Config, output: Path, replay: Replay | None) -> None:
    """Write what the model says of its own errors."""
    train, valid = (
        (joined(run.train, replay.train), joined(run.valid, replay.valid)) if replay else (run.train, run.valid)
    )
    task = run.bar.add_task("uncertainty", total=2 * (len(train) + len(valid)), note="")
    found = fit(best, train, valid, [quantity.name for quantity in config.learned], lambda: run.bar.advance(task))
    found.write(uncertainty_file(output))
    run.bar.remove_task(task)


def progress_note(row: Mapping[str, float], quantities: Iterable[Quantity]) -> str:
    """The validation errors of an epoch in a few words: RMSE, of quantities without a unit in percent of the spread."""
    quantities = list(quantities)

    def words(prefix: str) -> str:
        found = []
        for quantity in quantities:
            key, unit = quantity.compared.headline
            if f"{prefix}_{key}" in row:
                name = "" if quantity.unit else f"{quantity.name} "
                found.append(f"{name}{row[f'{prefix}_{key}']:.3g} {unit}")
        return ", ".join(found)

    again = words("replay")
    return words("valid") + (f"; replay {again}" if again else "")


@dataclass(frozen=True)
class Evaluation:
    """A model compared with a file of labelled frames.

    Attributes:
        comparison: Values beside each other.
        plot: The parity plot's file.
        frames: How many.
        groups: The same for each group of frames, and how many frames it has; empty if none are told apart.
        assessment: Errors beside those that the model or committee itself expects; empty if it expects none.
        calibration_plot: The picture of that; None if there is none.
    """

    comparison: Comparison
    plot: Path
    frames: int
    groups: Mapping[str, tuple[int, Comparison]] = field(default_factory=dict)
    assessment: Assessment = field(default_factory=lambda: Assessment({}, None))
    calibration_plot: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """Number of frames and errors, units in the keys; with groups, the same for each of them."""
        found: dict[str, Any] = {"frames": self.frames, **self.comparison.errors()}
        if self.groups:
            found["groups"] = {name: {"frames": n, **of.errors()} for name, (n, of) in self.groups.items()}
        if self.assessment.reliability:
            found["uncertainty"] = {name: one.figures() for name, one in self.assessment.reliability.items()}
        if self.assessment.grades is not None:
            found["largest_grade"] = float(self.assessment.grades.max())
        return found


def evaluate_file(
    model: Path,
    file: Path,
    keys: Mapping[str, str | None],
    numbers: Path | None,
    plot: Path | None,
    backend: str,
    bar: Progress,
    by: str | None = None,
) -> Evaluation:
    """Compare a model with the labels of a file.

    Args:
        model: Model file or folder of a run, of a committee too.
        file: Labelled frames.
        keys: Names of labels in the file by quantity, where they are not the usual ones.
        numbers: Text file of frame numbers to use; by default all.
        plot: Parity plot to write; by default beside the model.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        bar: Progress.
        by: Key of the frames that says which group each belongs to, such as ``"config_type"``.
    Raises:
        DataError: If no frame has a label, one has no such key, or the input is bad.
    """
    predictor = Predictor.open(model, backend)
    potential = predictor.models[0]
    quantities = [replace(q, key=keys.get(q.name) or q.key) for q in potential.config.quantities]
    frames, _ = split_isolated(read_frames(file, quantities, read_numbers(numbers) if numbers else None))
    if not any(f.labels for f in frames):
        names = ", ".join(q.name for q in quantities)
        raise DataError(f"{file}: no frame has any of {names}; name the keys with --energy-key and so on")
    dataset = build_dataset(frames, potential.config.cutoff, potential.elements, quantities, bar, file.name)
    named = {"": list(range(len(frames)))} if by is None else groups_by(frames, by)
    task = bar.add_task("evaluating", total=len(frames), note="")
    groups, done, assessments = {}, 0, []
    for name, chosen in named.items():
        part, before = dataset.part(chosen), done
        watched = Watched(predictor)
        found = compare(watched, part, progress=lambda n, before=before: bar.update(task, completed=before + n))  # type: ignore[misc]
        groups[name], done = (len(part), found), done + len(part)
        assessments.append(watched.assess(part))
    comparison = Comparison.joined([found for _, found in groups.values()])
    folder = model if model.is_dir() else model.parent
    path = plot or folder / f"parity_{file.name.split('.')[0]}.png"
    parity(comparison, path)
    assessment, picture = together(assessments), None
    if assessment.reliability:
        picture = path.with_name(f"{path.stem.replace('parity', 'uncertainty')}{path.suffix}")
        if picture == path:
            picture = path.with_name(f"{path.stem}_uncertainty{path.suffix}")
        calibration(assessment.reliability, picture)
    return Evaluation(comparison, path, len(frames), {} if by is None else groups, assessment, picture)
