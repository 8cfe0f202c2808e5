"""The training loop: plain Torch, whole state in one file, resumed exactly.

Plain Torch rather than a training framework: the loop is this page, and nothing a framework offers (callbacks, loggers,
accelerators) would make it shorter.
"""

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tensorboardX import SummaryWriter
from torch import Tensor

from cartalg.data.dataset import Dataset
from cartalg.model import Potential
from cartalg.ops.private import approach_each
from cartalg.quantities import Quantity, request
from cartalg.train.checkpoint import (
    CHECKPOINT_FILE,
    MODEL_FILE,
    CheckpointError,
    read_tensors,
    save_model,
    write_tensors,
)
from cartalg.train.config import Config, differing_keys, parse_config
from cartalg.train.distributed import ProcessGroup
from cartalg.train.loss import entries, loss_terms, mean_loss, validation_loss
from cartalg.train.metrics import compare
from cartalg.train.optimizers import make_optimizer, put_together, tensors_and_rest
from cartalg.train.records import METRICS_FILE, append_metrics, truncate_metrics
from cartalg.train.replay import Replay, joined
from cartalg.train.schedule import Progress, Schedule

#: Of what a checkpoint holds beside the model; another number cannot be gone on from.
STATE = 2


class Trainer:
    """Trains a potential and writes everything into one folder.

    Args:
        config: The run.
        model: The potential, initialised.
        train, valid: Data.
        output: Folder for metrics, checkpoint and best model.
        group: This process among several; by default alone.
        replay: A second set.
        clock: Seconds from any moment on.
    """

    def __init__(
        self,
        config: Config,
        model: Potential,
        train: Dataset,
        valid: Dataset,
        output: Path,
        group: ProcessGroup | None = None,
        replay: Replay | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config, self.model, self.valid_set, self.output = config, model, valid, output
        self.count, self.replay = len(train), replay
        self.train_set = joined(train, replay.train) if replay else train
        self.group = group or ProcessGroup()
        settings = config.training
        self.optimizer = make_optimizer(model.parameters(), settings)
        self.average = copy.deepcopy(model)
        self.parameters, self.averaged = list(model.parameters()), list(self.average.parameters())
        self.state, self.clock = Progress(), clock
        self.steps_per_epoch = math.ceil((len(train) + (replay.count if replay else 0)) / settings.batch_size)
        self.schedule = Schedule(settings, self.steps_per_epoch)

    @property
    def epochs(self) -> int:
        """How many epochs there will be, as far as is known."""
        return self.schedule.epochs(self.state)

    def run(self, on_step: Callable[[], None], on_epoch: Callable[[dict[str, float]], None]) -> Progress:
        """Train from the current state to the last epoch.

        Args:
            on_step: Called after each optimiser step.
            on_epoch: Called with the epoch's metrics.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        board = None
        if self.group.first:
            truncate_metrics(self.output / METRICS_FILE, self.state.epoch)
            board = SummaryWriter(str(self.output / "tensorboard"), purge_step=self.state.epoch + 1)
        patience = self.config.training.early_stopping
        started = self.clock()
        while not self.schedule.finished(self.state):
            epoch = self.state.epoch
            if patience and epoch - self.state.best_epoch >= patience:
                break
            train_loss = self._epoch(epoch, on_step)
            weights = self.config.weights_at(epoch)
            row = {"epoch": float(epoch + 1), "train_loss": train_loss, **self._validate(weights)}
            if epoch and weights != self.config.weights_at(epoch - 1):
                self.state.best_loss = math.inf  # a new stage: losses before it measure something else
            errors, now = dict(row), self.clock()
            self.schedule.ended(self.state, self.group.agreed(now - started))
            started = now
            row["learning_rate"] = self.schedule.rate((epoch + 1) * self.steps_per_epoch, self.state)
            row["seconds"] = self.state.seconds
            if row["valid_loss"] < self.state.best_loss:
                self.state.best_loss, self.state.best_epoch = row["valid_loss"], epoch + 1
                if board:
                    save_model(self.output / MODEL_FILE, self.average, {"epoch": epoch + 1, "errors": errors})
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
        weights = self.config.weights_at(epoch)
        self.model.train()
        order = self._order(epoch)
        total = 0.0
        for number in range(self.steps_per_epoch):
            chosen = order[number * settings.batch_size : (number + 1) * settings.batch_size]
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.rate(epoch * self.steps_per_epoch + number, self.state)
            for p in self.parameters:
                p.grad = None
            value = self._gradients(self.group.shard(chosen), weights)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss is not finite in epoch {epoch + 1}; lower training.learning_rate or check the labels"
                )
            if self.group.first:
                self.optimizer.step()
            self.group.broadcast(self.parameters)
            with torch.no_grad():
                approach_each(self.averaged, self.parameters, 1 - settings.ema_decay)
            total += value * len(chosen)
            on_step()
        return total / len(order)

    def _order(self, epoch: int) -> list[int]:
        """Numbers of the frames of an epoch, a function of the seed and the epoch alone."""
        generator = torch.Generator().manual_seed(self.config.training.seed * 1_000_003 + epoch)
        order = torch.randperm(self.count, generator=generator)
        if self.replay:
            order = torch.cat([order, self.count + self.replay.draw(generator)])
            order = order[torch.randperm(len(order), generator=generator)]
        return list(map(int, order))

    def _gradients(self, chosen: list[int], weights: dict[Quantity, float]) -> float:
        """Set the gradients of the loss of a batch, of which this process has these frames; the batch's loss."""
        wanted = request(quantity for quantity, weight in weights.items() if weight)
        # a process may be without a frame in a last, small batch: it then adds nothing to a frame's terms
        graph, labels = self.train_set.batch(chosen or [0])
        prediction = self.model(graph, **wanted, training=True)
        terms = loss_terms(prediction, labels, graph, weights, self.config.training)
        share = 1 if chosen else 0
        terms = {name: (share * total, share * count) for name, (total, count) in terms.items()}
        value = mean_loss(terms, self.group.all_reduce(entries(terms)))
        value.backward(inputs=self.parameters)  # no gradient of positions
        self.group.all_reduce_gradients(self.parameters)
        return float(self.group.all_reduce(value.detach()))

    def _validate(self, weights: dict[Quantity, float]) -> dict[str, float]:
        """Errors of the averaged weights on the validation frames, and the loss that selects the best model.

        With a second set it is a mean of both, weighted as they are in training.
        """
        settings = self.config.training
        result = compare(self.average, self.valid_set, settings.batch_size)
        loss = validation_loss(result, weights, settings)
        found = {f"valid_{k}": v for k, v in result.errors().items()}
        if self.replay:
            other, share = compare(self.average, self.replay.valid, settings.batch_size), self.replay.share
            loss = (loss + share * validation_loss(other, weights, settings)) / (1 + share)
            found |= {f"replay_{k}": v for k, v in other.errors().items()}
        return {"valid_loss": loss, **found}

    def save(self) -> None:
        """Write the whole state: weights, average, optimiser, place in the run."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        of_optimizer, rest = tensors_and_rest(self.optimizer.state_dict(), "optimizer")
        tensors |= of_optimizer
        tensors["random"] = torch.get_rng_state()
        description = {
            "state": STATE,
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
        if description.get("state") != STATE:
            raise CheckpointError(f"{path}: of another version of cartalg; finish the run with that one, or --restart")
        # read as a configuration is: an older checkpoint lacks newer keys, which then have their defaults
        stored = parse_config(description["config"], str(path))
        differing = differing_keys(stored.model_dump(mode="json"), self.config.model_dump(mode="json"))
        if differing:
            raise CheckpointError(
                f"{path}: belongs to a run with another {', '.join(differing)}; choose a new --output, or --restart"
            )
        known = {**description["model"], "config": stored.model.model_dump(mode="json")}
        if self.model.description() != known:
            raise CheckpointError(f"{path}: the training data have changed since; choose a new --output, or --restart")

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.average.load_state_dict(part("average."))
        self.optimizer.load_state_dict(put_together(description["optimizer"], tensors))
        torch.set_rng_state(tensors["random"])
        progress = description["progress"]
        self.state = Progress(**{**progress, "best_loss": float(progress["best_loss"])})
