"""Every interface of Torch that it does not promise to keep; nothing else in the library uses one.

The versions that have them are bounded in pyproject.toml. `missing` names those that a version has not, which a test
prints.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

INTERFACES = (
    "_C._are_functorch_transforms_active",
    "_C._will_engine_execute_node",
    "_foreach_add_",
    "_foreach_copy_",
    "_foreach_lerp_",
    "_foreach_mul",
    "_foreach_mul_",
    "utils._python_dispatch.TorchDispatchMode",
)


def missing() -> list[str]:
    """Interfaces that the installed Torch does not have."""
    return [f"torch.{name}" for name in INTERFACES if not _has(torch, name.split("."))]


def _has(place: Any, names: list[str]) -> bool:
    return not names or (hasattr(place, names[0]) and _has(getattr(place, names[0]), names[1:]))


def add_each(into: Iterable[Tensor], what: Iterable[Tensor], factor: float) -> None:
    """Add so many times each of some tensors to each of others, in one call."""
    torch._foreach_add_([*into], [*what], alpha=factor)


def scale_each(tensors: Sequence[Tensor], factors: float | Sequence[float]) -> None:
    """Multiply each tensor, all by one number or each by its own, in one call."""
    if tensors:
        torch._foreach_mul_([*tensors], factors if isinstance(factors, float) else [*factors])


def scaled_each(tensors: Sequence[Tensor], factors: Sequence[float]) -> list[Tensor]:
    """Each tensor times a number of its own, in one call."""
    return [*torch._foreach_mul([*tensors], [*factors])] if tensors else []


def approach_each(tensors: Iterable[Tensor], others: Iterable[Tensor], weight: float) -> None:
    """Move each tensor towards another by a part of the way, in one call."""
    torch._foreach_lerp_([*tensors], [*others], weight)


def copy_each(into: Sequence[Tensor], what: Sequence[Tensor]) -> None:
    """Copy each of some tensors to each of others, in one call."""
    if into:
        torch._foreach_copy_([*into], [*what])


def dispatched(told: Callable[[str, Sequence[Any], dict[str, Any], Any], None]) -> AbstractContextManager[Any]:
    """In this block, every operator that Torch runs is told of: its name, arguments, keywords and result."""

    class Told(TorchDispatchMode):
        def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = operator(*args, **(kwargs or {}))
            told(str(operator), args, kwargs or {}, result)
            return result

    return Told()


def transforms_are_active() -> bool:
    """Whether a transform of torch.func is at work."""
    return bool(torch._C._are_functorch_transforms_active())


def will_run(node: Any) -> bool:
    """Whether the backward pass in progress will run a node; True where the engine does not tell."""
    if node is None:
        return False
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # for the leaves of torch.autograd.grad
        return True
