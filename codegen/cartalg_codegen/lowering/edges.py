"""The parts of a convolution that do not depend on it: what an edge gives to all channels, and messages.

Edges of one atom are treated a few at a time. First what all channels share is done for them, edges side by side;
then, message after message, what has channels. Edges are the innermost loop, and what belongs to the atom stays in
registers; where few enough numbers are summed over channels, channels are, and the sums stay there. No array of all
edges with channels is ever written.
"""

from collections.abc import Callable

from cartalg_codegen.lowering.rows import titled
from cartalg_codegen.program import Assign, Program, Ref, Slot, Where
from cartalg_codegen.specs.edge import SPLINES, EdgeSpec
from cartalg_codegen.specs.frame import FrameSpec
from cartalg_codegen.specs.message import MessageSpec
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
    Sum,
    Var,
    names,
)

#: Edges of one atom that are treated together. Fewer load the atom's rows more often, more overflow the L1 cache.
CHUNK = 16
#: Sums over channels for which a function has channels as its innermost loop.
SUMS = 18
N, C, COUNT, THREAD, KNOT = names("n c count thread k0")
OWN, OTHER, X_AT, OUT_AT, PATHS, PATH = names("own theirs x_at out_at paths path")


def lower_edge(spec: EdgeSpec | FrameSpec) -> Module:
    """What all channels share, of a chunk of edges side by side; arrays are [component, edge].

    Always a whole chunk, so that the loop is a few vector operations: beyond the edges that there are stand those of
    earlier chunks, or zeros.
    """
    return Module(tuple(_edge_function(program) for program in spec.programs))


def _edge_function(program: Program) -> Function:
    slots = (*program.inputs, *program.outputs)
    inputs, outputs = ({s.name for s in of} for of in (program.inputs, program.outputs))

    def read(ref: Ref) -> Var | Item:
        return Var("per_knot") if ref.slot == "per_knot" else place(ref) if ref.slot in inputs else Var(str(ref))

    def place(ref: Ref) -> Item:
        return Array(ref.slot)[ref.index, N]

    body: list[tuple[str, Node]] = []
    for target, terms in ((a.target, a.terms) for a in program.body):
        if target.slot not in outputs or target in program.read:  # needed again as a plain value
            body.append((target.slot, Let(Var(str(target)), Sum(terms, read))))
        if target.slot in outputs:
            value = Var(str(target)) if target in program.read else Sum(terms, read)
            body.append((target.slot, Let(place(target), value)))
    loop = Loop(Axis.EDGES, N, Int(CHUNK), tuple(titled(program, body)))
    parameters = tuple(s.name for s in slots)
    return Function(program.name, program.summary, parameters, (loop,), program.outputs[0].name)


def lower_message(spec: MessageSpec) -> Module:
    """All stages of a message."""
    return Module(tuple(_message_function(spec, program) for program in spec.programs))


def message_parameters(program: Program) -> tuple[str, ...]:
    """Parameters of an emitted message, from what it reads and writes; a driver passes variables of these names.

    count edges with their knots and the rows of their other atoms; `own` the row of the atom; then the message's
    places: x_at first row in x, out_at first row in out, `paths` the distance of rows in out, `path` its column of
    the table.
    """
    slots = (*program.inputs, *program.outputs)
    bases = {s.base for s in slots}
    scalars = ["count", "own", "x_at", "out_at", "paths", *(["path"] if "table" in bases else [])]
    parts = [s.name for s in program.outputs if s.where is Where.EDGE]
    scalars += ["thread"] if any(s.where is Where.KNOT for s in program.outputs) else []
    scratch = list(dict.fromkeys(a.target.slot for a in program.uniform))
    sums = list(dict.fromkeys(sum_array(s) for s in program.outputs if s.where is Where.EDGE))
    rest = [s.name for s in slots if s.name not in parts]
    return (*scalars, "knot", "other", *scratch, *rest, *sums)


def uniform_sizes(program: Program) -> dict[str, int]:
    """Rows of the scratch arrays that hold what all channels share."""
    sizes: dict[str, int] = {}
    for assign in program.uniform:
        sizes[assign.target.slot] = max(sizes.get(assign.target.slot, 0), assign.target.index + 1)
    return sizes


def sum_array(slot: Slot) -> str:
    """Sums over channels of gradients to the edge, in one array: splines first, then the direction."""
    return "t_d_edge" if slot.name.startswith("t_") else "d_edge"


