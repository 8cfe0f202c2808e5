"""What layers compute with: tensors, which autograd records, or slots, which a plan records; and operations on both.

A layer is written once, over values. Given tensors it computes, and autograd differentiates it in any order; given a
slot, the same lines make a plan: `cartalg.nn.plan`. Weights are given to operations as functions that make them of
parameters, so that a plan can make them anew when parameters have changed, and say how the result depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

Call = Callable[[], object]
#: Makes a tensor of parameters.
Make = Callable[[], Tensor]


@dataclass(frozen=True)
class Made:
    """What makes a tensor of parameters: a method of a layer, and its arguments. Equal if these are."""

    function: Callable[..., Tensor]
    arguments: tuple[Any, ...]

    def __call__(self) -> Tensor:
        """That tensor."""
        return self.function(*self.arguments)


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that depends on no parameter and, other than a tensor given as it is, on no atoms."""

    tensor: Tensor

    def __call__(self) -> Tensor:
        """That tensor."""
        return self.tensor


@dataclass(frozen=True)
class Scaled:
    """Parameters, each times a number, one below the other in a matrix of so many columns. Equal if all of it is.

    Plans that train make and differentiate it by themselves, all such weights at once.
    """

    parameters: tuple[Tensor, ...]
    factors: tuple[float, ...]
    columns: int

    def __call__(self) -> Tensor:
        """That matrix."""
        scaled = [f * p.view(-1, self.columns) for p, f in zip(self.parameters, self.factors, strict=True)]
        return scaled[0] if len(scaled) == 1 else torch.cat(scaled)

    def parts(self, matrix: Tensor) -> list[Tensor]:
        """The part of each parameter in such a matrix, of its shape."""
        parts = matrix.split([p.numel() // self.columns for p in self.parameters])
        return [part.view(p.shape) for part, p in zip(parts, self.parameters, strict=True)]


class Recorder(Protocol):
    """What a slot belongs to: a plan."""

    def record(self, operation: Operation, inputs: Sequence[Tensor | Slot | Make]) -> Slot:
        """The slot of an operation's result."""
        ...

    def given(self, make: Make) -> Tensor | Slot:
        """What is made of parameters for this plan: a slot if the plan gives gradients to it."""
        ...

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at the first call with this key."""
        ...

    def copied(self, key: Hashable, make: Callable[[], tuple[Tensor, list[Tensor], list[Tensor]]]) -> Tensor:
        """Weights in another layout: (the array, parts of it, what each is a copy of), made once for this key."""
        ...


class Slot:
    """A value of a plan.

    A slot [atoms, rows, channels] may lie in the rows of another one, its `base`, from row `start` on: as a part of it,
    as one of the blocks it is put together of, or as the same value before something was added.

    Attributes:
        shape: Shape of the tensor that it stands for.
        moves, learns: Whether it depends on the plan's input, and on parameters.
        memory: That tensor, once there is one.
    """

    __slots__ = ("base", "dtype", "learns", "memory", "moves", "parts", "plan", "shape", "start")

    def __init__(
        self, plan: Recorder, shape: Sequence[int], dtype: torch.dtype, moves: bool = True, learns: bool = False
    ) -> None:
        self.plan, self.shape, self.dtype = plan, tuple(shape), dtype
        self.moves, self.learns = moves, learns
        self.base: Slot | None = None
        self.start = 0
        self.parts = 0
        self.memory: Tensor | None = None

    @property
    def rows(self) -> int:
        """Components: the second of three or more axes, and one where there are fewer."""
        return self.shape[1] if len(self.shape) > 2 else 1

    def part(self, start: int, count: int | None = None) -> Slot:
        """Rows from one on, [atoms, count, channels]; without a count that one alone, [atoms, channels]."""
        self.parts += 1
        shape = (self.shape[0], *([] if count is None else [count]), *self.shape[2:])
        return Slot(self.plan, shape, self.dtype, self.moves, self.learns).put(self, start)

    def put(self, base: Slot, start: int) -> Slot:
        """Lie in the rows of another slot."""
        self.base, self.start = base, start
        return self

    @property
    def whole(self) -> tuple[Slot, int]:
        """The slot that has memory of its own, and the row of it where this one starts."""
        slot, start = self, 0
        while slot.base is not None:
            start, slot = start + slot.start, slot.base
        return slot, start

    @property
    def tensor(self) -> Tensor:
        """The tensor, once the plan is bound."""
        whole, start = self.whole
        assert whole.memory is not None
        if whole is self or whole.shape == self.shape:
            return whole.memory
        return whole.memory[:, start : start + self.rows] if len(self.shape) > 2 else whole.memory[:, start]


#: What layers compute with: a layer returns what it is given.
Value = TypeVar("Value", Tensor, Slot)


class Target(NamedTuple):
    """Where a gradient goes, and whether it is added to what is there."""

    tensor: Tensor
    add: bool


class Operation:
    """A differentiable operation, on tensors and on bound buffers, which may be rows of larger ones.

    An input that is at rest has no move; it is None in its place.

    Attributes:
        linear: In all its inputs together: moves then have no part in second derivatives.
    """

    linear = False

    def eager(self, *inputs: Tensor) -> Tensor:
        """The result for tensors, differentiable by autograd."""
        raise NotImplementedError

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        """Shape and type of the result."""
        raise NotImplementedError

    def hosts(self, *inputs: Tensor | Slot) -> dict[int, int]:
        """Inputs that are rows of the result, or summands of it, and the row where each starts.

        One that nothing else uses is made in its place, and its gradient is there too: `forward` finds it at the
        address of its rows, and `backward` no target for it.
        """
        return {}

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        """Inputs that gradients to the wanted ones depend on; others may have lost their memory when it is computed."""
        return ()

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        """Calls that write the result."""
        raise NotImplementedError

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        """Calls that write, or add, the gradient to each input that has a target; `g` is that to the result."""
        raise NotImplementedError

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        """Calls that write how the result moves when the inputs do; not all are at rest.

        A summand's move may be at the address of its rows, as the summand is.
        """
        raise NotImplementedError

    def second(
        self,
        plan: Recorder,
        slope: Tensor,
        g: Tensor,
        inputs: Sequence[Tensor],
        moves: Sequence[Tensor | None],
        targets: Sequence[Target | None],
    ) -> Iterable[Call]:
        """As `backward`, of <g, out> + <slope, tangent>. Not asked of what is linear."""
        raise NotImplementedError


def run(operation: Operation, *values: Tensor | Slot | Make) -> Any:
    """The operation's result: a slot where any input is one, else a tensor."""
    for value in values:
        if isinstance(value, Slot):
            return value.plan.record(operation, values)
    return operation.eager(*(v if isinstance(v, Tensor) else v() for v in values))  # type: ignore[operator]


def given(like: Tensor | Slot, make: Make) -> Any:
    """What is made of parameters for each atom, for use beside a value: a tensor, or a slot if its plan trains."""
    return like.plan.given(make) if isinstance(like, Slot) else make()
