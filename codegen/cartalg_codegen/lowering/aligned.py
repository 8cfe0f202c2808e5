"""The loops of an edge-aligned message: channel by channel, for the edges of one atom, in phases.

Features are turned into the frames of the edges; weights are applied there; results are turned back. Each phase is a
loop over edges whose numbers fit into registers: what one phase hands to a later one is kept in a small array, and
what belongs to the atom stays in registers while its edges pass.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from cartalg_codegen.lowering.edges import CHUNK, COUNT, KNOT, OTHER, OWN, THREAD, C, N, owner_of, sum_array
from cartalg_codegen.program import Assign, Program, Ref, Slot, Term, Where
from cartalg_codegen.specs.aligned import AlignedMessageSpec
from cartalg_codegen.specs.edge import SPLINES
from cartalg_codegen.tree import (
    Array,
    Axis,
    Dim,
    Expr,
    Function,
    Int,
    Item,
    Let,
    Loads,
    Loop,
    Module,
    Node,
    Row,
    Scratch,
    Section,
    Sum,
    Var,
)

CHANNELS = Var("channels")
#: Rows that are turned together: each is a register.
ROWS = 20


def lower_message(spec: AlignedMessageSpec) -> Module:
    """All stages of a message."""
    return Module(tuple(_Message(program).function() for program in spec.programs))


def message_parameters(program: Program) -> tuple[str, ...]:
    """Parameters of an emitted message, from what it reads and writes; a driver passes variables of these names.

    count edges with their knots and the rows of their other atoms; `own` the row of the atom.
    """
    slots = (*program.inputs, *program.outputs)
    parts = [s for s in program.outputs if s.where is Where.EDGE]
    scalars = ["count", "own"]
    scalars += ["thread"] if any(s.where is Where.KNOT for s in program.outputs) else []
    sums = dict.fromkeys(map(sum_array, parts))
    return (*scalars, "knot", "other", *(s.name for s in slots if s not in parts), *sums)


class Phase(NamedTuple):
    """Statements that one loop over edges does."""

    title: str
    body: list[Assign]


class _Message:
    """One stage."""

    def __init__(self, program: Program) -> None:
        self.program, self.owner = program, owner_of(program)
        self.slots = {s.name: s for s in (*program.inputs, *program.outputs)}
        self.outputs = {s.name for s in program.outputs}
        self.phases = self._phases()
        where = {a.target: n for n, phase in enumerate(self.phases) for a in phase.body}
        handed = (
            factor
            for n, phase in enumerate(self.phases)
            for assign in phase.body
            for term in assign.terms
            for factor in term.factors
            if where.get(factor, n) != n
        )
        self.kept = {ref: place for place, ref in enumerate(dict.fromkeys(handed))}

    def _phases(self) -> list[Phase]:
        """What is turned in, what happens along the edge, what is turned back: ranks together as far as they fit."""
        turned: dict[str, dict[int, list[Assign]]] = defaultdict(lambda: defaultdict(list))
        back: dict[str, dict[int, list[Assign]]] = defaultdict(lambda: defaultdict(list))
        middle: list[Assign] = []
        for assign in self.program.body:
            slot, rank = assign.target.slot, int(assign.target.index**0.5)
            if self._owned(assign.target):
                back[slot][rank].append(assign)
            elif any(f.slot == "turn" for t in assign.terms for f in t.factors):
                turned[slot][rank].append(assign)
            else:
                middle.append(assign)
        return [
            *(
                Phase(f"{slot}: {ranks} turned", body)
                for slot, group in turned.items()
                for ranks, body in _packed(group)
            ),
            Phase("along the edge", middle),
            *(
                Phase(f"{slot}: {ranks} turned back", body)
                for slot, group in back.items()
                for ranks, body in _packed(group)
            ),
        ]

    def _owned(self, ref: Ref) -> bool:
        """Whether a number is summed over the edges of the atom."""
        return ref.slot in self.outputs and self.slots[ref.slot].where is self.owner

    def function(self) -> Function:
        """Loops over channels, phases and edges."""
        kept = [Scratch("kept", (Int(CHUNK), Int(len(self.kept))), like="x")] if self.kept else []
        sections = tuple(Section(phase.title, tuple(self._loop(phase))) for phase in self.phases if phase.body)
        count = Let(CHANNELS, Dim("x", 1) // self.slots["x"].size)
        p, channels = self.program, Loop(Axis.LANES, C, CHANNELS, sections)
        return Function(p.name, p.summary, message_parameters(p), (count, *kept, channels), "s", inline=True)

    def _loop(self, phase: Phase) -> list[Node]:
        used = {f for a in phase.body for t in a.terms for f in t.factors}
        written = [a.target for a in phase.body]
        read = [Ref(s.name, i) for s in self.program.inputs if s.lane for i in range(s.size) if Ref(s.name, i) in used]
        mine = [r for r in read if self.slots[r.slot].where is self.owner] + [r for r in written if self._owned(r)]
        others = [r for r in read if self.slots[r.slot].where not in (self.owner, Where.KNOT)]
        kept = [r for r in self.kept if r in used and r not in written]
        tables = [
            s for s in self.slots.values() if s.where is Where.KNOT and any(r.slot == s.name for r in (*used, *written))
        ]
        before: list[Node] = [Let(KNOT, Array("knot")[N])] if tables else []
        for slot in tables:
            start = THREAD * Dim("table", 0) + KNOT if slot.name in self.outputs else KNOT
            before += [
                Let(Var(_row(slot, i)), Row(slot.name, start + i, Int(0), Dim(slot.name, 1))) for i in range(SPLINES)
            ]
        before += [Let(OTHER, Array("other")[N])] if others else []
        for name in dict.fromkeys(r.slot for r in others):
            before.append(Let(Var(f"{name}_row"), Row(name, OTHER, Int(0), Dim(name, 1))))
        before += [Loads(tuple((Var(str(r)), self._place(r)) for r in refs)) for refs in (others, kept) if refs]
        edges = Loop(Axis.EDGES, N, COUNT, (*before, *self._statements(phase)))
        columns = {r.index // SPLINES for r in (*used, *written) if r.slot in {s.name for s in tables}}
        columns |= {r.index for r in (*mine, *others)}
        places: list[Node] = [Let(_column(p), CHANNELS * p + C if p else C) for p in sorted(columns)]
        after = [Let(self._place(r), Var(str(r))) for r in written if self._owned(r)]
        own = [Loads(tuple((Var(str(r)), self._place(r)) for r in mine))] if mine else []
        return [*places, *own, edges, *after]

    def _statements(self, phase: Phase) -> list[Node]:
        """Sums term by term; what is handed on, and sums over channels, are stored at the end."""
        nodes: list[Node] = []
        stores: list[Node] = []
        begun: set[Ref] = set()
        for target, terms in ordered(self.program, phase.body):
            slot, local = self.slots.get(target.slot), Var(str(target))
            if slot is not None and slot.where is Where.KNOT:
                nodes.append(Let(self._place(target), Sum(terms, self._read), add=True))
                continue
            nodes.append(Let(local, Sum(terms, self._read), add=target in begun or self._owned(target)))
            if target not in begun and target in self.kept:
                stores.append(Let(self._place(target), local))
            elif target not in begun and slot is not None and slot.where is Where.EDGE:
                stores.append(Let(self._place(target), local, add=True))
            begun.add(target)
        return [*nodes, *stores]

    def _read(self, ref: Ref) -> Expr:
        slot = self.slots.get(ref.slot)
        local = slot is None or slot.name in self.outputs or (slot.lane and slot.where is not Where.KNOT)
        return Var(str(ref)) if local else self._place(ref)

    def _place(self, ref: Ref) -> Item:
        """Where a number stands."""
        if ref in self.kept:
            return Array("kept")[N, self.kept[ref]]
        slot = self.slots[ref.slot]
        if slot.where is Where.KNOT:
            return Array(_row(slot, ref.index % SPLINES))[_column(ref.index // SPLINES)]
        if slot.where is Where.EDGE and slot.name in self.outputs:
            return Array(sum_array(slot))[N, ref.index + (SPLINES if slot.base == "tau" else 0)]
        if slot.where is Where.EDGE:
            return Array(slot.name)[ref.index, N]
        if slot.where is self.owner:
            return Array(slot.name)[OWN, _column(ref.index)]
        return Array(f"{slot.name}_row")[_column(ref.index)]


def _column(place: int) -> Var:
    """The place of a component, or of a weight, in a row of its array."""
    return Var(f"p{place}")


def _row(slot: Slot, knot: int) -> str:
    """The name of the row of a table at a knot of the edge."""
    return f"{slot.name.removesuffix('table')}row{knot}"


def _packed(ranks: dict[int, list[Assign]]) -> Iterator[tuple[str, list[Assign]]]:
    """Ranks one after the other, those together whose rows fit into registers."""
    groups: list[tuple[list[int], list[Assign]]] = []
    for rank, body in sorted(ranks.items()):
        if not groups or len(groups[-1][1]) + len(body) > ROWS:
            groups.append(([], []))
        groups[-1][0].append(rank)
        groups[-1][1].extend(body)
    for listed, body in groups:
        yield f"rank {listed[0]}" if len(listed) == 1 else f"ranks {listed[0]} to {listed[-1]}", body


def ordered(program: Program, body: list[Assign]) -> Iterator[tuple[Ref, tuple[Term, ...]]]:
    """Terms in an order that keeps few values alive: (what they are added to, terms).

    Of a table, knot after knot: each weight is used as soon as it is known, and so is what it completes; what does not
    depend on weights is computed where it is first used. Without a table, row after row.
    """
    tables = {s.name for s in program.inputs if s.where is Where.KNOT}
    if not any(f.slot in tables for a in body for t in a.terms for f in t.factors):
        yield from ((a.target, a.terms) for a in body)
        return
    last: Ref | None = None
    gathered: list[Term] = []
    for target, terms in _Schedule(program, body, tables).run():
        if last is not None and target != last:
            yield last, tuple(gathered)
            gathered = []
        last = target
        gathered += terms
    if last is not None:
        yield last, tuple(gathered)


class _Schedule:
    """The order of a phase that reads the table. *Late* is what depends on it."""

    def __init__(self, program: Program, body: list[Assign], tables: set[str]) -> None:
        self.inside, self.tables = {a.target: a for a in body}, tables
        self.gradients = {s.name for s in program.outputs if s.where is Where.KNOT}
        self.order = {ref: n for n, ref in enumerate(self.inside)}
        self.late: set[Ref] = set()
        self.done: set[Ref] = set()
        self.waiting: dict[Ref, list[tuple[Ref, Term]]] = defaultdict(list)
        self.lacking: dict[tuple[Ref, Term], int] = {}
        self.left: dict[Ref, int] = {}
        self.weights: dict[int, None] = {}
        for a in body:
            if any(self._comes_late(f) for t in a.terms for f in t.factors):
                self.late.add(a.target)
                self.left[a.target] = len(a.terms)
                for t in a.terms:
                    self._await(a.target, t)

    def _place(self, key: tuple[Ref, Term]) -> int:
        """Sums of a weight stand together, in the order of the program."""
        return self.order[key[0]]

    def _comes_late(self, ref: Ref) -> bool:
        return ref.slot in self.tables or ref in self.late

    def _await(self, target: Ref, term: Term) -> None:
        needed = [f for f in term.factors if self._comes_late(f)]
        self.lacking[target, term] = len(needed)
        for f in needed:
            self.waiting[f].append((target, term))
            if f.slot in self.tables:
                self.weights.setdefault(f.index // SPLINES)

    def run(self) -> Iterator[tuple[Ref, tuple[Term, ...]]]:
        """All terms."""
        for target, term in [key for key, lacking in self.lacking.items() if not lacking]:
            yield from self._add(target, term)
        for weight in self.weights:
            here = [Ref(t, SPLINES * weight + knot) for t in sorted(self.tables) for knot in range(SPLINES)]
            for key in sorted((key for ref in here for key in self.waiting[ref]), key=self._place):
                yield from self._known(key)
            for ref in self.inside:
                if ref.slot in self.gradients and ref.index // SPLINES == weight:
                    yield from self._demand(ref)
        for ref in self.inside:
            yield from self._demand(ref)

    def _demand(self, ref: Ref) -> Iterator[tuple[Ref, tuple[Term, ...]]]:
        """A value that does not depend on the table, after what it needs."""
        if ref in self.inside and ref not in self.done and ref not in self.late:
            self.done.add(ref)
            for term in self.inside[ref].terms:
                for factor in term.factors:
                    yield from self._demand(factor)
            yield ref, self.inside[ref].terms

    def _add(self, target: Ref, term: Term) -> Iterator[tuple[Ref, tuple[Term, ...]]]:
        for factor in term.factors:
            yield from self._demand(factor)
        yield target, (term,)
        self.left[target] -= 1
        if not self.left[target]:
            for key in self.waiting[target]:
                yield from self._known(key)

    def _known(self, key: tuple[Ref, Term]) -> Iterator[tuple[Ref, tuple[Term, ...]]]:
        """A term one of whose factors is known now."""
        self.lacking[key] -= 1
        if not self.lacking[key]:
            yield from self._add(*key)
