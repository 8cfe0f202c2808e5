"""Functions of each number, with their first and second derivatives."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run


def pointwise(
    x: Value,
    function: Callable[[Tensor], Tensor],
    slope: Callable[[Tensor], Tensor],
    curvature: Callable[[Tensor], Tensor],
) -> Value:
    """A function of each number; `slope` and `curvature` are its first and second derivative."""
    return run(_Pointwise(function, slope, curvature), x)


def silu(x: Value, scale: float = 1.0) -> Value:
    """scale x / (1 + exp(-x))."""

    def slope(x: Tensor) -> Tensor:
        sigmoid = torch.sigmoid(x)
        return scale * sigmoid * (1 + x * (1 - sigmoid))

    def curvature(x: Tensor) -> Tensor:
        sigmoid = torch.sigmoid(x)
        return scale * sigmoid * (1 - sigmoid) * (2 + x * (1 - 2 * sigmoid))

    return pointwise(x, lambda x: scale * torch.nn.functional.silu(x), slope, curvature)


def sigmoid(x: Value, scale: float = 1.0) -> Value:
    """scale / (1 + exp(-x))."""

    def slope(x: Tensor) -> Tensor:
        found = torch.sigmoid(x)
        return scale * found * (1 - found)

    def curvature(x: Tensor) -> Tensor:
        found = torch.sigmoid(x)
        return scale * found * (1 - found) * (1 - 2 * found)

    return pointwise(x, lambda x: scale * torch.sigmoid(x), slope, curvature)


class _Pointwise(Operation):
    def __init__(self, *functions: Callable[[Tensor], Tensor]) -> None:
        self.function, self.slope, self.curvature = functions

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return (0,)

    def eager(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0])

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return inputs[0].shape, inputs[0].dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield lambda: out.copy_(self.function(inputs[0]))

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if targets[0] is not None:
            into, add = targets[0]
            if add:
                yield lambda: into.addcmul_(g, self.slope(inputs[0]))
            else:
                yield lambda: torch.mul(g, self.slope(inputs[0]), out=into)

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        move = moves[0]
        assert move is not None
        yield lambda: torch.mul(move, self.slope(inputs[0]), out=out)

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
        if targets[0] is not None:
            move, into = moves[0], targets[0].tensor
            assert move is not None
            yield lambda: into.addcmul_(slope * move, self.curvature(inputs[0]))
