"""What layers are made of beside kernels and channel mixing: operations on whole values, for tensors and for plans."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run
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


def cat(blocks: Sequence[Value]) -> Value:
    """Blocks [atoms, components, channels] one after the other."""
    return run(_Cat(), *blocks)


def times(x: Value, y: Value | Tensor) -> Value:
    """Elementwise product; either factor may be broadcast."""
    return run(_Times(), x, y)


def mean(x: Value) -> Value:
    """Mean over channels: [atoms, components, channels] -> [atoms, components, 1]."""
    return run(_Mean(), x)


def pointwise(x: Value, function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Value:
    """A function of each number; `slope` is its derivative."""
    return run(_Pointwise(function, slope), x)


def silu(x: Value, scale: float = 1.0) -> Value:
    """scale x / (1 + exp(-x))."""

    def slope(x: Tensor) -> Tensor:
        sigmoid = torch.sigmoid(x)
        return scale * sigmoid * (1 + x * (1 - sigmoid))

    return pointwise(x, lambda x: scale * torch.nn.functional.silu(x), slope)


def sigmoid(x: Value, scale: float = 1.0) -> Value:
    """scale / (1 + exp(-x))."""

    def slope(x: Tensor) -> Tensor:
        found = torch.sigmoid(x)
        return scale * found * (1 - found)

    return pointwise(x, lambda x: scale * torch.sigmoid(x), slope)


def cast(x: Value, dtype: torch.dtype) -> Value:
    """The same numbers in another precision."""
    return x if x.dtype == dtype else run(_Cast(dtype), x)


def recorded(function: Callable[..., Tensor], *inputs: Value) -> Value:
    """Any differentiable function written in Torch. In a plan, autograd records it in every run: the slow way.

    Args:
        function: Of as many tensors as there are inputs.
        inputs: A slot's `function` must give the shape that it gives for zeros.
    """
    return run(_Recorded(function), *inputs)


def give(source: Tensor, target: Target | None) -> Iterable[Call]:
    """The call that brings a gradient from where it was computed to its target."""
    if target is not None:
        yield partial(target.tensor.add_ if target.add else target.tensor.copy_, source)


class _Cat(Operation):
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


class _Times(Operation):
    reads = (0, 1)

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
            if target is None:
                continue
            into, add = target
            summed = [n for n, size in enumerate(g.shape) if into.shape[n] != size]
            if not summed:
                yield partial(into.addcmul_, g, other) if add else partial(torch.mul, g, other, out=into)
            else:
                yield partial(_summed_product, g, other, summed, into, add)


def _summed_product(g: Tensor, other: Tensor, dimensions: list[int], into: Tensor, add: bool) -> None:
    total = (g * other).sum(dimensions, keepdim=True)
    into.add_(total) if add else into.copy_(total)


class _Mean(Operation):
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


class _Pointwise(Operation):
    reads = (0,)

    def __init__(self, function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> None:
        self.function, self.slope = function, slope

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


class _Cast(Operation):
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


class _Recorded(Operation):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._last: tuple[Tensor, list[Tensor]] | None = None

    def eager(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        found = self.function(*(torch.zeros(tuple(i.shape), dtype=i.dtype) for i in inputs))
        return found.shape, found.dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        def call() -> None:
            with torch.inference_mode(False), torch.enable_grad():
                leaves = [i.clone().requires_grad_() for i in inputs]
                self._last = self.function(*leaves), leaves
            out.copy_(self._last[0].detach())

        yield call

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        def call() -> None:
            assert self._last is not None
            wanted = [(leaf, t) for leaf, t in zip(self._last[1], targets, strict=True) if t is not None]
            found = torch.autograd.grad(self._last[0], [leaf for leaf, _ in wanted], g, materialize_grads=True)
            self._last = None
            for value, (_, target) in zip(found, wanted, strict=True):
                for copy in give(value, target):
                    copy()

        yield call
