"""A forward pass and its gradient as lists of calls on fixed memory.

A plan is what layers make when they are given a slot in place of a tensor. What depends on no slot is computed while
the plan is made and is constant in it. The plan differentiates what it has recorded, gives memory to slots that are
alive at different times, and binds every operation to it; a run is then a loop over calls. Nothing is allocated,
nothing recorded, no operator dispatched.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cartalg.nn.values import Call, Operation, Slot, Target


class Step:
    """An operation that a plan has recorded.

    Attributes:
        operation, inputs, out: What is done with what, and the result.
        slots: Inputs that are slots.
    """

    def __init__(self, operation: Operation, inputs: tuple[Tensor | Slot, ...], out: Slot) -> None:
        self.operation, self.inputs, self.out = operation, inputs, out
        self.slots = [i for i in inputs if isinstance(i, Slot)]

    def tensors(self) -> list[Tensor]:
        """Inputs as tensors, once the plan is bound."""
        return [i.tensor if isinstance(i, Slot) else i for i in self.inputs]


class Instruction(NamedTuple):
    """Calls to bind when slots have memory: what they are for, the slots they touch."""

    section: str
    slots: Sequence[Slot]
    bind: Callable[[], Iterable[Call]]


class Program(NamedTuple):
    """A bound plan.

    Attributes:
        input, result, others, gradient: Where the input is to be written, and where results are found: the next run
            overwrites them.
        sections: Calls: ``result``, ``others`` and ``gradient``, to be run in this order.
        blocks: All memory.
    """

    input: Tensor
    result: Tensor
    others: list[Tensor]
    gradient: Tensor
    sections: dict[str, list[Call]]
    blocks: list[Tensor]

    def run(self, section: str) -> None:
        """Run a section's calls."""
        for call in self.sections[section]:
            call()


