"""Generated kernels as operations of layers: for tensors through `cartalg.ops`, for plans bound to memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cartalg import ops
from cartalg.nn.operations import give
from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import Edges, KernelSet
from cartalg.ops.autograd import thread_count
from cartalg_codegen.specs import CouplingSpec, EdgeSumSpec, KernelSpec, ProductSpec, UnpackSpec

#: Makes a kernel's parameter: the same in every plan until the model's parameters change.
Parameter = Callable[[], Tensor]


def convolution(
    kernels: KernelSet,
    backend: str,
    spec: EdgeSumSpec,
    edges: Edges,
    x: Value | Tensor,
    vectors: Value,
    table: Parameter,
    step: float,
) -> Value:
    """`cartalg.ops.convolution` on values.

    Args:
        kernels, backend, spec: What runs.
        edges: Edges sorted by receiver.
        x, vectors: [atoms, components, channels] and [edges, 3], in angstrom.
        table: Makes the spline table of the radial weights.
        step: Knot distance in angstrom.
    Returns:
        [atoms, rows, channels].
    """
    return run(_Convolution(kernels, backend, spec, {"step": step, **edges.index}, table, edges), x, vectors)


def product(
    kernels: KernelSet, backend: str, spec: ProductSpec, species: Tensor, a: Value, weights: Parameter
) -> Value:
    """`cartalg.ops.product` on values: a [atoms, components, channels] -> [atoms, output components, channels]."""
    return run(_Kernel(kernels, backend, spec, {"species": species}, weights), a)


def couple(kernels: KernelSet, backend: str, spec: CouplingSpec, a: Value, b: Value) -> Value:
    """`cartalg.ops.couple` on values [atoms, components, channels]."""
    return run(_Kernel(kernels, backend, spec), a, b)


def unpack(kernels: KernelSet, backend: str, spec: UnpackSpec, packed: Value | Tensor) -> Value:
    """`cartalg.ops.unpack` on values: packed [atoms, dimension, 1] -> [atoms, 3^n, 1]."""
    return run(_Kernel(kernels, backend, spec), packed)


class _Kernel(Operation):
    """Any kernel that works row by row, as an operation on what it is differentiated to; shapes must fit.

    Args:
        kernels, backend, spec: What runs.
        index: Arguments without a gradient, by name.
        parameter: Makes its parameter, if it has one.
    """

    def __init__(
        self,
        kernels: KernelSet,
        backend: str,
        spec: KernelSpec,
        index: Mapping[str, Any] | None = None,
        parameter: Parameter | None = None,
    ) -> None:
        self.kernels, self.backend, self.spec, self.parameter = kernels, backend, spec, parameter
        self.index = dict(index or {})
        self.names = spec.named("feature", "geometry")
        self.reads = tuple(range(len(self.names)))

    def eager(self, *inputs: Tensor) -> Tensor:
        given = inputs if self.parameter is None else (*inputs, self.parameter())
        index = tuple(self.index.values())
        return ops.evaluate(self.spec, *given, index=index, backend=self.backend, kernels=self.kernels)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        x = inputs[0]
        return (x.shape[0], self.spec.components["out"], x.shape[2]), x.dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        given, copies = _contiguous(inputs)
        yield from copies
        result = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
        yield self._bind(plan, "forward", {**dict(zip(self.names, given, strict=True)), "out": result})
        if result is not out:
            yield partial(out.copy_, result)

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        (g, *given), copies = _contiguous((g, *inputs))
        yield from copies
        direct = [t is not None and not t.add and t.tensor.is_contiguous() for t in targets]
        results = [
            t.tensor if ok and t else torch.empty_like(i) for ok, t, i in zip(direct, targets, given, strict=True)
        ]
        slopes = {f"d_{name}": result for name, result in zip(self.names, results, strict=True)}
        yield self._bind(plan, "backward", {**dict(zip(self.names, given, strict=True)), "g": g, **slopes})
        for ok, result, target in zip(direct, results, targets, strict=True):
            if not ok:
                yield from give(result, target)

    def _bind(self, plan: Recorder, stage: str, tensors: dict[str, Tensor]) -> Call:
        make, name = self.parameter, self.spec.parameter()
        if make is not None and name is not None:
            tensors[name] = plan.once(make, lambda: make().contiguous())
        rows = self.spec.stages()[stage].rows(self.index, tensors[self.names[0]])
        return ops.bind(self.kernels, self.spec, stage, self.index, tensors, thread_count(rows), self.backend)


class _Convolution(_Kernel):
    def __init__(
        self,
        kernels: KernelSet,
        backend: str,
        spec: EdgeSumSpec,
        index: Mapping[str, Any],
        table: Parameter,
        edges: Edges,
    ) -> None:
        super().__init__(kernels, backend, spec, index, table)
        self.convolution, self.table, self.edges = spec, table, edges

    def eager(self, *inputs: Tensor) -> Tensor:
        x, vectors = inputs
        table, step = self.table(), self.index["step"]
        return ops.convolution(
            self.convolution, self.edges, x, vectors, table, step, backend=self.backend, kernels=self.kernels
        )

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        x = inputs[0]
        return (len(self.edges.row_ptr) - 1, self.spec.components["out"], x.shape[2]), x.dtype


def _contiguous(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Call]]:
    """The tensors, with copies in place of those that are rows of larger ones, and the calls that fill the copies."""
    copies: dict[tuple[int, torch.Size], Tensor] = {}
    calls: list[Call] = []
    found = []
    for tensor in tensors:
        place = tensor.data_ptr(), tensor.shape
        if not tensor.is_contiguous() and place not in copies:
            copies[place] = torch.empty_like(tensor, memory_format=torch.contiguous_format)
            calls.append(partial(copies[place].copy_, tensor))
        found.append(tensor if tensor.is_contiguous() else copies[place])
    return found, calls
