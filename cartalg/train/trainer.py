"""The training loop: plain Torch, whole state in one file, resumed exactly.

Plain Torch rather than a training framework: the loop is this page, and nothing a framework offers (callbacks, loggers,
accelerators) would make it shorter. Averaged weights, optimiser and clipping are Torch's own.
"""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tensorboardX import SummaryWriter
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cartalg.files import write_file
from cartalg.model import Potential
from cartalg.train.checkpoint import (
    CHECKPOINT_FILE,
    MODEL_FILE,
    CheckpointError,
    read_tensors,
    save_model,
    write_tensors,
)
from cartalg.train.config import Config, LossWeights
from cartalg.train.dataset import Dataset
from cartalg.train.loss import entries, loss_terms, mean_loss, penalty
from cartalg.train.metrics import compare
from cartalg.train.optimizers import make_optimizer, put_together, tensors_and_rest
from cartalg.train.world import World

METRICS_FILE = "metrics.csv"


@dataclass
class Progress:
    """Where a run is: what the checkpoint's JSON holds beside the weights."""

    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0


class Trainer:
    """Trains a potential and writes everything into one folder.

    Args:
        config: The run.
        model: The potential, initialised.
        train, valid: Data.
        output: Folder for metrics, checkpoint and best model.
        world: This process among several; by default alone.
    """

    def __init__(
        self, config: Config, model: Potential, train: Dataset, valid: Dataset, output: Path, world: World | None = None
    ) -> None:
        self.config, self.model, self.train_set, self.valid_set, self.output = config, model, train, valid, output
        self.world = world or World()
        settings = config.training
        self.optimizer = make_optimizer(model.parameters(), settings)
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        self.state = Progress()
        self.steps_per_epoch = math.ceil(len(train) / settings.batch_size)

    @property
    def best_model(self) -> Potential:
        """The averaged weights as a potential."""
        average: Potential = self.average.module  # type: ignore[assignment]
        return average

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to the final rate; a function of the step alone."""
        settings = self.config.training
        warmup = settings.warmup_epochs * self.steps_per_epoch
        if step < warmup:
            return settings.learning_rate * (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(settings.epochs * self.steps_per_epoch - warmup, 1)
        floor = settings.final_learning_rate
        return settings.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1))))

    def run(self, on_step: Callable[[], None], on_epoch: Callable[[dict[str, float]], None]) -> Progress:
        """Train from the current state to the last epoch.

        Args:
            on_step: Called after each optimiser step.
            on_epoch: Called with the epoch's metrics.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        board = None
        if self.world.first:
            truncate_metrics(self.output / METRICS_FILE, self.state.epoch)
            board = SummaryWriter(str(self.output / "tensorboard"), purge_step=self.state.epoch + 1)
        patience = self.config.training.early_stopping
        for epoch in range(self.state.epoch, self.config.training.epochs):
            if patience and self.state.epoch - self.state.best_epoch >= patience:
                break
            train_loss = self._epoch(epoch, on_step)
            weights = self.config.training.weights_at(epoch)
            row = {"epoch": float(epoch + 1), "train_loss": train_loss, **self._validate(weights)}
            if epoch and weights != self.config.training.weights_at(epoch - 1):
                self.state.best_loss = math.inf  # a new stage: losses before it measure something else
            row["learning_rate"] = self.learning_rate((epoch + 1) * self.steps_per_epoch)
            self.state.epoch = epoch + 1
            if row["valid_loss"] < self.state.best_loss:
                self.state.best_loss, self.state.best_epoch = row["valid_loss"], epoch + 1
                if board:
                    save_model(self.output / MODEL_FILE, self.best_model, {"epoch": epoch + 1, "errors": row})
            if board:
                append_metrics(self.output / METRICS_FILE, row)
                for key, value in row.items():
                    board.add_scalar(key, value, epoch + 1)
                self.save()
            on_epoch(row)
        if board:
            board.close()
        return self.state

    def _epoch(self, epoch: int, on_step: Callable[[], None]) -> float:
        settings = self.config.training
        weights = settings.weights_at(epoch)
        self.model.train()
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train_set), generator=generator).tolist()
        total = 0.0
        for number in range(self.steps_per_epoch):
            chosen = order[number * settings.batch_size : (number + 1) * settings.batch_size]
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(epoch * self.steps_per_epoch + number)
            self.optimizer.zero_grad(set_to_none=True)
            value = self._gradients(self.world.share(chosen), weights)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss is not finite in epoch {epoch + 1}; lower training.learning_rate or check the labels"
                )
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
            if self.world.first:
                self.optimizer.step()
            self.world.take_first(self.model.parameters())
            self.average.update_parameters(self.model)
            total += value * len(chosen)
            on_step()
        return total / len(order)

    def _gradients(self, chosen: list[int], weights: LossWeights) -> float:
        """Set the gradients of the loss of a batch, of which this process has these frames; the batch's loss."""
        parameters = list(self.model.parameters())
        wanted = {"forces": weights.forces > 0, "virial": weights.stress > 0}
        # a process may be without a frame in a last, small batch: it then adds nothing to a frame's terms
        graph, labels = self.train_set.batch(chosen or [0])
        prediction = self.model(graph, **wanted, training=True, properties=True)
        terms = loss_terms(prediction, labels, graph, weights, self.config.training)
        share = 1 if chosen else 0
        terms = {name: (share * total, share * count) for name, (total, count) in terms.items()}
        value = mean_loss(terms, self.world.sum(entries(terms)))
        value.backward(inputs=parameters)  # no gradient of positions
        self.world.sum_gradients(parameters)
        return float(self.world.sum(value.detach()))

    def _validate(self, weights: LossWeights) -> dict[str, float]:
        """Errors of the averaged weights on the validation frames, and the loss that selects the best model."""
        settings, dataset = self.config.training, self.valid_set
        result = compare(self.best_model, dataset.frames, dataset.graphs, settings.batch_size)
        total = 0.0
        terms = {"energy_per_atom": weights.energy, "forces": weights.forces, "stress": weights.stress}
        for quantity, weight in terms.items():
            if quantity in result.reference:
                reference, predicted = (torch.from_numpy(values) for values in result.pair(quantity))
                total += weight * float(penalty(predicted - reference, settings).mean())
        for name, values in result.tensors.items():
            reference, predicted = (torch.from_numpy(v) for v in values.pair())
            total += settings.property_weights.get(name, 1.0) * float(penalty(predicted - reference, settings).mean())
        return {"valid_loss": total, **{f"valid_{k}": v for k, v in result.errors().items()}}

    def save(self) -> None:
        """Write the whole state: weights, average, optimiser, place in the run."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        of_optimizer, rest = tensors_and_rest(self.optimizer.state_dict(), "optimizer")
        tensors |= of_optimizer
        tensors["random"] = torch.get_rng_state()
        description = {
            "progress": {**vars(self.state), "best_loss": repr(self.state.best_loss)},
            "optimizer": rest,
            "config": self.config.model_dump(mode="json"),
            "model": self.model.description(),
        }
        write_tensors(self.output / CHECKPOINT_FILE, tensors, description)

    def resume(self) -> None:
        """Go on from the folder's checkpoint.

        Raises:
            CheckpointError: If the checkpoint belongs to another configuration, or is damaged.
        """
        path = self.output / CHECKPOINT_FILE
        tensors, description = read_tensors(path)
        differing = differing_keys(description["config"], self.config.model_dump(mode="json"))
        if differing:
            raise CheckpointError(
                f"{path}: belongs to a run with another {', '.join(differing)}; choose a new --output, or --restart"
            )
        if self.model.description() != description["model"]:
            raise CheckpointError(f"{path}: the training data have changed since; choose a new --output, or --restart")

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.average.load_state_dict(part("average."))
        self.optimizer.load_state_dict(put_together(description["optimizer"], tensors))
        torch.set_rng_state(tensors["random"])
        progress = description["progress"]
        self.state = Progress(progress["epoch"], float(progress["best_loss"]), progress["best_epoch"])


def differing_keys(old: Any, new: Any, place: str = "") -> list[str]:
    """Dotted names of configuration entries that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [d for n in names for d in differing_keys(old.get(n), new.get(n), f"{place}.{n}".strip("."))]
    return [] if old == new else [place]


def append_metrics(path: Path, row: dict[str, float]) -> None:
    """Add one line to the CSV of metrics; its columns are those of the first line."""
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.8g}" for k, v in row.items()})


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of the CSV of metrics."""
    with path.open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def truncate_metrics(path: Path, epoch: int) -> None:
    """Drop lines of epochs after the checkpoint: a run that was killed writes them anew."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    kept = lines[:1] + [line for line in lines[1:] if line.endswith("\n") and float(line.split(",")[0]) <= epoch]
    if epoch:
        write_file(path, "".join(kept))
    else:
        path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole."""
    write_file(path, json.dumps(value, indent=2) + "\n")
