"""What layers are made of beside kernels and channel mixing: operations on whole values, for tensors and for plans."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from cartalg.nn.values import Call, Make, Operation, Recorder, Slot, Target, Value, run
from cartalg.symbolic.irreps import Irreps


def split(x: Value, irreps: Irreps) -> list[Value]:
    """The blocks [atoms, components, channels] of a packed value, one for each irrep."""
    if isinstance(x, Slot):
        return [x.part(s.start, s.stop - s.start) for s in irreps.slices]
    # not slices: the gradient of a slice is a full tensor of zeros
    return list(x.split([term.dim for term in irreps], 1))


def scalars(x: Value) -> Value:
    """The first component of a packed value, [atoms, channels]: the invariant one, where there is one."""
    return x.part(0) if isinstance(x, Slot) else x[:, 0]


def invariants(features: Sequence[Value]) -> Value:
    """The first components of several packed values side by side, [atoms, values, channels]: what describes an atom."""
    return cat([x.part(0, 1) if isinstance(x, Slot) else x[:, :1] for x in features])


def cat(blocks: Sequence[Value]) -> Value:
    """Blocks [atoms, components, channels] one after the other."""
    return run(_Cat(), *blocks)


def times(x: Value, y: Value | Tensor | Make) -> Value:
    """Elementwise product; either factor may be broadcast."""
    return run(_Times(), x, y)


def mean(x: Value) -> Value:
    """Mean over channels: [atoms, components, channels] -> [atoms, components, 1]."""
    return run(_Mean(), x)


def cast(x: Value, dtype: torch.dtype) -> Value:
    """The same numbers in another precision."""
    return x if x.dtype == dtype else run(_Cast(dtype), x)


def give(source: Tensor, target: Target | None) -> Iterable[Call]:
    """The call that brings a gradient from where it was computed to its target."""
    if target is not None:
        yield partial(target.tensor.add_ if target.add else target.tensor.copy_, source)


def summed(target: Target, threads: int) -> tuple[Tensor, list[Call], list[Call]]:
    """Where threads add up a gradient, each in a part of its own [threads, ..]; the calls before and after."""
    into, add = target
    if threads == 1 and into.is_contiguous():
        return into[None], [] if add else [into.zero_], []
    parts = into.new_empty((threads, *into.shape))
    after: Call = partial(_add_up, parts, into) if add else partial(torch.sum, parts, 0, out=into)
    return parts, [parts.zero_], [after]


def _add_up(parts: Tensor, into: Tensor) -> None:
    into.add_(parts.sum(0))


class _Cat(Operation):
    linear = True

    def eager(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        first = inputs[0]
        return (first.shape[0], sum(i.shape[1] for i in inputs), *first.shape[2:]), first.dtype

    def hosts(self, *inputs: Tensor | Slot) -> dict[int, int]:
        return dict(enumerate(accumulate((i.shape[1] for i in inputs[:-1]), initial=0)))

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        for part, block in zip(out.split([i.shape[1] for i in inputs], 1), inputs, strict=True):
            if part.data_ptr() != block.data_ptr():
                yield partial(part.copy_, block)

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        for part, target in zip(g.split([i.shape[1] for i in inputs], 1), targets, strict=True):
            yield from give(part, target)

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        for part, move in zip(out.split([i.shape[1] for i in inputs], 1), moves, strict=True):
            if move is None:
                yield part.zero_
            elif part.data_ptr() != move.data_ptr():
                yield partial(part.copy_, move)


class _Times(Operation):
    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return [1 - n for n in (0, 1) if wanted[n]]

    def eager(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * inputs[1]

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        x, y = inputs
        lead = len(x.shape) - len(y.shape)
        shapes = ([*x.shape], [*[1] * lead, *y.shape]) if lead > 0 else ([*[1] * -lead, *x.shape], [*y.shape])
        return [max(a, b) if a and b else 0 for a, b in zip(*shapes, strict=True)], x.dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield partial(torch.mul, *inputs, out=out)

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        for target, other in zip(targets, inputs[::-1], strict=True):
            if target is not None:
                yield _product(g, other, target)

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        add = False
        for move, other in zip(moves, inputs[::-1], strict=True):
            if move is not None:
                yield _product(move, other, Target(out, add))
                add = True

    def second(
        self,
        plan: Recorder,
        slope: Tensor,
        g: Tensor,
        inputs: Sequence[Tensor],
        moves: Sequence[Tensor | None],
        targets: Sequence[Target | None],
    ) -> Iterable[Call]:
        yield from self.backward(plan, g, inputs, targets)
        for target, move in zip(targets, moves[::-1], strict=True):
            if target is not None and move is not None:
                yield _product(slope, move, Target(target.tensor, True))


def _product(x: Tensor, y: Tensor, target: Target) -> Call:
    """The call for x times y, either broadcast, summed over axes along which the target has one place."""
    into, add = target
    shape = torch.broadcast_tensors(x, y)[0].shape  # broadcast_shapes would import SymPy
    summed = [n for n, size in enumerate(shape) if n < len(shape) - into.ndim or into.shape[n - len(shape)] != size]
    if not summed:
        return partial(into.addcmul_, x, y) if add else partial(torch.mul, x, y, out=into)
    return partial(_summed_product, x, y, summed, into, add)


def _summed_product(x: Tensor, y: Tensor, dimensions: list[int], into: Tensor, add: bool) -> None:
    total = (x * y).sum(dimensions, keepdim=True).view(into.shape)
    into.add_(total) if add else into.copy_(total)


class _Mean(Operation):
    linear = True

    def eager(self, *inputs: Tensor) -> Tensor:
        return inputs[0].mean(2, keepdim=True)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return (*inputs[0].shape[:2], 1), inputs[0].dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield partial(torch.mean, inputs[0], 2, keepdim=True, out=out)

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if targets[0] is not None:
            into, add = targets[0]
            share = 1 / inputs[0].shape[2]
            yield partial(into.add_, g, alpha=share) if add else partial(torch.mul, g.expand_as(into), share, out=into)

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        yield from self.forward(plan, out, *_all(moves))


class _Cast(Operation):
    linear = True

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def eager(self, *inputs: Tensor) -> Tensor:
        return inputs[0].to(self.dtype)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return inputs[0].shape, self.dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield partial(out.copy_, inputs[0])

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        yield from give(g, targets[0])

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        yield from self.forward(plan, out, *_all(moves))


def _all(moves: Sequence[Tensor | None]) -> list[Tensor]:
    """Moves of an operation whose only input is not at rest."""
    return [move for move in moves if move is not None]
