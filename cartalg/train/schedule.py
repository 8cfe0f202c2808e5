"""The learning rate from step to step, for so many epochs or for so many minutes.

For epochs it is a function of the step alone. For minutes it is constant until the last part of them has come, then
falls in a straight line. How many epochs that will take is planned anew at the end of each, from the clock; the plan is
part of the state, so a run goes on from its checkpoint as it would have gone on by itself, given the same clock.
"""

import math
from dataclasses import dataclass

from cartalg.train.config import TrainingConfig


@dataclass
class Progress:
    """Where a run is: what the checkpoint's JSON holds beside the weights.

    Attributes:
        epoch: Epochs done.
        best_loss, best_epoch: Of the best model.
        seconds: Spent on them.
        pace: Seconds of an epoch, the last ones weighing most.
        left: With minutes, epochs in which the learning rate is to fall to its end; None while it is constant.
        rate: The learning rate after the last epoch, as a fraction of the largest.
    """

    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    pace: float = 0.0
    left: int | None = None
    rate: float = 1.0


class Schedule:
    """What a run's settings say of its length and its learning rate.

    Args:
        settings: These.
        steps: Steps of an epoch.
    """

    def __init__(self, settings: TrainingConfig, steps: int) -> None:
        self._settings, self._steps = settings, steps

    def rate(self, step: int, progress: Progress) -> float:
        """The learning rate of a step, counted from the first epoch, in the epoch that follows what has been done."""
        settings = self._settings
        warmup, largest = settings.warmup_epochs * self._steps, settings.learning_rate
        if step < warmup:
            return largest * (step + 1) / (warmup + 1)
        floor = settings.final_learning_rate
        if settings.max_minutes is not None:
            if progress.left is None:
                return largest
            done = (step - progress.epoch * self._steps) / self._steps / progress.left if progress.left else 0.0
            return largest * (progress.rate + (floor - progress.rate) * done)
        last = settings.epochs * self._steps
        if settings.schedule == "constant":
            length = settings.decay * last
            return largest * (1 - (1 - floor) * min(max(step - (last - length), 0) / length, 1))
        done = (step - warmup) / max(last - warmup, 1)
        return largest * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1))))

    def finished(self, progress: Progress) -> bool:
        """Whether that was the last epoch."""
        if self._settings.max_minutes is not None:
            return progress.left == 0
        return progress.epoch >= self._settings.epochs

    def ended(self, progress: Progress, seconds: float) -> None:
        """Count an epoch that took so long, and plan how many there will be."""
        progress.epoch += 1
        progress.seconds += seconds
        progress.pace = (progress.pace + seconds) / 2 if progress.pace else seconds
        if self._settings.max_minutes is None:
            return
        budget = 60 * self._settings.max_minutes
        if progress.left is not None:
            progress.rate += (self._settings.final_learning_rate - progress.rate) / progress.left
            if progress.left == 1:
                progress.left = 0
                return
        remaining = budget - progress.seconds
        if progress.left is not None or remaining <= self._settings.decay * budget:
            progress.left = max(round(remaining / progress.pace), 1)

    def epochs(self, progress: Progress) -> int:
        """How many epochs there will be, as far as is known."""
        if self._settings.max_minutes is None:
            return self._settings.epochs
        if progress.left is not None:
            return progress.epoch + progress.left
        remaining = 60 * self._settings.max_minutes - progress.seconds
        return progress.epoch + max(math.ceil(remaining / progress.pace) if progress.pace else 1, 1)
