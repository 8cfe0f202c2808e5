"""Programs as Numba functions.

A function does rows start..stop, channel by channel in the inner loop, which LLVM turns into SIMD code. It releases
the GIL, so callers share rows out to threads; `thread` says which part of a shared gradient a call adds to. No two
arguments of a call may overlap in memory.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from cartalg_codegen.program import Program, Ref, Slot
from cartalg_codegen.text import constant_name, expression, literal, wrap

DECORATOR = '@njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})'


@dataclass(frozen=True)
class Access:
    """How a slot is read and written: templates with ``{i}`` for the component and ``{value}`` for a result.

    `hoist`: read outside the channel loop (one value for all channels). `reduce`: sum over channels, then write.
    """

    load: str = ""
    store: str = ""
    hoist: bool = False
    reduce: bool = False


@dataclass
class _Constants:
    """Constants used by a function, hoisted to its top in the arrays' own precision."""

    used: dict[Fraction, None] = field(default_factory=dict)

    def __call__(self, value: Fraction) -> str:
        self.used[value] = None
        return constant_name(value)

    def lines(self) -> list[str]:
        return [f"{constant_name(v)} = real({literal(v).strip('()')})" for v in sorted(self.used)]


def function(
    program: Program,
    name: str,
    parameters: list[str],
    access: dict[str, Access],
    loops: list[str],
    lanes: str | None,
    real: str,
    first: list[str] | None = None,
) -> str:
    """One function: `loops` around the program, `first` at their innermost, then the loop over channels.

    `lanes` names an array whose last axis is the channels; `real` one whose precision the constants take.
    """
    constant = _Constants()
    indent = "    " * (1 + len(loops))
    inner = indent + ("    " if lanes else "")
    before = [indent + line for line in first or []]
    inside: list[str] = []
    after: list[str] = []
    used = {f for a in program.body for t in a.terms for f in t.factors}
    for slot in program.inputs:
        rule = access[slot.name]
        for i in range(slot.size):
            ref = Ref(slot.name, i)
            if ref in used:
                line = f"{ref} = {rule.load.format(i=i)}"
                if rule.hoist or not lanes:
                    before.append(indent + line)
                else:
                    inside.append(inner + line)
    outputs = {s.name for s in program.outputs}
    for assign in program.body:
        text = expression(assign.terms, constant)
        if assign.target.slot not in outputs:
            inside += wrap(f"{inner}{assign.target} = {text}")
            continue
        rule = access[assign.target.slot]
        if rule.reduce:
            zero = constant(Fraction(0))
            before.append(f"{indent}{assign.target} = {zero}")
            inside += wrap(f"{inner}{assign.target} += {text}")
            after.append(indent + rule.store.format(i=assign.target.index, value=str(assign.target)))
        else:
            if assign.target in used:  # needed again as a plain value: the store may be an accumulation
                inside += wrap(f"{inner}{assign.target} = {text}")
                text = str(assign.target)
            inside += wrap(inner + rule.store.format(i=assign.target.index, value=text))
    lines = [DECORATOR, f"def {name}({', '.join(parameters)}):", f'    """{program.summary}"""']
    hoisted = constant.lines()
    if hoisted:
        lines += [f"    real = {real}.dtype.type", *("    " + c for c in hoisted)]
    lines += ["    " * (1 + depth) + loop for depth, loop in enumerate(loops)]
    lines += before
    if lanes:
        lines.append(f"{indent}for c in range({lanes}.shape[{lanes_axis(lanes, access)}]):")
    return "\n".join([*lines, *inside, *after]) + "\n"


def lanes_axis(lanes: str, access: dict[str, Access]) -> int:
    """The channel axis of an array: the number of commas in how it is indexed."""
    rule = access[lanes]
    template = rule.load or rule.store.split("]")[0]
    return template.count(",")


def row_kernel(program: Program, name: str, species_slots: tuple[str, ...] = ()) -> str:
    """A kernel over independent rows (edges, atoms, pairs).

    Arrays are [row, component, channel], or [row, component] for a uniform slot. A slot in `species_slots` is a weight
    [species, component, channel] shared by rows; as an output it is [thread, species, component, channel], added to.
    """
    access: dict[str, Access] = {}
    by_species = False
    for slot in (*program.inputs, *program.outputs):
        output = slot in program.outputs
        if slot.base in species_slots:
            by_species = True
            place = f"{slot.name}[thread, z, {{i}}, c]" if output else f"{slot.name}[z, {{i}}, c]"
            access[slot.name] = Access(place, place + " += {value}")
        else:
            place = f"{slot.name}[n, {{i}}, c]" if slot.lane else f"{slot.name}[n, {{i}}]"
            access[slot.name] = Access(place, place + " = {value}", hoist=not slot.lane)
    arrays = [s.name for s in (*program.inputs, *program.outputs)]
    lane_slots = [s for s in (*program.inputs, *program.outputs) if s.lane]
    extra = ["species"] if by_species else []
    loops = ["for n in range(start, stop):"]
    text_lanes = lane_slots[0].name if lane_slots else None
    parameters = ["start", "stop", "thread", *extra, *arrays]
    first = ["z = species[n]"] if by_species else []
    return function(program, name, parameters, access, loops, text_lanes, arrays[0], first)


def message_function(program: Program, name: str) -> str:
    """A message program as a function on whole arrays with offsets, so that no array is sliced per edge."""
    access, parameters = {}, []
    for slot in (*program.inputs, *program.outputs):
        access[slot.name] = _message_access(slot, slot in program.outputs)
    for base, start in (("m", "m_at"), ("w", "p"), ("x", "x_at"), ("out", "out_at")):
        group = [s.name for s in (*program.inputs, *program.outputs) if _message_base(s) == base]
        if group:
            parameters += [*group, start]
    parameters.append("stride")
    return function(program, name, parameters, access, [], "w", "w")


def _message_base(slot: Slot) -> str:
    return "out" if slot.base == "g" else slot.base


def _message_access(slot: Slot, output: bool) -> Access:
    name, base = slot.name, _message_base(slot)
    if base == "m":
        return Access(f"{name}[m_at + {{i}}]", f"{name}[m_at + {{i}}] = {{value}}", hoist=True, reduce=output)
    if base == "w":
        return Access(f"{name}[p, c]", f"{name}[p, c] = {{value}}")
    place = f"{name}[x_at + {{i}}, c]" if base == "x" else f"{name}[out_at + {{i}} * stride, c]"
    return Access(place, place + " += {value}")


def edge_function(program: Program, name: str, scalar: str | None = None) -> str:
    """A program on the uniform numbers of one edge; `scalar` is a slot passed as a number, the others as arrays.

    An array slot named in `[edge]` style is indexed by edge first: those are y and its relatives.
    """
    access, parameters = {}, []
    for slot in (*program.inputs, *program.outputs):
        if slot.name == scalar:
            access[slot.name] = Access("f")
        elif slot.name.endswith("y"):
            access[slot.name] = Access(f"{slot.name}[e, {{i}}]", f"{slot.name}[e, {{i}}] = {{value}}")
        else:
            access[slot.name] = Access(f"{slot.name}[{{i}}]", f"{slot.name}[{{i}}] = {{value}}")
        parameters.append("f" if slot.name == scalar else slot.name)
        if slot.name.endswith("y"):
            parameters.append("e")
    real = next(s.name for s in program.outputs)
    return function(program, name, parameters, access, [], None, real)
