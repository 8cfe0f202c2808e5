"""Functions written in Torch as operations of plans: autograd records them in every run, piece by piece."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from cartalg.nn.operations import give
from cartalg.nn.values import Call, Make, Operation, Recorder, Slot, Target, Value, run


def recorded(function: Callable[..., Tensor], *inputs: Value | Make) -> Value:
    """Any differentiable function written in Torch. In a plan, autograd records it in every run: the slow way.

    Args:
        function: Of as many tensors as there are inputs; for zeros it must give the shape that it gives otherwise.
        inputs: Parameters that it depends on are among them.
    """
    return run(_Recorded(function), *inputs)


class _Recorded(Operation):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._last: tuple[Tensor, list[Tensor]] | None = None

    def eager(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        found = self.function(*(torch.zeros(tuple(i.shape), dtype=i.dtype) for i in inputs))
        return found.shape, found.dtype

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return range(len(wanted))

    def _record(self, inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        with torch.inference_mode(False), torch.enable_grad():
            leaves = [i.clone().requires_grad_() for i in inputs]
            return self.function(*leaves), leaves

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        def call() -> None:
            self._last = self._record(inputs)
            out.copy_(self._last[0].detach())

        yield call

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        def call() -> None:
            (out, leaves), self._last = self._last or self._record(inputs), None
            _give_gradients(out, g, leaves, targets)

        yield call

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        def call() -> None:
            value, leaves = self._record(inputs)
            with torch.enable_grad():  # the gradient is linear in what it is of: its derivative is the transpose
                of = torch.zeros_like(value, requires_grad=True)
                total = _along(value, of, leaves, moves)
            out.copy_(torch.autograd.grad(total, of)[0])

        yield call

    def second(
        self,
        plan: Recorder,
        slope: Tensor,
        g: Tensor,
        inputs: Sequence[Tensor],
        moves: Sequence[Tensor | None],
        targets: Sequence[Target | None],
    ) -> Iterable[Call]:
        def call() -> None:
            value, leaves = self._record(inputs)
            with torch.enable_grad():
                total = (g * value).sum() + _along(value, slope, leaves, moves)
            _give_gradients(total, None, leaves, targets)

        yield call


def _along(value: Tensor, of: Tensor, leaves: Sequence[Tensor], moves: Sequence[Tensor | None]) -> Tensor:
    """The sum of moves times the gradient of <of, value>, differentiable."""
    moving = [(leaf, move) for leaf, move in zip(leaves, moves, strict=True) if move is not None]
    found = torch.autograd.grad(value, [leaf for leaf, _ in moving], of, create_graph=True, materialize_grads=True)
    return sum(((f * move).sum() for f, (_, move) in zip(found, moving, strict=True)), value.new_zeros(()))


def _give_gradients(
    value: Tensor, g: Tensor | None, leaves: Sequence[Tensor], targets: Sequence[Target | None]
) -> None:
    wanted = [(leaf, t) for leaf, t in zip(leaves, targets, strict=True) if t is not None]
    found = torch.autograd.grad(value, [leaf for leaf, _ in wanted], g, materialize_grads=True)
    for gradient, (_, target) in zip(found, wanted, strict=True):
        for copy in give(gradient, target):
            copy()
