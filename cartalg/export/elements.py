"""Mixing by matrices of each element's own, without looking at elements: atoms in the order of their types, a kernel's
call for each type, and the order of before."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cartalg.nn.element_mixing import ElementMix
from cartalg.nn.mixing import Mix
from cartalg.nn.values import Call, Operation, Recorder, Slot, Target

#: (type, input, result) -> a block in which a kernel's call is of that type's atoms, and rows of atoms are those two's.
Grouped = Callable[[int, Tensor, Tensor], AbstractContextManager[None]]


class GroupedMix(Operation):
    """What an `ElementMix` does.

    Args:
        mix: That.
        order, back: Numbers of the atoms by type, and the place of each atom among them, [atoms].
        grouped: Says that a call is of atoms of a type.
    """

    def __init__(self, mix: ElementMix, order: Tensor, back: Tensor, grouped: Grouped) -> None:
        self._mix, self._order, self._back, self._grouped = mix, order, back, grouped

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return self._mix.shape(*inputs)

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return self._mix.reads(wanted)

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        x, weight = inputs

        def calls(of: Recorder, result: Tensor, given: Tensor, own: Tensor) -> Iterable[Call]:
            return Mix(self._mix.mixing).forward(of, result, given, own)

        yield from self._sorted(plan, x, Target(out, False), self._weights(plan, weight, x.shape[2]), calls)

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        target = targets[0]
        if target is None:
            return

        def calls(of: Recorder, result: Tensor, given: Tensor, own: Tensor) -> Iterable[Call]:
            return Mix(self._mix.mixing).backward(of, given, [result, own], [Target(result, False), None])

        weights = self._weights(plan, inputs[1], target.tensor.shape[2])
        yield from self._sorted(plan, g, target, weights, calls)

    def _weights(self, plan: Recorder, weight: Tensor, channels: int) -> list[Tensor]:
        """Of each type, as a `Mix` takes them."""
        of_pairs = self._mix.matrices(weight, channels)
        key = self._mix.mixing, "of types"
        return plan.once(key, lambda: [torch.cat(own) for own in zip(*of_pairs, strict=True)])  # type: ignore[no-any-return]

    def _sorted(
        self,
        plan: Recorder,
        x: Tensor,
        target: Target,
        weights: Sequence[Tensor],
        calls: Callable[[Recorder, Tensor, Tensor, Tensor], Iterable[Call]],
    ) -> Iterator[Call]:
        into, add = target
        given, result, back = x.new_empty(x.shape), into.new_empty(into.shape), into.new_empty(into.shape)
        yield partial(torch.index_select, x, 0, self._order, out=given)
        for number, weight in enumerate(weights):
            *zeros, last = calls(_OfType(plan, number), result, given, weight)
            if number == 0:
                yield from zeros
            yield partial(self._call, number, given, result, last)
        yield partial(torch.index_select, result, 0, self._back, out=back)
        yield partial(into.add_ if add else into.copy_, back)

    def _call(self, number: int, given: Tensor, result: Tensor, call: Call) -> None:
        with self._grouped(number, given, result):
            call()


class _OfType:
    """A plan for one type: what is made once is made once for it."""

    def __init__(self, plan: Recorder, number: int) -> None:
        self._plan, self._number = plan, number

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        return self._plan.once((self._number, key), make)

    def copied(self, key: Hashable, make: Callable[[], tuple[Tensor, list[Tensor], list[Tensor]]]) -> Tensor:
        return self._plan.copied((self._number, key), make)

    def record(self, operation: Operation, inputs: Sequence[Any]) -> Slot:
        return self._plan.record(operation, inputs)

    def given(self, make: Callable[[], Tensor]) -> Tensor | Slot:
        return self._plan.given(make)
