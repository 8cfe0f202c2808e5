"""Plans cut where features go from atoms to their neighbours, so that many atoms take turns on the memory of a few.

All layers of a chunk of atoms cannot run before its neighbours' are known. One layer of it can: a stage is what lies
between two exchanges (`cartalg.nn.exchange`), forward, and the gradient of that. What a stage leaves to another one is
kept for all atoms: features of a layer, and gradients to them. Everything else lives while a chunk has its turn, and is
computed once more where the gradient wants it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from cartalg.nn.adjoints import Instruction, Step
from cartalg.nn.exchange import Collect, Fill
from cartalg.nn.plan import Plan, Program
from cartalg.nn.values import Call, Slot


@dataclass
class Stage:
    """What can be run of a chunk before its neighbours' next features are known.

    Attributes:
        fill: Where features of neighbours go, which it begins with; the first one has none.
        forward, others, gradient: Calls. The first stage depends on species alone, and has no gradient.
        begins, ends: Tensors that are read from what is kept, and kept, forward; and of the gradient.
        give: The value whose features its neighbours want next; the last stage has none.
        take: Where the gradient to these goes, if it comes.
        collect: The call that gives gradients to the features of neighbours.
    """

    fill: Tensor | None = None
    forward: list[Call] = field(default_factory=list)
    others: list[Call] = field(default_factory=list)
    gradient: list[Call] = field(default_factory=list)
    begins: list[Tensor] = field(default_factory=list)
    ends: list[Tensor] = field(default_factory=list)
    gradient_begins: list[Tensor] = field(default_factory=list)
    gradient_ends: list[Tensor] = field(default_factory=list)
    give: Tensor | None = None
    take: Collect | None = None
    collect: Tensor | None = None


@dataclass
class Piece:
    """The calls of an instruction, and the slots that they touch."""

    section: str
    slots: list[Slot]
    calls: list[Call]


class StagedPlan(Plan):
    """A plan whose program comes in stages. No two of its values share memory: a chunk is small.

    After `bind`, `stages` are those of the program, and `fixed` are calls for the first stage's sequel: what depends on
    species and on the neighbours' species.
    """

    def bind(self, result: Slot, others: Sequence[Slot] = ()) -> Program:
        """As of a `Plan`."""
        self.pieces: list[Piece] = []
        program = super().bind(result, others)
        self.stages, self.fixed = _staged(self.pieces, {self._given, result, *others})
        del self.pieces, self._given
        return program

    def _host(self, steps: Sequence[Step], results: Sequence[Slot]) -> None:
        """No value is made in another's rows: each is written in one stage."""

    def _give_memory(self, first: dict[Slot, int], lasting: Sequence[Slot]) -> list[Tensor]:
        blocks, (self._given,) = [], first  # the input is written in each turn
        for slot in [*first, *(slot for instruction in self._program for slot in instruction.slots), *lasting]:
            whole = slot.whole[0]
            if whole.memory is None:
                whole.memory = torch.empty(whole.shape, dtype=whole.dtype)
                blocks.append(whole.memory)
        self._program[:] = [i._replace(bind=partial(self._noted, i)) for i in self._program]
        return blocks

    def _noted(self, instruction: Instruction) -> Iterable[Call]:
        calls = [*instruction.bind()]
        self.pieces.append(Piece(instruction.section, [s.whole[0] for s in instruction.slots], calls))
        return calls


def _staged(pieces: Sequence[Piece], results: set[Slot]) -> tuple[list[Stage], list[Call]]:
    """Stages, and the fixed calls after the first exchange; `results` are kept otherwise."""
    stages, fixed = [Stage()], list[Call]()
    #: Stages in which a slot is touched, forward and for the gradient, the one where it is written first.
    forward, backward = dict[Slot, list[int]](), dict[Slot, list[int]]()
    always = results | {slot for piece in pieces if piece.section == "atoms" for slot in piece.slots}
    at = 0
    for piece in pieces:
        cut = piece.calls[0] if piece.calls and isinstance(piece.calls[0], Fill | Collect) else None
        if isinstance(cut, Fill):
            stages[at].give = cut.x
            stages.append(Stage(fill=cut.out))
            at += 1
            out, *read = piece.slots
            forward.setdefault(out, []).append(at)
            for slot in read:
                forward.setdefault(slot, []).append(at - 1)
            continue
        if isinstance(cut, Collect):
            stages[at].collect, stages[at - 1].take = cut.g, cut
            g, *targets = piece.slots
            backward.setdefault(g, []).append(at)
            for slot in targets:
                backward.setdefault(slot, []).append(at - 1)
            at -= 1
            continue
        if piece.section == "atoms":
            (fixed if at else stages[0].forward).extend(piece.calls)
            continue
        at = max(at, 1)
        getattr(stages[at], "forward" if piece.section == "result" else piece.section).extend(piece.calls)
        for slot in piece.slots:
            if slot not in always:
                touched = forward if slot in forward or piece.section != "gradient" else backward
                touched.setdefault(slot, []).append(at)
    _keep(stages, forward, backward)
    return stages, fixed


def _keep(stages: list[Stage], forward: dict[Slot, list[int]], backward: dict[Slot, list[int]]) -> None:
    """Say what each stage reads of others and leaves to others, from where slots are touched, first where written."""
    for slot, places in forward.items():
        for place in sorted(set(places) - {places[0]}):
            stages[place].begins.append(slot.tensor)
        if len(set(places)) > 1:
            stages[places[0]].ends.append(slot.tensor)
    for slot, places in backward.items():
        for place in set(places) - {places[0]}:
            stages[place].gradient_begins.append(slot.tensor)
        for place in set(places) - {places[-1]}:
            stages[place].gradient_ends.append(slot.tensor)
