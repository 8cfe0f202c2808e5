"""Programs as Numba functions.

A function does rows start..stop, channel by channel in the inner loop, which LLVM turns into SIMD code. It releases
the GIL, so callers share rows out to threads; `thread` says which part of a shared gradient a call adds to. No two
arguments of a call may overlap in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from cartalg_codegen.program import Program, Ref
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
class Constants:
    """Constants used by a function, hoisted to its top in the arrays' own precision."""

    used: dict[Fraction, None] = field(default_factory=dict)

    def __call__(self, value: Fraction) -> str:
        """The name of a constant, noted as used."""
        self.used[value] = None
        return constant_name(value)

    def lines(self) -> list[str]:
        """Assignments of the constants used so far."""
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
    constant = Constants()
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


def chunk_function(program: Program, name: str, scalars: tuple[str, ...] = ()) -> str:
    """A program on the uniform numbers of several edges at once: arrays are [component, edge], `scalars` plain numbers.

    The loop over edges is innermost and contiguous, so that LLVM turns edges into SIMD lanes.
    """
    access, parameters = {}, ["count"]
    for slot in (*program.inputs, *program.outputs):
        place = slot.name if slot.name in scalars else f"{slot.name}[{{i}}, n]"
        access[slot.name] = Access(place, place + " = {value}", hoist=True)
        parameters.append(slot.name)
    return function(program, name, parameters, access, ["for n in range(count):"], None, program.outputs[0].name)


def body_lines(
    program: Program, places: dict[str, str], skip: set[str], constant: Callable[[Fraction], str]
) -> list[str]:
    """Statements of a program whose uniform slots and outputs are read and written in place.

    Args:
        program: Statements that set a slot in `skip` are left out: their values stand in arrays already.
        places: How a slot is read (``m[{i}, n]``) or written, as a template; other slots are local variables.
        skip: Slots computed beforehand.
        constant: Names of constants.
    """

    def name(ref: Ref) -> str:
        return places[ref.slot].format(i=ref.index) if ref.slot in places else str(ref)

    lines: list[str] = []
    for assign in program.body:
        if assign.target.slot in skip or not assign.terms:
            continue
        accumulated = assign.target.slot in {s.name for s in program.outputs}
        lines += wrap(
            f"{name(assign.target)} {'+=' if accumulated else '='} {expression(assign.terms, constant, name)}"
        )
    return lines