class Plan:
    """Records a computation of one result from one input, and of further results beside it.

    Args:
        shape: Shape of the input.
        dtype: Its type.
        kept: What `once` has made, for plans of the same parameters to share.
        spare: Blocks of memory to take, of a program that is not run again.

    Attributes:
        input: The slot of the input.
    """

    def __init__(
        self, shape: Sequence[int], dtype: torch.dtype, kept: dict[Hashable, Any], spare: Iterable[Tensor] = ()
    ) -> None:
        self.input = Slot(self, shape, dtype)
        self.steps: list[Step] = []
        self._blocks: list[Tensor] = []
        self._kept, self._spare = kept, [*spare]
        self._program: list[Instruction] = []

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at the first call with this key: prepared weights."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def record(self, operation: Operation, inputs: Sequence[Tensor | Slot]) -> Slot:
        """The slot of an operation's result."""
        out = Slot(self, *operation.shape(*inputs))
        kept = (i if isinstance(i, Slot) else i.clone(memory_format=torch.contiguous_format) for i in inputs)
        self.steps.append(Step(operation, tuple(kept), out))
        return out

    def bind(self, result: Slot, others: Sequence[Slot] = ()) -> Program:
        """Differentiate the sum of `result`, give memory to all slots and bind all calls. The plan is empty after that.

        Raises:
            ValueError: If the result is a part of another slot.
        """
        if result.base is not None:
            raise ValueError("the result of a plan is no part of another value")
        main = self._ancestors([result])
        rest = [step for step in self._ancestors(others) if step not in main]
        self._host([*main, *rest], [result, *others])
        for section, steps in (("result", main), ("others", rest)):
            for step in steps:
                self._program.append(Instruction(section, [step.out, *step.slots], _forward(self, step)))
        result.gradient = Slot(self, result.shape, result.dtype)
        result.gradient.memory = torch.ones(result.shape, dtype=result.dtype)
        for step in reversed(main):
            self._differentiate(step)
        gradient, _ = self._gradient(self.input)
        self._zero(self.input)
        self._place([self.input, result, *others, gradient])
        sections: dict[str, list[Call]] = {"result": [], "others": [], "gradient": []}
        for instruction in self._program:
            sections[instruction.section] += instruction.bind()
        found = (self.input.tensor, result.tensor, [o.tensor for o in others], gradient.tensor)
        # slots know their plan: what it holds would stay until the garbage collector comes
        for held in (self.steps, self._program, self._spare):
            held.clear()
        del self.input
        return Program(*found, sections, self._blocks)

    def _ancestors(self, results: Iterable[Slot]) -> list[Step]:
        """Steps that results depend on, in order."""
        wanted, found = {r.whole[0] for r in results}, []
        for step in reversed(self.steps):
            if step.out in wanted:  # no part of another: nothing has been hosted yet
                wanted.update(s.whole[0] for s in step.slots)
                found.append(step)
        return found[::-1]

    def _host(self, steps: Sequence[Step], results: Sequence[Slot]) -> None:
        """Let inputs that nothing else uses be made in the rows of the result that they go into."""
        uses = [slot for step in steps for slot in step.slots]
        for step in steps:
            for n, start in step.operation.hosts(*step.inputs).items():
                slot = step.inputs[n]
                if not isinstance(slot, Slot) or slot.base or slot.parts or slot in (self.input, *results):
                    continue
                if uses.count(slot) == 1:
                    slot.put(step.out, start)

    def _differentiate(self, step: Step) -> None:
        """Add the gradient calls of a step; all that its result is used for has been dealt with."""
        self._zero(step.out)
        g, _ = self._gradient(step.out)
        targets: list[tuple[Slot, bool] | None] = []
        for value in step.inputs:
            wanted = isinstance(value, Slot) and value.base is not step.out
            targets.append(self._gradient(value, write=True) if wanted else None)  # type: ignore[arg-type]
        touched = [g, *(t[0] for t in targets if t)]
        read = [i for n, i in enumerate(step.inputs) if n in step.operation.reads and isinstance(i, Slot)]

        def bind() -> Iterable[Call]:
            places = [Target(t[0].tensor, t[1]) if t else None for t in targets]
            # inputs that are not read may have lost their memory to others
            return step.operation.backward(self, g.tensor, step.tensors(), places)

        self._program.append(Instruction("gradient", [*touched, *read], bind))

    def _gradient(self, slot: Slot, write: bool = False) -> tuple[Slot, bool]:
        """The slot of the gradient to a slot, and whether a contribution is to be added; `write` announces one."""
        whole, start = slot.whole
        if whole.gradient is None:
            whole.gradient = Slot(self, whole.shape, whole.dtype)
            whole.missing = (1 << whole.rows) - 1
        rows = ((1 << slot.rows) - 1) << start
        add = bool(rows & ~whole.missing)
        if write:
            if add:
                self._zero(slot)
            whole.missing &= ~rows
        gradient = whole.gradient
        if whole.shape != slot.shape:
            gradient = gradient.part(start, slot.rows if len(slot.shape) > 2 else None)
        return gradient, add

    def _zero(self, slot: Slot) -> None:
        """Zeros in those rows of a slot's gradient that nothing has been written to."""
        gradient, _ = self._gradient(slot)
        whole, start = slot.whole
        if not whole.missing:
            return
        lacking = [row for row in range(start, start + slot.rows) if whole.missing >> row & 1]
        for _, run_of_rows in groupby(enumerate(lacking), lambda pair: pair[1] - pair[0]):
            rows = [row for _, row in run_of_rows]
            part = gradient if len(rows) == slot.rows else whole.gradient.part(rows[0], len(rows))  # type: ignore
            self._program.append(Instruction("gradient", [part], lambda part=part: [part.tensor.zero_]))  # type: ignore
            whole.missing &= ~(((1 << len(rows)) - 1) << rows[0])

    def _place(self, lasting: Sequence[Slot]) -> None:
        """Give memory to slots, from the first to the last instruction that touches them; `lasting` keep theirs."""
        first, last = {self.input: 0}, {self.input: 0}
        for n, instruction in enumerate(self._program):
            for slot in instruction.slots:
                first.setdefault(slot.whole[0], n)
                last[slot.whole[0]] = n
        last |= dict.fromkeys((s.whole[0] for s in lasting), len(self._program))
        free: list[Tensor] = []
        taken: list[tuple[int, Tensor]] = []
        for slot, start in sorted(first.items(), key=lambda pair: pair[1]):
            if slot.memory is not None:
                continue
            free += [block for until, block in taken if until < start]
            taken = [pair for pair in taken if pair[0] >= start]
            size = math.prod(slot.shape)
            block = _fitting(free, size, slot.dtype, math.inf)
            if block is None:
                block = _fitting(self._spare, size, slot.dtype, 2 * size)
                block = torch.empty(size, dtype=slot.dtype) if block is None else block
                self._blocks.append(block)
            taken.append((last[slot], block))
            slot.memory = block[:size].view(slot.shape)


def _fitting(blocks: list[Tensor], size: int, dtype: torch.dtype, most: float) -> Tensor | None:
    """Take the smallest block of size..most numbers out of a list."""
    fitting = [(b.numel(), n) for n, b in enumerate(blocks) if size <= b.numel() <= most and b.dtype == dtype]
    return blocks.pop(min(fitting)[1]) if fitting else None


def _forward(plan: Plan, step: Step) -> Callable[[], Iterable[Call]]:
    return lambda: step.operation.forward(plan, step.out.tensor, *step.tensors())
