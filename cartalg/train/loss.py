"""The loss: a weighted mean for each quantity, of differences of energies per atom, force components, stress .."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cartalg.data.dataset import Labels
from cartalg.data.graphs import Graph
from cartalg.model import Prediction
from cartalg.quantities import Quantity
from cartalg.train.config import TrainingConfig
from cartalg.train.metrics import Comparison


def penalty(difference: Tensor, settings: TrainingConfig) -> Tensor:
    """Square, magnitude, or Huber's square up to `huber_delta` and linear beyond, entry by entry."""
    if settings.loss == "mse":
        return difference**2
    if settings.loss == "mae":
        return difference.abs()
    return torch.nn.functional.huber_loss(
        difference, torch.zeros_like(difference), reduction="none", delta=settings.huber_delta
    )


def loss_terms(
    prediction: Prediction,
    labels: Labels,
    graph: Graph,
    weights: Mapping[Quantity, float],
    settings: TrainingConfig,
) -> dict[str, tuple[Tensor, int]]:
    """Each term of the loss as (weighted sum over labelled entries, their number); `mean_loss` is the sum of the means.

    What has no label is left out; a frame's own weight multiplies its entries. Terms without an entry here are there as
    well, with zero, so that several processes have the same terms.

    Args:
        prediction: Of the batch, differentiable.
        labels: Of the batch, in the quantities' units.
        graph: The batch.
        weights: Of each quantity at this epoch.
        settings: Kind of loss.
    """
    terms = {}
    for quantity, weight in weights.items():
        rows = quantity.rows(labels.has[quantity.name], graph)
        predicted = quantity.predicted(prediction, graph, rows) if weight else None
        if predicted is None:
            continue
        difference = predicted - labels.values[quantity.name].to(predicted.dtype)
        if quantity.per_atom:
            difference = difference / graph.atoms_per_frame[rows].reshape(-1, *[1] * quantity.order)
        own = labels.weight[graph.frame] if quantity.atomic else labels.weight
        each = own[rows].to(difference.dtype).reshape(-1, *[1] * quantity.order)
        terms[quantity.name] = (weight * (each * penalty(difference, settings)).sum(), difference.numel())
    return terms


def entries(terms: dict[str, tuple[Tensor, int]]) -> Tensor:
    """The number of entries of each term, float64 [terms]."""
    return torch.tensor([count for _, count in terms.values()], dtype=torch.float64)


def mean_loss(terms: dict[str, tuple[Tensor, int]], counts: Tensor) -> Tensor:
    """The sum of the terms' means, each over so many entries [terms]: of this batch, or of all processes'."""
    sums = torch.stack([total.double() for total, _ in terms.values()])
    return (sums / counts.clamp(min=1)).sum()


def validation_loss(comparison: Comparison, weights: Mapping[Quantity, float], settings: TrainingConfig) -> float:
    """The same of compared values, each of a frame with weight one: what selects the best model."""
    total = 0.0
    for quantity, weight in weights.items():
        if weight and quantity.compared in comparison.values:
            reference, predicted = map(torch.from_numpy, comparison.values[quantity.compared].pair())
            total += weight * float(penalty(predicted - reference, settings).mean())
    return total
