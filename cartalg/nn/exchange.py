"""Features on their way to copies of atoms, and gradients on the way back: between processes, or to periodic images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import Edges, Exchange


def spread(x: Value, edges: Edges) -> Value:
    """Values of receivers [receivers, ..] as values of all senders [senders, ..], by the exchange of the edges."""
    return x if edges.exchange is None else run(_Spread(edges.exchange, edges.senders), x)


def gathered(g: Tensor, edges: Edges) -> Tensor:
    """What is for senders [senders, ..], each copy's given to the atom that it is a copy of: [receivers, ..]."""
    exchange = edges.exchange
    return g if exchange is None else _Collecting.apply(exchange, edges.receivers, g)  # type: ignore[no-any-return, no-untyped-call]


@dataclass(frozen=True)
class Fill:
    """The call that writes values of all senders. In a program, what comes before it must be done by all domains."""

    exchange: Exchange
    x: Tensor
    out: Tensor

    def __call__(self) -> None:
        """Copy the rows of atoms, and fetch those of copies."""
        owned = self.exchange.owned
        self.out[:owned] = self.x[:owned]
        self.exchange.fill(self.out)


@dataclass(frozen=True)
class Collect:
    """The call that brings a gradient to values of all senders back to the atoms: the transpose of `Fill`."""

    exchange: Exchange
    g: Tensor
    target: Target

    def __call__(self) -> None:
        """Write or add the rows of atoms, and add what comes of their copies."""
        into, add = self.target
        owned = self.exchange.owned
        if add:
            into[:owned] += self.g[:owned]
        else:
            into[:owned] = self.g[:owned]
            into[owned:] = 0
        self.exchange.collect(self.g, into)


class _Spread(Operation):
    linear = True

    def __init__(self, exchange: Exchange, senders: int) -> None:
        self.exchange, self.senders = exchange, senders

    def eager(self, *inputs: Tensor) -> Tensor:
        return _Spreading.apply(self.exchange, self.senders, inputs[0])  # type: ignore[no-untyped-call, no-any-return]

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return (self.senders, *inputs[0].shape[1:]), inputs[0].dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield Fill(self.exchange, inputs[0], out)

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if targets[0] is not None:
            yield Collect(self.exchange, g, targets[0])

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        assert moves[0] is not None
        yield Fill(self.exchange, moves[0], out)


class _Spreading(torch.autograd.Function):
    """The same for autograd, in any order: both directions are linear, each the transpose of the other."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, senders: int, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.exchange, ctx.atoms = exchange, len(x)
        out = x.new_empty(senders, *x.shape[1:])
        Fill(exchange, x, out)()
        return out

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        return None, None, _Collecting.apply(ctx.exchange, ctx.atoms, given[0])  # type: ignore[no-untyped-call]


class _Collecting(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exchange: Exchange, atoms: int, g: Tensor) -> Tensor:  # type: ignore[override]
        ctx.exchange, ctx.senders = exchange, len(g)
        into = g.new_empty(atoms, *g.shape[1:])
        Collect(exchange, g.contiguous(), Target(into, False))()
        return into

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        return None, None, _Spreading.apply(ctx.exchange, ctx.senders, given[0])  # type: ignore[no-untyped-call]
