"""Optimisers, and their state as tensors and JSON: what a checkpoint holds of them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from cartalg.train.config import TrainingConfig
from cartalg.train.soap import SOAP


def make_optimizer(parameters: Iterable[Parameter], settings: TrainingConfig) -> Optimizer:
    """The optimiser of a run.

    AdamW with AMSGrad is Torch's. SOAP (Vyas et al. 2024, arXiv:2409.11321) is Adam in the eigenbasis of the second
    moments of a matrix's rows and columns. That it trains interatomic potentials better was found by Harari et al. 2026
    (arXiv:2607.02499); what it gives here is in docs/benchmarks.md.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return _ClippedAdamW(parameters, settings.clip_norm, lr=rate, weight_decay=decay, amsgrad=True, fused=True)
    return SOAP(
        parameters,
        rate,
        decay,
        frequency=settings.soap_frequency,
        largest=settings.soap_max_size,
        clip=settings.clip_norm,
    )


class _ClippedAdamW(AdamW):
    """Torch's, which first shortens gradients that together are longer than `clip`."""

    def __init__(self, parameters: Iterable[Parameter], clip: float, **settings: Any) -> None:
        super().__init__(parameters, **settings)
        self._clip = clip

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], self._clip, foreach=True)
        super().step()


def tensors_and_rest(tree: Any, name: str) -> tuple[dict[str, Tensor], Any]:
    """Divide nested dicts and lists: tensors by dotted name, and the same tree in JSON with names in their place.

    Strides are kept: a matrix stored by columns is multiplied in another order, which would change the last bit.
    """
    if isinstance(tree, Tensor):
        return {name: tree}, {"tensor": name, "stride": list(tree.stride())}
    found: dict[str, Tensor] = {}
    if isinstance(tree, dict):
        pairs = []
        for key, value in tree.items():
            tensors, rest = tensors_and_rest(value, f"{name}.{key}")
            found |= tensors
            pairs.append([key, rest])
        return found, {"pairs": pairs}  # JSON would make strings of whole-number keys
    if isinstance(tree, (list, tuple)):
        items = []
        for place, value in enumerate(tree):
            tensors, rest = tensors_and_rest(value, f"{name}.{place}")
            found |= tensors
            items.append(rest)
        return found, items
    return found, tree


def put_together(rest: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `tensors_and_rest`; tuples come back as lists."""
    if isinstance(rest, dict):
        if "tensor" in rest:
            tensor = tensors[rest["tensor"]]
            return torch.empty_strided(tensor.shape, rest["stride"], dtype=tensor.dtype).copy_(tensor)
        return {key: put_together(value, tensors) for key, value in rest["pairs"]}
    if isinstance(rest, list):
        return [put_together(value, tensors) for value in rest]
    return rest
