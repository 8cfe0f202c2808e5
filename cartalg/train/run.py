"""Whole runs: from a configuration to a trained model with its plots; from a model and a file to errors."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from cartalg.data.frames import DataError, Frame, Keys, read_frames, split_isolated
from cartalg.data.statistics import Compositions, element_shifts, gather
from cartalg.model import Potential
from cartalg.nn.heads import TensorHead
from cartalg.train.checkpoint import (
    CHECKPOINT_FILE,
    MEMBER,
    MODEL_FILE,
    CheckpointError,
    load_model,
    read_tensors,
    save_model,
)
from cartalg.train.config import Config, ConfigError, load_config, tensor_labels
from cartalg.train.dataset import Dataset, Split, load_split, read_numbers
from cartalg.train.metrics import compare
from cartalg.train.plots import learning_curve, parity
from cartalg.train.trainer import METRICS_FILE, Trainer, differing_keys, read_metrics, write_json
from cartalg.train.world import World


def build_dataset(
    frames: Sequence[Frame],
    model_cutoff: float,
    elements: tuple[str, ...],
    bar: Progress,
    what: str,
    on_disk: bool = False,
) -> Dataset:
    """Graphs of frames, under a progress bar."""
    task = bar.add_task(f"neighbours, {what}", total=len(frames), note="")
    dataset = Dataset.build(frames, model_cutoff, elements, None if on_disk else lambda: bar.advance(task), on_disk)
    bar.remove_task(task)
    return dataset


def initial_model(
    config: Config, split: Split, train: Dataset, elements: tuple[str, ...], backend: str, folder: Path
) -> Potential:
    """A potential with the training set's statistics and seeded random weights, or the model to be fine-tuned."""
    isolated = None if config.data.shifts == "fit" else split.isolated
    if config.data.shifts == "isolated" and isolated is None:
        raise DataError("data.shifts is isolated, but there is no isolated atom: name a file as data.isolated_atoms")
    statistics = gather(train.frames, train.graphs, elements, isolated)
    torch.manual_seed(config.training.seed)
    if config.training.start_from is not None:
        return _fine_tuned(config, folder / config.training.start_from, split, elements, backend)
    values = torch.tensor([statistics.shifts[e] for e in elements], dtype=torch.float64)
    model = Potential(config.model, elements, values, statistics.scale, statistics.mean_neighbours, backend)
    for wanted in config.model.properties:
        labelled = [f for f in split.train if wanted.name in f.tensors]
        if labelled:
            tensors = torch.from_numpy(np.concatenate([f.tensors[wanted.name] for f in labelled]))
            counts = [len(f.atoms) for f in labelled] if wanted.per == "frame" else [1] * len(tensors)
            head = model.heads[wanted.name]
            assert isinstance(head, TensorHead)
            head.start_from(tensors, torch.tensor(counts))
    return model


def refit_shifts(model: Potential, dataset: Dataset, batch_size: int = 16) -> None:
    """Move each element's shift by what the energies of labelled frames are off by, by least squares.

    Gradient steps leave an offset of some meV a molecule that the forces do not see; it is found in closed form.
    """
    left = Compositions(model.elements)
    for start in range(0, len(dataset), batch_size):
        chosen = range(start, min(start + batch_size, len(dataset)))
        graph, labels = dataset.batch(chosen)
        errors = labels.energy - model(graph, forces=False).energy
        for n, error, known in zip(chosen, errors.tolist(), labels.has_energy.tolist(), strict=True):
            left.add(dataset.frames[n], error if known else None)
    moves = left.fit()
    model.shifts += torch.tensor([moves[e] for e in model.elements], dtype=torch.float64)


def _fine_tuned(config: Config, path: Path, split: Split, elements: tuple[str, ...], backend: str) -> Potential:
    """A trained model to go on with: its architecture, elements and scale; its shifts unless others are asked for."""
    model = load_model(path, backend)
    differing = differing_keys(model.config.model_dump(mode="json"), config.model.model_dump(mode="json"))
    if differing:
        raise ConfigError(
            f"{path} has another {', '.join(f'model.{d}' for d in differing)}; give the model it was made with"
        )
    missing = [e for e in elements if e not in model.elements]
    if missing:
        raise DataError(f"{path} does not know {', '.join(missing)}, which the training frames hold")
    if config.data.shifts != "auto":
        isolated = split.isolated if config.data.shifts == "isolated" else None
        compositions = Compositions(elements)
        for frame in split.train:
            compositions.add(frame, frame.energy)
        shifts = element_shifts(compositions, isolated)
        for place, element in enumerate(model.elements):
            model.shifts[place] = shifts.get(element, float(model.shifts[place]))
    return model


