"""Programs as vectorised Torch functions: any device, any order of autograd; the reference for the other backends."""

from fractions import Fraction

from cartalg_codegen.program import Program, Ref, Slot
from cartalg_codegen.text import expression, literal, wrap


def function(program: Program, name: str, species_slots: tuple[str, ...] = (), indent: str = "    ") -> str:
    """A function on tensors [..., component, channel] (uniform slots [..., component]) that returns its outputs.

    A slot in `species_slots` is [species, component, channel] and is looked up by the argument `species` [rows].
    """
    lanes = any(s.lane for s in (*program.inputs, *program.outputs))
    by_species = [s for s in (*program.inputs, *program.outputs) if s.base in species_slots]
    parameters = (["species"] if by_species else []) + [s.name for s in program.inputs]
    lines = [f"def {name}({', '.join(parameters)}):", f'{indent}"""{program.summary}"""']
    used = {f for a in program.body for t in a.terms for f in t.factors}
    for slot in program.inputs:
        source = f"{slot.name}[species]" if slot in by_species else slot.name
        if slot in by_species:
            lines.append(f"{indent}{slot.name}_rows = {source}")
            source = f"{slot.name}_rows"
        for i in range(slot.size):
            if Ref(slot.name, i) in used:
                index = f"[..., {i}, :]" if slot.lane else (f"[..., {i}, None]" if lanes else f"[..., {i}]")
                lines.append(f"{indent}{slot.name}{i} = {source}{index}")
    zeros_like = _zero_source(program)
    constant = _constant(zeros_like)
    for assign in program.body:
        text = expression(assign.terms, constant)
        if not any(t.factors for t in assign.terms) and assign.terms:
            text = f"{text} + {zeros_like}"
        lines += wrap(f"{indent}{assign.target} = {text}")
    results = [_output(s, lanes, s in by_species, program) for s in program.outputs]
    lines.append(f"{indent}return {', '.join(results)}")
    return "\n".join(lines) + "\n"


def _zero_source(program: Program) -> str:
    """An expression with the shape of one component, equal to zero."""
    slot = next((s for s in program.inputs if s.lane), program.inputs[0])
    used = next((f for a in program.body for t in a.terms for f in t.factors if f.slot == slot.name), None)
    if used is not None:
        return f"0 * {used}"
    return f"0 * {slot.name}[..., 0, :]" if slot.lane else f"0 * {slot.name}[..., 0]"


def _constant(zero: str):  # type: ignore[no-untyped-def]
    def constant(value: Fraction) -> str:
        return literal(value) if value else zero

    return constant


def _output(slot: Slot, lanes: bool, by_species: bool, program: Program) -> str:
    names = ", ".join(f"{slot.name}{i}" for i in range(slot.size))
    if by_species:
        source = next(s.name for s in program.inputs if s.base == slot.base)
        return f"torch.zeros_like({source}).index_add(0, species, torch.stack(({names},), -2))"
    if slot.lane:
        return f"torch.stack(({names},), -2)"
    stacked = f"torch.stack(({names},), -1)"
    if lanes:
        return f"torch.stack(({', '.join(f'{slot.name}{i}.sum(-1)' for i in range(slot.size))},), -1)"
    return stacked
