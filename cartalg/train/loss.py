"""The loss: weighted differences of energies per atom, force components and stress components."""

import torch
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.model import Prediction
from cartalg.train.config import LossWeights, TrainingConfig
from cartalg.train.dataset import Labels


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
    prediction: Prediction, labels: Labels, graph: Graph, weights: LossWeights, settings: TrainingConfig
) -> dict[str, tuple[Tensor, int]]:
    """Each term of the loss as (weighted sum over labelled entries, their number); `mean_loss` is the sum of the means.

    What has no label is left out; a frame's own weight multiplies its entries. Terms without an entry here are there as
    well, with zero, so that several processes have the same terms.

    Args:
        prediction: Of the batch, differentiable.
        labels: eV, eV/angstrom, eV/angstrom^3; tensors in their own units.
        graph: The batch.
        weights: Of energy per atom, forces and stress, as they are at this epoch.
        settings: Kind of loss, and the weights of tensors.
    """
    own, terms = labels.weight, {}

    def add(name: str, weight: float, difference: Tensor, each: Tensor) -> None:
        if weight:
            each = each.to(difference.dtype).reshape(-1, *[1] * (difference.ndim - 1))
            terms[name] = (weight * (each * penalty(difference, settings)).sum(), difference.numel())

    has = labels.has_energy
    add("energy", weights.energy, ((prediction.energy - labels.energy) / graph.atoms_per_frame)[has], own[has])
    if prediction.forces is not None:
        has = labels.has_forces[graph.frame]
        forces = labels.forces.to(prediction.forces.dtype)
        add("forces", weights.forces, (prediction.forces - forces)[has], own[graph.frame][has])
    if prediction.virial is not None:
        has = labels.has_stress
        add(
            "stress",
            weights.stress,
            prediction.virial[has] / graph.volume[has, None, None] - labels.stress[has],
            own[has],
        )
    for name, predicted in prediction.properties.items():
        values, has = labels.tensors.get(name, (predicted[:0], torch.zeros(graph.n_frames, dtype=torch.bool)))
        frames = torch.arange(graph.n_frames) if len(predicted) == graph.n_frames else graph.frame
        rows = has[frames]
        weight = settings.property_weights.get(name, 1.0)
        add(name, weight, predicted[rows] - values.to(predicted.dtype), own[frames][rows])
    return terms


def entries(terms: dict[str, tuple[Tensor, int]]) -> Tensor:
    """The number of entries of each term, float64 [terms]."""
    return torch.tensor([count for _, count in terms.values()], dtype=torch.float64)


def mean_loss(terms: dict[str, tuple[Tensor, int]], counts: Tensor) -> Tensor:
    """The sum of the terms' means, each over so many entries [terms]: of this batch, or of all processes'."""
    sums = torch.stack([total.double() for total, _ in terms.values()])
    return (sums / counts.clamp(min=1)).sum()
