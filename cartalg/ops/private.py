"""Every interface of Torch that it does not promise to keep; nothing else in the library uses one.

The versions that have them are bounded in pyproject.toml. `missing` names those that a version has not, which a test
prints.
"""

from typing import Any

import torch

INTERFACES = ("_are_functorch_transforms_active", "_will_engine_execute_node")


def missing() -> list[str]:
    """Interfaces that the installed Torch does not have."""
    return [f"torch._C.{name}" for name in INTERFACES if not hasattr(torch._C, name)]


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
