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


def loss(
    prediction: Prediction, labels: Labels, graph: Graph, weights: LossWeights, settings: TrainingConfig
) -> Tensor:
    """Weighted means over labelled entries; what has no label is left out, a frame's own weight multiplies its entries.

    Args:
        prediction: Of the batch, differentiable.
        labels: eV, eV/angstrom, eV/angstrom^3.
        graph: The batch.
        weights: Of energy per atom, forces and stress, as they are at this epoch.
        settings: Kind of loss.
    """
    total = prediction.energy.new_zeros(())
    has, own = labels.has_energy, labels.weight
    if weights.energy and has.any():
        difference = ((prediction.energy - labels.energy) / graph.atoms_per_frame)[has]
        total = total + weights.energy * (own[has] * penalty(difference, settings)).mean()
    has = labels.has_forces[graph.frame]
    if weights.forces and has.any() and prediction.forces is not None:
        difference = (prediction.forces - labels.forces.to(prediction.forces.dtype))[has]
        each = own[graph.frame][has, None].to(difference.dtype)
        total = total + weights.forces * (each * penalty(difference, settings)).mean()
    has = labels.has_stress
    if weights.stress and has.any() and prediction.virial is not None:
        difference = prediction.virial[has] / graph.volume[has, None, None] - labels.stress[has]
        total = total + weights.stress * (own[has, None, None] * penalty(difference, settings)).mean()
    for name, (values, has) in labels.tensors.items():
        weight = settings.property_weights.get(name, 1.0)
        if weight and name in prediction.properties:
            predicted = prediction.properties[name]
            rows = has if len(predicted) == graph.n_frames else has[graph.frame]
            each = own if len(predicted) == graph.n_frames else own[graph.frame]
            difference = predicted[rows] - values.to(predicted.dtype)
            each = each[rows].to(predicted.dtype).reshape(-1, *[1] * (difference.ndim - 1))
            total = total + weight * (each * penalty(difference, settings)).mean()
    return total
