"""Generated kernels as operations of layers: for tensors through `cartalg.ops`, for plans bound to memory."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cartalg import ops
from cartalg.nn.operations import give, summed
from cartalg.nn.pairs import EveryPair, PairTables
from cartalg.nn.values import Call, Make, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import Edges, KernelSet
from cartalg.ops.autograd import thread_count
from cartalg_codegen.specs import CouplingSpec, EdgeSumSpec, KernelSpec, ProductSpec, UnpackSpec
from cartalg_codegen.specs.base import base


def convolution(
    kernels: KernelSet,
    backend: str,
    spec: EdgeSumSpec,
    edges: Edges,
    x: Value | Tensor,
    vectors: Value,
    table: Value | Make,
    step: float,
    intervals: int,
    pairs: PairTables | None = None,
) -> Value:
    """`cartalg.ops.convolution` on values.

    Args:
        kernels, backend, spec: What runs.
        edges: Edges sorted by receiver.
        x, vectors: [atoms, components, channels] and [edges, 3], in angstrom.
        table: The spline tables of the radial weights, [tables x (intervals + 3), paths, channels], or what makes them.
        step: Knot distance in angstrom.
        intervals: Of a table.
        pairs: Which table is of which pair of elements; None if there is one.
    Returns:
        [atoms, rows, channels].
    """
    return run(_Convolution(kernels, backend, spec, edges, step, intervals, pairs), x, vectors, table)


def edge_sums(
    kernels: KernelSet,
    backend: str,
    spec: EdgeSumSpec,
    edges: Edges,
    vectors: Value,
    table: Value | Tensor | Make,
    step: float,
    intervals: int,
    pairs: PairTables | EveryPair | None = None,
) -> Value:
    """Sums over neighbours of one function of the distance: `convolution` of ones, [receivers, 1, 1]."""
    ones = torch.ones(edges.senders, 1, 1, dtype=vectors.dtype, device=edges.sender.device)
    return run(_Convolution(kernels, backend, spec, edges, step, intervals, pairs, {"x": ones}), vectors, table)


def product(kernels: KernelSet, backend: str, spec: ProductSpec, species: Tensor, a: Value, weights: Make) -> Value:
    """`cartalg.ops.product` on values: a [atoms, components, channels] -> [atoms, output components, channels]."""
    return run(_Kernel(kernels, backend, spec, {"species": species}), a, weights)


def couple(kernels: KernelSet, backend: str, spec: CouplingSpec, a: Value, b: Value) -> Value:
    """`cartalg.ops.couple` on values [atoms, components, channels]."""
    return run(_Kernel(kernels, backend, spec), a, b)


def unpack(kernels: KernelSet, backend: str, spec: UnpackSpec, packed: Value | Tensor) -> Value:
    """`cartalg.ops.unpack` on values: packed [atoms, dimension, 1] -> [atoms, 3^n, 1]."""
    return run(_Kernel(kernels, backend, spec), packed)


class _Kernel(Operation):
    """Any kernel that works row by row, as an operation on its features, geometry and parameter; shapes must fit.

    Args:
        kernels, backend, spec: What runs.
        index: Arguments without a gradient, by name.
        fixed: Features that are constants and no inputs, by name.
    """

    def __init__(
        self,
        kernels: KernelSet,
        backend: str,
        spec: KernelSpec,
        index: Mapping[str, Any] | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.kernels, self.backend, self.spec = kernels, backend, spec
        self.index, self.fixed = dict(index or {}), dict(fixed or {})
        self.names = tuple(n for n in spec.named("feature", "geometry", "parameter") if n not in self.fixed)

    def eager(self, *inputs: Tensor) -> Tensor:
        index = tuple(self.index.values())
        return ops.evaluate(self.spec, *inputs, index=index, backend=self.backend, kernels=self.kernels)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        x = inputs[0]
        return (x.shape[0], self.spec.components["out"], x.shape[2]), x.dtype

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return range(len(self.names))

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield from self._run("forward", self._named(inputs), {"out": Target(out, False)})

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        yield from self._gradients("backward", {**self._named(inputs), "g": g}, targets)

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        given = self._named(inputs) | self._moves(plan, inputs, moves)
        yield from self._run("forward_tangent", given, {"t_out": Target(out, False)})

    def second(
        self,
        plan: Recorder,
        slope: Tensor,
        g: Tensor,
        inputs: Sequence[Tensor],
        moves: Sequence[Tensor | None],
        targets: Sequence[Target | None],
    ) -> Iterable[Call]:
        given = {**self._named(inputs), "g": slope, "t_g": g} | self._moves(plan, inputs, moves)
        if self.spec.parameter() is None or targets[-1] is None:  # otherwise one stage gives both parts
            yield from self.backward(plan, g, inputs, targets)
            targets = [t and Target(t.tensor, True) for t in targets]
        yield from self._gradients("backward_tangent", given, targets)

    def _named(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return {**self.fixed, **dict(zip(self.names, inputs, strict=True))}

    def _moves(self, plan: Recorder, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """Moves by name, zeros for what is at rest; a parameter has none."""
        found = {}
        at_rest = ((name, value, None) for name, value in self.fixed.items())
        for name, value, move in (*at_rest, *zip(self.names, inputs, moves, strict=True)):
            if name != self.spec.parameter():
                zeros = partial(torch.zeros, value.shape, dtype=value.dtype)
                found[f"t_{name}"] = plan.once(("zeros", value.shape, value.dtype), zeros) if move is None else move
        return found

    def _gradients(self, stage: str, given: Mapping[str, Tensor], targets: Sequence[Target | None]) -> Iterable[Call]:
        """A stage that gives gradients, or those that it takes to give all that have a target."""
        wanted = {name: target for name, target in zip(self.names, targets, strict=True) if target is not None}
        parameter = self.spec.parameter()
        for name in ([f"{stage}_{parameter}"] if parameter in wanted else []) + [stage]:
            if wanted:
                writes = {base(w): w for w in self.spec.stages()[name].writes}
                results = {w: wanted.pop(of) if of in wanted else None for of, w in writes.items()}
                yield from self._run(name, given, results)

    def _run(self, stage: str, given: Mapping[str, Tensor], results: Mapping[str, Target | None]) -> Iterable[Call]:
        """Calls of a stage, which reads and writes contiguous arrays; a result without a target is dropped."""
        about = self.spec.stages()[stage]
        read, copies = _contiguous([given[name] for name in about.reads])
        tensors = dict(zip(about.reads, read, strict=True))
        threads = thread_count(about.rows(self.index, tensors[self.names[0]]))
        yield from copies
        after: list[Call] = []
        for name, target in results.items():
            like = given[base(name)] if target is None else target.tensor
            if base(name) == self.spec.parameter() and target is not None:
                tensors[name], before, last = summed(target, threads)
                yield from before
                after += last
            elif target is not None and not target.add and like.is_contiguous():
                tensors[name] = like
            else:
                tensors[name] = result = torch.empty_like(like, memory_format=torch.contiguous_format)
                after += give(result, target)
        yield ops.bind(self.kernels, self.spec, stage, self.index, tensors, threads, self.backend)
        yield from after


class _Convolution(_Kernel):
    def __init__(
        self,
        kernels: KernelSet,
        backend: str,
        spec: EdgeSumSpec,
        edges: Edges,
        step: float,
        intervals: int,
        pairs: PairTables | EveryPair | None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        block = torch.zeros_like(edges.sender) if pairs is None else pairs.block
        index = {"step": step, "intervals": float(intervals), "block": block, **edges.index}
        super().__init__(kernels, backend, spec, index, fixed)
        self.convolution, self.edges, self.pairs, self.intervals = spec, edges, pairs, intervals

    def eager(self, *inputs: Tensor) -> Tensor:
        x, vectors, table = self._named(inputs).values()
        tables, step, block = table.unflatten(0, (-1, self.intervals + 3)), self.index["step"], self.index["block"]
        spec, backend, kernels = self.convolution, self.backend, self.kernels
        return ops.convolution(
            spec, self.edges, x, vectors, tables, step, block=block, backend=backend, kernels=kernels
        )

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        table = inputs[-1]
        return (self.edges.receivers, self.spec.components["out"], table.shape[2]), table.dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        if self.pairs is not None:
            yield self.pairs.update
        yield from super().forward(plan, out, *inputs)


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
