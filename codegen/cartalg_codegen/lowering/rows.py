"""Kernels that work row by row: a loop over rows, inside it one over channels, inside that the program.

Arrays are [row, component, channel], or [row, component] without channels. A parameter [species, component, channel]
is shared by rows; its gradient is [thread, species, component, channel], added to. No two arguments of a call may
overlap in memory.
"""

from collections.abc import Callable

from cartalg_codegen.program import Assign, Program, Ref, Slot, Where
from cartalg_codegen.specs.base import RowSpec
from cartalg_codegen.tree import Array, Axis, Dim, Function, Item, Let, Loads, Loop, Module, Node, Section, Sum, Var

N, C, SPECIES = Var("n"), Var("c"), Var("z")


def lower(spec: RowSpec) -> Module:
    """All functions of a row kernel."""
    return Module(
        tuple(function(program, ("species",) if "species" in spec.index else ()) for program in spec.programs)
    )


def function(program: Program, index: tuple[str, ...] = ()) -> Function:
    """The loops of one program."""
    slots = (*program.inputs, *program.outputs)
    lanes = next((s for s in slots if s.lane), None)
    before: list[Node] = [Let(SPECIES, Array("species")[N])] if index else []
    before += loads(program, lambda slot: not slot.lane)
    if lanes is None:
        inner: list[Node] = [*before, *statements(program, program.body)]
        after: list[Node] = []
    else:
        sums = [s for s in program.outputs if not s.lane]  # sums over channels
        before += [Let(Var(str(Ref(s.name, i))), Sum(())) for s in sums for i in range(s.size)]
        after = [Let(place(s, i), Var(str(Ref(s.name, i)))) for s in sums for i in range(s.size)]
        body = (*loads(program, lambda slot: slot.lane), *statements(program, program.body))
        size = Dim(lanes.name, len(place(lanes, 0).at) - 1)
        inner = [*before, Loop(Axis.LANES, C, size, tuple(body)), *after]
    rows = Loop(Axis.ROWS, N, Var("stop"), tuple(inner), Var("start"))
    parameters = ("start", "stop", "thread", *index, *(s.name for s in slots))
    return Function(program.name, program.summary, parameters, (rows,), slots[0].name)


def place(slot: Slot, component: int) -> Item:
    """Where a component of a slot stands."""
    if slot.where is Where.SPECIES:
        gradient = slot.name.removeprefix("t_").startswith("d_")  # in parts, one for each thread
        return Array(slot.name)[(Var("thread"), SPECIES, component, C) if gradient else (SPECIES, component, C)]
    return Array(slot.name)[(N, component, C) if slot.lane else (N, component)]


def loads(program: Program, wanted: Callable[[Slot], bool]) -> list[Node]:
    """Components of input slots that are read, as local variables."""
    found: list[Node] = []
    for slot in program.inputs:
        refs = [Ref(slot.name, i) for i in range(slot.size) if wanted(slot)]
        items = tuple((Var(str(ref)), place(slot, ref.index)) for ref in refs if ref in program.read)
        found += [Loads(items)] if items else []
    return found


def statements(program: Program, body: tuple[Assign, ...]) -> list[Node]:
    """Statements under the titles of what they compute; outputs are stored where they stand."""
    outputs = {s.name: s for s in program.outputs}
    return titled(program, [(a.target.slot, node) for a in body for node in _statement(program, outputs, a)])


def titled(program: Program, nodes: list[tuple[str, Node]]) -> list[Node]:
    """Statements, each with the slot that it sets, in sections: one where a new title begins."""
    found: list[tuple[str, list[Node]]] = []
    for slot, node in nodes:
        title = program.titles.get(slot, "")
        if not found or title != found[-1][0]:
            found.append((title, []))
        found[-1][1].append(node)
    return [n for title, inner in found for n in ([Section(title, tuple(inner))] if title else inner)]


def _statement(program: Program, outputs: dict[str, Slot], assign: Assign) -> list[Node]:
    local, value = Var(str(assign.target)), Sum(assign.terms)
    slot = outputs.get(assign.target.slot)
    if slot is None:
        return [Let(local, value)]
    if not slot.lane and any(s.lane for s in program.inputs):
        return [Let(local, value, add=True)]
    target, shared = place(slot, assign.target.index), slot.where is Where.SPECIES
    if assign.target in program.read:  # needed again as a plain value
        return [Let(local, value), Let(target, local, add=shared)]
    return [Let(target, value, add=shared)]