def train_run(
    config_path: Path, output: Path, data_dir: Path | None, restart: bool, backend: str, bar: Progress
) -> dict[str, dict[str, float]]:
    """Train as a configuration says, or go on where the run stopped; plots and errors go to `output`.

    Returns:
        Errors of the best model on the validation frames and, if there are any, the test frames.
    Raises:
        ConfigError, DataError, CheckpointError, FileNotFoundError: For bad input; the message says which.
    """
    config = load_config(config_path)
    folder = data_dir or config_path.parent
    world = World.join()
    torch.set_num_threads(config.training.threads)
    split = load_split(config, folder)
    elements = split.elements
    if config.training.start_from is not None:
        elements = load_model(folder / config.training.start_from, backend).elements
    train = build_dataset(split.train, config.model.cutoff, elements, bar, "training", config.data.on_disk)
    valid = build_dataset(split.valid, config.model.cutoff, elements, bar, "validation", config.data.on_disk)
    results: dict[str, dict[str, float]] = {}
    for member in range(config.training.committee):
        # same frames, other weights and another order of frames
        own = config.training.model_copy(update={"seed": config.training.seed + 1000 * member})
        of_member = config.model_copy(update={"training": own})
        place = output / f"{MEMBER}{member}" if config.training.committee > 1 else output
        trained = _train_one(of_member, place, folder, restart, backend, bar, split, train, valid, elements, world)
        results |= {f"{place.name} {k}": v for k, v in trained.items()} if place != output else trained
    return results


def progress_note(row: dict[str, float]) -> str:
    """The validation errors of an epoch in a few words; of tensors, in percent of their spread."""
    words = []
    for key, shown in (
        ("forces_rmse_meV_per_A", "{:.1f} meV/A"),
        ("energy_per_atom_rmse_meV_per_atom", "{:.2f} meV/atom"),
    ):
        if f"valid_{key}" in row:
            words.append(shown.format(row[f"valid_{key}"]))
    for key, value in row.items():
        if key.endswith("_relative_rmse_percent"):
            words.append(f"{key.removeprefix('valid_').removesuffix('_relative_rmse_percent')} {value:.1f} %")
    return " ".join(words)


def _train_one(
    config: Config,
    output: Path,
    folder: Path,
    restart: bool,
    backend: str,
    bar: Progress,
    split: Split,
    train: Dataset,
    valid: Dataset,
    elements: tuple[str, ...],
    world: World,
) -> dict[str, dict[str, float]]:
    """Train one model, or go on with it: errors of the best one, by set."""
    model = initial_model(config, split, train, elements, backend, folder)
    trainer = Trainer(config, model, train, valid, output, world)
    if (output / CHECKPOINT_FILE).exists() and not restart:
        trainer.resume()
        bar.console.print(f"going on from epoch {trainer.state.epoch} of {output}", highlight=False)
    elif output.exists() and any(output.iterdir()) and not restart and not (output / METRICS_FILE).exists():
        raise CheckpointError(f"{output} is not empty and holds no run; choose another --output, or --restart")
    count = sum(p.numel() for p in model.parameters())
    bar.console.print(
        f"{len(split.train)} training, {len(split.valid)} validation frames; {', '.join(elements)}; "
        f"{model.mean_neighbours:.1f} neighbours; {count} weights; the first step compiles kernels",
        highlight=False,
    )
    steps = trainer.steps_per_epoch
    total = config.training.epochs * steps
    task = bar.add_task("training", total=total, completed=trainer.state.epoch * steps, note="")

    def on_epoch(row: dict[str, float]) -> None:
        note = progress_note(row)
        bar.update(task, note=note)
        if not bar.console.is_terminal and (row["epoch"] % 10 == 0 or row["epoch"] == 1):
            bar.console.print(f"epoch {row['epoch']:.0f}: validation {note}", highlight=False)

    world.wait()  # for all to have looked at the folder before the first one writes to it
    trainer.run(lambda: bar.advance(task), on_epoch)
    world.wait()
    if not world.first:
        return {}
    learning_curve(read_metrics(output / METRICS_FILE), output / "learning_curve.png")
    best = load_model(output, backend)
    if config.training.learns[0]:
        refit_shifts(best, train)
        _, description = read_tensors(output / MODEL_FILE)
        kept = {k: v for k, v in description.items() if k not in ("format", "model")}
        save_model(output / MODEL_FILE, best, kept)
    results = {}
    for name, frames in (("valid", split.valid), ("test", split.test)):
        if frames:
            dataset = valid
            if name == "test":
                dataset = build_dataset(frames, config.model.cutoff, elements, bar, name, config.data.on_disk)
            comparison = compare(best, dataset.frames, dataset.graphs)
            parity(comparison, output / f"parity_{name}.png")
            results[name] = comparison.errors()
    write_json(output / "errors.json", results)
    return results


def evaluate_file(
    model_path: Path,
    file: Path,
    keys: Keys,
    numbers: Path | None,
    plot: Path | None,
    backend: str,
    bar: Progress,
) -> tuple[dict[str, float], Path, int]:
    """Errors of a model on a file of labelled frames: (errors, parity plot, number of frames).

    Raises:
        DataError: If no frame has a label, or the input is bad.
    """
    model = load_model(model_path, backend)
    keys = replace(keys, tensors=tensor_labels(model.config))
    frames, _ = split_isolated(read_frames(file, keys, read_numbers(numbers) if numbers else None))
    if not any(f.energy is not None or f.forces is not None or f.stress is not None or f.tensors for f in frames):
        raise DataError(
            f"{file}: no frame has an energy, forces or a stress; name the keys with --energy-key and so on"
        )
    dataset = build_dataset(frames, model.config.cutoff, model.elements, bar, file.name)
    task = bar.add_task("evaluating", total=len(frames), note="")
    comparison = compare(model, dataset.frames, dataset.graphs, progress=lambda n: bar.update(task, completed=n))
    folder = model_path if model_path.is_dir() else model_path.parent
    path = plot or folder / f"parity_{file.name.split('.')[0]}.png"
    parity(comparison, path)
    return comparison.errors(), path, len(frames)
