"""What a plan records, and the gradients that are put together of it."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from torch import Tensor

from cartalg.nn.values import Call, Operation, Recorder, Slot, Target


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

    def read(self, wanted: Sequence[bool]) -> list[Slot]:
        """Inputs that gradients to the wanted ones depend on."""
        return [i for n in self.operation.reads(wanted) if isinstance(i := self.inputs[n], Slot)]


class Instruction(NamedTuple):
    """Calls to bind when slots have memory: what they are for, the slots they touch."""

    section: str
    slots: Sequence[Slot]
    bind: Callable[[], Iterable[Call]]


class Place(NamedTuple):
    """Where a contribution to a gradient goes, and whether it is added to what is there."""

    slot: Slot
    add: bool

    @property
    def target(self) -> Target:
        """The same, once the plan is bound."""
        return Target(self.slot.tensor, self.add)


class Adjoints:
    """Gradients to slots, put together in one pass backwards.

    Args:
        plan: What new slots belong to.
        section: Of the instructions that write zeros.
        program: Where these go.
    """

    def __init__(self, plan: Recorder, section: str, program: list[Instruction]) -> None:
        self._plan, self._section, self._program = plan, section, program
        self._slots: dict[Slot, Slot] = {}
        #: Rows of each that nothing has been written to, a bit for each.
        self._missing: dict[Slot, int] = {}

    def start(self, slot: Slot) -> Slot:
        """The slot of the gradient to a whole slot that is given."""
        gradient, _ = self.of(slot)
        self._missing[slot] = 0
        return gradient

    def of(self, slot: Slot) -> tuple[Slot, int]:
        """The slot of the gradient to a slot, and the bits of its rows."""
        whole, start = slot.whole
        if whole not in self._slots:
            self._slots[whole] = Slot(self._plan, whole.shape, whole.dtype)
            self._missing[whole] = (1 << whole.rows) - 1
        return beside(slot, self._slots[whole]), ((1 << slot.rows) - 1) << start

    def place(self, slot: Slot) -> Place:
        """Where a contribution to the gradient to a slot goes."""
        whole, (gradient, rows) = slot.whole[0], self.of(slot)
        add = bool(rows & ~self._missing[whole])
        if add:
            self.finished(slot)
        self._missing[whole] &= ~rows
        return Place(gradient, add)

    def places(self, step: Step, wanted: Callable[[Slot], bool]) -> list[Place | None]:
        """Where the gradients to a step's inputs go, to those that are wanted and not there already."""
        found: list[Place | None] = []
        for value in step.inputs:
            asked = isinstance(value, Slot) and wanted(value) and value.base is not step.out
            found.append(self.place(value) if asked else None)  # type: ignore[arg-type]
        return found

    def finished(self, slot: Slot) -> Slot:
        """The slot of the gradient to a slot, with zeros in those rows that nothing has been written to."""
        gradient, _ = self.of(slot)
        whole, start = slot.whole
        lacking = [row for row in range(start, start + slot.rows) if self._missing[whole] >> row & 1]
        for _, run_of_rows in groupby(enumerate(lacking), lambda pair: pair[1] - pair[0]):
            rows = [row for _, row in run_of_rows]
            part = gradient if len(rows) == slot.rows else self._slots[whole].part(rows[0], len(rows))
            self._program.append(Instruction(self._section, [part], lambda part=part: [part.tensor.zero_]))  # type: ignore[misc]
            self._missing[whole] &= ~(((1 << len(rows)) - 1) << rows[0])
        return gradient


def beside(slot: Slot, other: Slot) -> Slot:
    """The part of another slot, of the size of a slot's whole, that lies in it as the slot does."""
    _, start = slot.whole
    if other.shape == slot.shape:
        return other
    return other.part(start, slot.rows if len(slot.shape) > 2 else None)