def _message_function(spec: MessageSpec, program: Program) -> Function:
    place = _places(spec, program)
    shared = {a.target.slot for a in program.uniform}
    outputs = {s.name: s for s in program.outputs}
    owner = owner_of(program)
    own = [s for s in (*program.inputs, *program.outputs) if s.where is owner]

    def read(ref: Ref) -> Expr:
        uniform = ref.slot in shared or any(s.name == ref.slot and not s.lane for s in program.inputs)
        return place(ref) if uniform else Var(str(ref))

    def local(slots: list[Slot]) -> list[Node]:
        refs = [[Ref(s.name, i) for i in range(s.size)] for s in slots]
        used = [[r for r in of_slot if r in program.read or r.slot in outputs] for of_slot in refs]
        return [Loads(tuple((Var(str(r)), place(r)) for r in of_slot)) for of_slot in used if of_slot]

    def statement(assign: Assign) -> Let:
        target, adds = assign.target, assign.target.slot in outputs
        stays = target in kept or not adds
        return Let(Var(str(target)) if stays else place(target), Sum(assign.terms, read), add=adds or target in kept)

    uniform = [a for a in program.uniform if a.terms]
    body: list[Node] = []
    if uniform:
        nodes: list[tuple[str, Node]] = [(a.target.slot, Let(place(a.target), Sum(a.terms, read))) for a in uniform]
        body += [Loop(Axis.EDGES, N, COUNT, tuple(titled(program, nodes)))]
    mine, offset = Var("mine"), X_AT if owner is Where.SENDER else OUT_AT
    body.append(Let(mine, OWN + offset))
    messages = [a for a in program.body if a.target.slot not in shared and a.terms]
    others = [s for s in program.inputs if s.lane and s.where is not owner]
    edge: list[Node] = [
        *([Let(KNOT, Array("knot")[N])] if any(s.base == "table" for s in (*others, *program.outputs)) else []),
        Let(OTHER, Array("other")[N] + (OUT_AT if owner is Where.SENDER else X_AT)),
    ]
    sums, rest = _sums(program, messages)
    kept = sums or [Ref(s.name, i) for s in own if s.name in outputs for i in range(s.size)]
    inside = titled(program, [(a.target.slot, statement(a)) for a in messages if a not in rest])
    if sums:
        zeros = [Let(Var(str(ref)), Sum(())) for ref in sums]
        given = [s for s in own if s.name not in outputs]
        lanes = Loop(Axis.LANES, C, Dim("x", 1), (*local(given), *local(others), *inside))
        after = [Let(place(ref), Var(str(ref)), add=True) for ref in sums if ref.slot in outputs]
        after += [Let(place(a.target), Sum(a.terms, read), add=True) for a in rest]
        body.append(Loop(Axis.EDGES, N, COUNT, (*edge, *zeros, lanes, *after)))
    else:
        edges = Loop(Axis.EDGES, N, COUNT, (*edge, *local(others), *inside))
        after = [Let(place(ref), Var(str(ref))) for ref in kept]
        body.append(Loop(Axis.LANES, C, Dim("x", 1), (*local(own), edges, *after)))
    return Function(program.name, program.summary, message_parameters(program), tuple(body), "s", inline=True)


def _sums(program: Program, body: list[Assign]) -> tuple[list[Ref], list[Assign]]:
    """Sums over channels, where few enough to stay in registers: then channels are the innermost loop.

    Returns:
        The sums, and statements that combine them to others and need be done once an edge; empty where edges are the
        innermost loop, and what belongs to the atom stays in registers.
    """
    slots = {s.name: s for s in (*program.inputs, *program.outputs)}
    totals = {s.name for s in program.outputs if s.where is Where.EDGE}
    rest = [
        a
        for a in body
        if a.target.slot in totals and all(len(t.factors) == 1 and t.factors[0].slot not in slots for t in a.terms)
    ]
    found = [a.target for a in body if a.target.slot in totals and a not in rest]
    found += dict.fromkeys(f for a in rest for t in a.terms for f in t.factors)
    read = {f for a in body if a not in rest for t in a.terms for f in t.factors}
    return (found, rest) if len(found) <= SUMS and read.isdisjoint(found) else ([], [])


def owner_of(program: Program) -> Where:
    """The side of an edge whose rows a function writes; its loop runs over the atoms of that side."""
    return Where.RECEIVER if any(s.where is Where.RECEIVER for s in program.outputs) else Where.SENDER


def _places(spec: MessageSpec, program: Program) -> Callable[[Ref], Item]:
    """Where each number of a message stands."""
    slots, owner = {s.name: s for s in (*program.inputs, *program.outputs)}, owner_of(program)
    mine, starts = Var("mine"), {"s": 0, "y": spec.l2**2}

    def place(ref: Ref) -> Item:
        slot = slots.get(ref.slot)
        if slot is None:  # what all channels share
            return Array(ref.slot)[ref.index, N]
        row = mine if slot.where is owner else OTHER
        if slot.where is Where.SENDER:
            return Array(slot.name)[row + ref.index, C]
        if slot.where is Where.RECEIVER:
            return Array(slot.name)[row + PATHS * ref.index, C]
        if slot.where is Where.KNOT:
            thread = (THREAD,) if slot in program.outputs else ()
            return Array(slot.name)[(*thread, KNOT + ref.index, PATH, C)]
        if slot in program.outputs:
            at = ref.index + (starts["y"] + SPLINES if slot.base == "y" else 0)
            return Array(sum_array(slot))[N, at]
        return Array(slot.name)[starts[slot.base] + ref.index, N]

    return place
