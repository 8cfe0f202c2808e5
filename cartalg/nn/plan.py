"""A forward pass and its gradient as lists of calls on fixed memory.

A plan is what layers make when they are given a slot in place of a tensor. What depends on no slot is computed while
the plan is made and is constant in it. What depends on the atoms alone, not on the input, is a section of its own, run
when the atoms are others. The plan differentiates what it has recorded, gives memory to slots that are alive at
different times, and binds every operation to it; a run is then a loop over calls. Nothing is allocated, nothing
recorded, no operator dispatched.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cartalg.nn.adjoints import Adjoints, Instruction, Step
from cartalg.nn.memory import give_memory
from cartalg.nn.values import Call, Make, Operation, Slot
from cartalg.ops.private import copy_each


@dataclass(frozen=True)
class Program:
    """A bound plan.

    Attributes:
        input, result, others, gradient: Where the input is to be written, and where results are found: the next run
            overwrites them.
        sections: Calls: ``atoms``, which depends on no input, ``result``, ``others`` and ``gradient``, to be run in
            this order.
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
        spare: Blocks of memory to take, of programs that are not run at the same time.

    Attributes:
        input: The slot of the input.
        sections: Of the program, in order.
    """

    sections: ClassVar[tuple[str, ...]] = ("atoms", "result", "others", "gradient")

    def __init__(
        self, shape: Sequence[int], dtype: torch.dtype, kept: dict[Hashable, Any], spare: Iterable[Tensor] = ()
    ) -> None:
        self.input = Slot(self, shape, dtype)
        self._steps: list[Step] = []
        self._kept, self._spare = kept, [*spare]
        self._program: list[Instruction] = []

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at the first call with this key."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def copied(self, key: Hashable, make: Callable[[], tuple[Tensor, list[Tensor], list[Tensor]]]) -> Tensor:
        """Weights in another layout: (the array, parts of it, what each is a copy of), made once for this key."""

        def made() -> Tensor:
            array, parts, sources = make()
            copy_each(parts, sources)
            return array

        return self.once(key, made)  # type: ignore[no-any-return]

    def given(self, make: Make) -> Slot:
        """A slot for what is made of parameters for each atom, made anew whenever section ``atoms`` is run."""
        made = make()
        slot = Slot(self, made.shape, made.dtype, moves=False)
        self._program.append(Instruction("atoms", [slot], lambda: [lambda: slot.tensor.copy_(make())]))
        return slot

    def _fixed(self, slot: Slot) -> bool:
        """Whether a slot is written in section ``atoms``."""
        return not slot.moves

    def record(self, operation: Operation, inputs: Sequence[Tensor | Slot | Make]) -> Slot:
        """The slot of an operation's result."""
        taken = tuple(map(self._taken, inputs))
        step = Step(operation, taken, Slot(self, *operation.shape(*taken)))
        step.out.moves, step.out.learns = any(s.moves for s in step.slots), any(s.learns for s in step.slots)
        self._steps.append(step)
        return step.out

    def _taken(self, value: Tensor | Slot | Make) -> Tensor | Slot:
        """An input as it is kept."""
        if isinstance(value, Slot):
            return value
        if isinstance(value, Tensor):
            return value.clone(memory_format=torch.contiguous_format)
        return self.once(value, lambda: value().contiguous())  # type: ignore[no-any-return]

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
        fixed = [step for step in (*main, *rest) if self._fixed(step.out)]
        for section, steps in (("atoms", fixed), ("result", main), ("others", rest)):
            for step in steps:
                if self._fixed(step.out) == (section == "atoms"):
                    self._program.append(Instruction(section, [step.out, *step.slots], _forward(self, step)))
        kept = [slot for step in (*main, *rest) for slot in step.slots if self._fixed(slot) > self._fixed(step.out)]
        slopes = Adjoints(self, "gradient", self._program)
        slopes.start(result).memory = torch.ones(result.shape, dtype=result.dtype)
        for step in reversed(main):
            if step.out.moves:
                self._differentiate(step, slopes)
        gradient = slopes.finished(self.input)
        first, lasting = self._further(main, rest, result, others, slopes)
        blocks = self._give_memory(first, [*first, *lasting, *kept, result, *others, gradient])
        sections: dict[str, list[Call]] = {name: [] for name in self.sections}
        for instruction in self._program:
            sections[instruction.section] += instruction.bind()
        found = self.input.tensor, result.tensor, [o.tensor for o in others], gradient.tensor
        # slots know their plan: what it holds would stay until the garbage collector comes
        for held in (self._steps, self._program, self._spare):
            held.clear()
        del self.input
        return Program(*found, sections, blocks)

    def _give_memory(self, first: dict[Slot, int], lasting: Sequence[Slot]) -> list[Tensor]:
        """Give memory to all slots; arguments and result as of `cartalg.nn.memory.give_memory`."""
        return give_memory(self._program, first, lasting, self._spare)

    def _further(
        self, main: Sequence[Step], rest: Sequence[Step], result: Slot, others: Sequence[Slot], slopes: Adjoints
    ) -> tuple[dict[Slot, int], list[Slot]]:
        """Add more sections.

        Args:
            main, rest: Steps that the result depends on, and further ones that others do.
            result, others: Results.
            slopes: The gradients of the result's sum.
        Returns:
            Slots that are written from outside, with the instruction before which they are, and other slots that last.
        """
        return {self.input: 0}, []

    def _ancestors(self, results: Iterable[Slot]) -> list[Step]:
        """Steps that results depend on, in order."""
        wanted, found = {r.whole[0] for r in results}, []
        for step in reversed(self._steps):
            if step.out in wanted:  # no part of another: nothing has been hosted yet
                wanted.update(s.whole[0] for s in step.slots)
                found.append(step)
        return found[::-1]

    def _host(self, steps: Sequence[Step], results: Sequence[Slot]) -> None:
        """Let inputs that nothing else uses be made in the rows of the result that they go into."""
        uses, made = [slot for step in steps for slot in step.slots], {step.out for step in steps}
        for step in steps:
            for n, start in step.operation.hosts(*step.inputs).items():
                slot = step.inputs[n]
                if not isinstance(slot, Slot) or slot.base or slot.parts or slot in results or slot not in made:
                    continue
                if self._fixed(slot) != self._fixed(step.out):  # written less often
                    continue
                if uses.count(slot) == 1:
                    slot.put(step.out, start)

    def _differentiate(self, step: Step, slopes: Adjoints) -> None:
        """Add the gradient calls of a step; all that its result is used for has been dealt with."""
        g, places = slopes.finished(step.out), slopes.places(step, lambda slot: slot.moves)
        read = step.read([place is not None for place in places])

        def bind() -> Iterable[Call]:
            # inputs that are not read may have lost their memory to others
            return step.operation.backward(self, g.tensor, step.tensors(), [p and p.target for p in places])

        self._program.append(Instruction("gradient", [g, *read, *(p.slot for p in places if p)], bind))


def _forward(plan: Plan, step: Step) -> Callable[[], Iterable[Call]]:
    return lambda: step.operation.forward(plan, step.out.tensor, *step.tensors())
