"""What training begins with and ends with: a potential from the data's statistics, or from another; its shifts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from cartalg.data.dataset import Dataset
from cartalg.data.frames import DataError
from cartalg.data.graphs import build_graph
from cartalg.data.statistics import Compositions, gather
from cartalg.model import Potential
from cartalg.nn.heads import TensorHead
from cartalg.quantities import find
from cartalg.train.checkpoint import load_model
from cartalg.train.config import Config, ConfigError, differing_keys
from cartalg.train.split import Split


def initial_model(
    config: Config,
    split: Split,
    train: Dataset,
    elements: tuple[str, ...],
    backend: str,
    folder: Path,
    shortest: Mapping[str, float],
) -> Potential:
    """A potential with the training set's statistics and seeded random weights, or the model to be fine-tuned.

    Args:
        shortest: As in `Potential`.
    """
    torch.manual_seed(config.training.seed)
    isolated = None if config.data.shifts == "fit" else split.isolated
    if config.data.shifts == "isolated" and isolated is None:
        raise DataError("data.shifts is isolated, but there is no isolated atom: name a file as data.isolated_atoms")
    if config.training.start_from is not None:
        return _fine_tuned(config, folder / config.training.start_from, split, train, elements, backend)
    statistics = gather(train.frames, train.graphs, elements, isolated)
    values = torch.tensor([statistics.shifts[e] for e in elements], dtype=torch.float64)
    model = Potential(config.model, elements, values, statistics.scale, statistics.mean_neighbours, backend, shortest)
    for wanted in config.model.properties:
        labelled = [f for f in split.train if wanted.name in f.labels]
        if labelled:
            tensors = torch.from_numpy(np.concatenate([f.labels[wanted.name] for f in labelled]))
            counts = [len(f.atoms) for f in labelled] if wanted.per == "frame" else [1] * len(tensors)
            head = model.heads[wanted.name]
            assert isinstance(head, TensorHead)
            head.start_from(tensors, torch.tensor(counts))
    return model


def refit_shifts(model: Potential, dataset: Dataset, batch_size: int = 16) -> None:
    """Move each element's shift by what the energies of labelled frames are off by, by least squares.

    Gradient steps leave an offset of some meV a molecule that the forces do not see; it is found in closed form.
    """
    left, energy = Compositions(model.elements), find("energy", dataset.quantities)
    for start in range(0, len(dataset), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(dataset)))
        graph, labels = dataset.batch(chosen.tolist())
        has = labels.has[energy.name]
        errors = labels.values[energy.name] - energy.predicted(model(graph, forces=False), graph, has)
        for n, error in zip(chosen[has].tolist(), errors.tolist(), strict=True):
            left.add(dataset.frames[n], error)
    moves = left.fit()
    model.shifts += torch.tensor([moves[e] for e in model.elements], dtype=torch.float64)


def _fine_tuned(
    config: Config, path: Path, split: Split, train: Dataset, elements: tuple[str, ...], backend: str
) -> Potential:
    """A trained model to go on with: its architecture, elements and scale; its shifts unless others are asked for.

    Shifts are moved, not replaced: what the network says of an element stays with it.
    """
    model = load_model(path, backend)
    differing = differing_keys(model.config.model_dump(mode="json"), config.model.model_dump(mode="json"))
    if differing:
        raise ConfigError(
            f"{path} has another {', '.join(f'model.{d}' for d in differing)}; give the model it was made with"
        )
    missing = [e for e in elements if e not in model.elements]
    if missing:
        raise DataError(f"{path} does not know {', '.join(missing)}, which the training frames hold")
    if config.data.shifts == "fit":
        refit_shifts(model, train)
    if config.data.shifts == "isolated":
        assert split.isolated is not None
        for place, element in enumerate(model.elements):
            if element in split.isolated:
                alone = build_graph(Atoms(element), model.config.cutoff, model.elements)
                model.shifts[place] += split.isolated[element] - float(model(alone, forces=False).energy[0])
    return model


def moves(model: Potential, path: Path) -> dict[str, float]:
    """How far the shifts of a model to be fine-tuned have been moved from those of its file, in eV, by element."""
    before = load_model(path).shifts
    return dict(zip(model.elements, (model.shifts - before).tolist(), strict=True))
