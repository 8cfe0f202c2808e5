"""A bound call of a Torch function: it copies the result to where it is wanted."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from cartalg_codegen.specs import KernelSpec


def bind(
    functions: ModuleType,
    spec: KernelSpec,
    stage: str,
    index: Mapping[str, Any],
    tensors: Mapping[str, Any],
    threads: int,
) -> Callable[[], None]:
    """`forward` on tensors, by the names of the emitted arguments.

    Raises:
        NotImplementedError: For a derivative: autograd has them, there is nothing to bind.
    """
    if stage != "forward":
        raise NotImplementedError(f"{spec.name}: the torch backend emits no {stage}; differentiate forward instead")
    reads = [tensors[name] for name in spec.stages()[stage].reads]
    if "sender" in index:
        arguments = [
            index["step"],
            int(index["intervals"]),
            index["block"],
            index["sender"],
            index["receiver"],
            *reads,
            tensors["out"].new_zeros(tensors["out"].shape),
        ]
    else:
        arguments = [*index.values(), *reads]
    return lambda: tensors["out"].copy_(functions.forward(*arguments))
