"""Kernels bound to tensors: calls that may be repeated, past Torch's dispatch and without autograd."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from cartalg.ops.functions import AUTO, resolve
from cartalg.ops.kernel_sets import KernelSet
from cartalg_codegen.specs import KernelSpec


def bind(
    kernels: KernelSet,
    spec: KernelSpec,
    stage: str,
    index: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    threads: int,
    backend: str = AUTO,
) -> Callable[[], None]:
    """A call of one stage of a kernel on these tensors, which it keeps alive.

    Args:
        kernels: The kernel set.
        spec: The kernel.
        stage: ``"forward"``, ``"backward"`` and so on: `KernelSpec.stages` lists them with what they read and write.
        index: Arguments without a gradient, by name: `Edges.index`, ``step``, ``intervals`` and ``block`` for a
            convolution, ``species`` for a product.
        tensors: Contiguous, on one device, by the names of the emitted arguments: ``a``, ``w``, ``g``, ``d_a``. Results
            are written to them; a gradient to a parameter is added to parts, shape [threads, ..].
        threads: Number of threads.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
    Returns:
        A function without arguments.
    Raises:
        KernelNotFound: If the set has no such kernel.
        NotImplementedError: If the backend emits no such stage.
    """
    chosen, kernels = resolve(backend, next(iter(tensors.values()))), kernels.holding(spec)
    return chosen.bind(kernels.functions(spec, chosen.name), spec, stage, index, tensors, threads)
