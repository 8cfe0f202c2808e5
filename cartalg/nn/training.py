"""Plans that train: the gradient of a loss to parameters, as two more lists of calls.

For a loss L of results and of the gradient dE/dv of the sum of the first, with g = dL/dE and u = dL/d(dE/dv),

    dL = d(<g, E> + <u, dE/dv>),    <u, dE/dv> = how the sum of E moves when v moves along u,

so one pass forward for the moves of all values, and one backward through values and moves, give the gradient to every
parameter. What the sum of E gains with the move of a value is the gradient that is there already.
Source: docs/theory.md, eqs. 41-43.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from cartalg.nn.adjoints import Adjoints, Instruction, Place, Step, beside
from cartalg.nn.plan import Plan, Program
from cartalg.nn.values import Call, Constant, Make, Scaled, Slot
from cartalg.ops.private import copy_each, scale_each, scaled_each


class NotPlanned(TypeError):
    """A plan that trains was given a tensor that had been computed of parameters: it cannot be computed anew."""


class Weight(NamedTuple):
    """What makes a tensor of parameters, where it is to be written, and where the gradient to it is found."""

    make: Make
    value: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class ScaledWeights:
    """Parameters, the numbers that they are times, and where the products and the gradients to these are."""

    parameters: list[Tensor] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingProgram(Program):
    """A bound plan, with the sections ``tangent`` and ``learn``, to be run in this order after the others.

    Attributes:
        weights: What is made of parameters by autograd.
        scaled: What is parameters times numbers.
        seeds: Where the gradient of the loss is to be written: to the gradient, to the result and to the others.
        parts, sources: Arrays, and what they are copies of: to be renewed when weights have been written.
        tied: Whether the plan was given tensors that are constant in it.
    """

    weights: list[Weight]
    scaled: ScaledWeights
    seeds: list[Tensor]
    parts: list[Tensor]
    sources: list[Tensor]
    tied: bool

    def inputs(self) -> list[Tensor]:
        """What autograd is to know that results depend on: weights as they are now, and parameters."""
        return [*(weight.make() for weight in self.weights), *self.scaled.parameters]

    def set_weights(self, inputs: list[Tensor]) -> None:
        """Write weights, from `inputs`."""
        copy_each([*(weight.value for weight in self.weights), *self.scaled.values], inputs)
        scale_each(self.scaled.values, self.scaled.factors)
        copy_each(self.parts, self.sources)

    def gradients(self) -> list[Tensor]:
        """The gradients to `inputs`, when all has been run."""
        scaled = scaled_each(self.scaled.gradients, self.scaled.factors)
        return [*(weight.gradient.clone() for weight in self.weights), *scaled]


class TrainingPlan(Plan):
    """A plan whose program also gives the gradients to what is made of parameters.

    Args:
        shape, dtype, spare: As of a `Plan`.
    """

    sections = (*Plan.sections, "tangent", "learn")

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, spare: Iterable[Tensor] = ()) -> None:
        super().__init__(shape, dtype, {}, spare)
        self._weights: dict[Make, Slot] = {}
        self._learned: list[Slot] = []
        self._seeds: list[Slot] = []
        self._moves: dict[Slot, Slot] = {}
        self._parts: list[Tensor] = []
        self._sources: list[Tensor] = []
        self._tied = False

    def copied(self, key: Hashable, make: Callable[[], tuple[Tensor, list[Tensor], list[Tensor]]]) -> Tensor:
        """Weights in another layout, made anew whenever weights are written."""

        def made() -> Tensor:
            array, parts, sources = make()
            self._parts += parts
            self._sources += sources
            return array

        return self.once(key, made)  # type: ignore[no-any-return]

    def given(self, make: Make) -> Slot:
        """A slot for what is made of parameters."""
        if make not in self._weights:
            made = make()
            self._weights[make] = Slot(self, made.shape, made.dtype, moves=False, learns=True)
        return self._weights[make]

    def _fixed(self, slot: Slot) -> bool:
        return False  # weights move on

    def _taken(self, value: Tensor | Slot | Make) -> Tensor | Slot:
        if isinstance(value, Slot):
            return value
        if isinstance(value, Constant):
            return value()
        if not isinstance(value, Tensor):
            return self.given(value)
        if value.requires_grad and value.is_leaf:
            return self.given(_Itself(value))
        if value.requires_grad:
            raise NotPlanned("a tensor computed of parameters; give the function that computes it")
        self._tied = True
        return super()._taken(value)

    def bind(self, result: Slot, others: Sequence[Slot] = ()) -> TrainingProgram:
        """As of a `Plan`."""
        program = super().bind(result, others)
        weights, scaled = list[Weight](), ScaledWeights()
        for (make, slot), gradient in zip(self._weights.items(), self._learned, strict=True):
            if isinstance(make, Scaled):
                scaled.parameters.extend(make.parameters)
                scaled.factors.extend(make.factors)
                scaled.values.extend(make.parts(slot.tensor))
                scaled.gradients.extend(make.parts(gradient.tensor))
            else:
                weights.append(Weight(make, slot.tensor, gradient.tensor))
        more = {"weights": weights, "scaled": scaled, "seeds": [seed.tensor for seed in self._seeds]}
        copies = {"parts": self._parts, "sources": self._sources}
        found = TrainingProgram(**vars(program), **more, **copies, tied=self._tied)  # type: ignore[arg-type]
        self.__dict__.clear()  # slots know their plan
        return found

    def _further(
        self, main: Sequence[Step], rest: Sequence[Step], result: Slot, others: Sequence[Slot], slopes: Adjoints
    ) -> tuple[dict[Slot, int], list[Slot]]:
        begin, adjoints = len(self._program), Adjoints(self, "learn", self._program)
        self._add_moves(main)
        self._seeds = [self._move(self.input), adjoints.start(result)]
        for other in others:
            seed, place = Slot(self, other.shape, other.dtype), adjoints.place(other)
            self._seeds.append(seed)
            self._program.append(Instruction("learn", [seed, place.slot], partial(_brought, seed, place)))
        for step in reversed([*main, *rest]):
            if step.out.learns:
                self._learn_from(step, slopes if step in main and step.out.moves else None, adjoints)
        self._learned = [adjoints.finished(slot) for slot in self._weights.values()]
        given = {self.input: 0, **dict.fromkeys(self._weights.values(), 0), **dict.fromkeys(self._seeds, begin)}
        return given, self._learned

    def _add_moves(self, steps: Sequence[Step]) -> None:
        """Add the tangents of steps that gradients to weights depend on."""
        made, read = {step.out for step in steps}, set[Slot]()

        def source(slot: Slot) -> Slot:
            while slot not in made and slot.base is not None:
                slot = slot.base
            return slot

        for step in reversed(steps):
            if step.out in read:
                read.update(source(s) for s in step.slots if s.moves)
            elif step.out.learns and not step.operation.linear:
                read.update(source(s) for s in step.read(_learning(step)) if s.moves)
        for step in steps:
            if step.out in read:
                out, moves = self._move(step.out), self._moves_of(step, range(len(step.inputs)))
                values = [] if step.operation.linear else step.slots
                self._program.append(
                    Instruction("tangent", [out, *values, *filter(None, moves)], _tangent(self, step, out, moves))
                )

    def _learn_from(self, step: Step, slopes: Adjoints | None, adjoints: Adjoints) -> None:
        """Add the calls that bring the gradient of the loss from a step's result to its inputs, moves included."""
        g, wanted = adjoints.finished(step.out), _learning(step)
        places = adjoints.places(step, lambda slot: slot.learns)
        moves: list[Slot | None] = []
        if slopes is not None and not step.operation.linear:
            moves = self._moves_of(step, step.operation.reads(wanted))
        slope = slopes.of(step.out)[0] if slopes is not None and any(moves) else None

        def bind() -> Iterable[Call]:
            given, targets = step.tensors(), [p and p.target for p in places]
            if slope is None:
                return step.operation.backward(self, g.tensor, given, targets)
            return step.operation.second(self, slope.tensor, g.tensor, given, _tensors(moves), targets)

        touched = [g, *step.read(wanted), *(p.slot for p in places if p), *filter(None, (slope, *moves))]
        self._program.append(Instruction("learn", touched, bind))

    def _move(self, slot: Slot) -> Slot:
        """The slot of a slot's move."""
        whole, _ = slot.whole
        if whole not in self._moves:
            self._moves[whole] = Slot(self, whole.shape, whole.dtype)
        return beside(slot, self._moves[whole])

    def _moves_of(self, step: Step, inputs: Iterable[int]) -> list[Slot | None]:
        """Moves of some of a step's inputs, None in place of others and of those that are at rest."""
        found: list[Slot | None] = [None] * len(step.inputs)
        for n in inputs:
            value = step.inputs[n]
            if isinstance(value, Slot) and value.moves:
                found[n] = self._move(value)
        return found


class _Itself:
    """A parameter as what makes it: equal for the same one."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter

    def __call__(self) -> Tensor:
        return self.parameter

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.parameter is self.parameter

    def __hash__(self) -> int:
        return id(self.parameter)


def _learning(step: Step) -> list[bool]:
    return [isinstance(i, Slot) and i.learns for i in step.inputs]


def _tensors(slots: Sequence[Slot | None]) -> list[Tensor | None]:
    return [None if slot is None else slot.tensor for slot in slots]


def _tangent(plan: Plan, step: Step, out: Slot, moves: Sequence[Slot | None]) -> Callable[[], Iterable[Call]]:
    return lambda: step.operation.tangent(plan, out.tensor, step.tensors(), _tensors(moves))


def _brought(seed: Slot, place: Place) -> Iterable[Call]:
    into, add = place.target
    return [partial(into.add_ if add else into.copy_, seed.tensor)]
