"""Derivative programs, derived from the program that they differentiate; none is written by hand.

`gradient` is reverse mode: for an output slot g it takes the form Phi = sum_k g_k out_k and gives dPhi/d(input).
`tangent` is forward mode: programs on dual numbers. The tangent of a gradient is the double backward of force training.
Both return straight-line programs with exact coefficients. Source: docs/theory.md, eqs. 41-43.
"""

from dataclasses import replace
from fractions import Fraction

from cartalg_codegen.program import Assign, Program, Ref, live, propagate_zeros, statement

#: Inputs that are functions of other inputs: {input: partial derivatives, as (to which input, coefficient, factors)}.
Implicit = dict[Ref, tuple[tuple[Ref, Fraction, tuple[Ref, ...]], ...]]


def gradient(
    program: Program,
    wrt: tuple[str, ...],
    name: str,
    summary: str,
    implicit: Implicit | None = None,
) -> Program:
    """Derive dPhi/d(slot) for each input slot in `wrt`, where Phi = sum over outputs and k of g_k out_k.

    Args:
        program: Any program.
        wrt: Names of input slots; the gradient of slot ``x`` is output slot ``d_x``, in the place of ``x``.
        name, summary: Of the new program.
        implicit: Inputs that depend on others, with their partial derivatives.
    Returns:
        A program with a new input for each output: ``g`` for ``out``, and ``d_y`` for any other name ``y``.
    Raises:
        ValueError: If a name in `wrt` is no input.
    """
    inputs = {s.name: s for s in program.inputs}
    unknown = [w for w in wrt if w not in inputs]
    if unknown:
        raise ValueError(f"{program.name}: cannot differentiate with respect to {', '.join(unknown)}: no input")
    outputs_of = {s.name for s in program.outputs}

    def adjoint(ref: Ref) -> Ref:
        return Ref("g" if ref.slot == "out" else f"d_{ref.slot}", ref.index)

    contributions: dict[Ref, list[tuple[Fraction, tuple[Ref, ...]]]] = {}
    temporaries = []
    for assign in reversed(program.body):
        if assign.target.slot not in outputs_of:
            temporaries.append(assign.target)
        for term in assign.terms:
            for position, factor in enumerate(term.factors):
                others = term.factors[:position] + term.factors[position + 1 :]
                contributions.setdefault(factor, []).append((term.coefficient, (*others, adjoint(assign.target))))

    for dependent, partials in (implicit or {}).items():
        temporaries.append(dependent)
        for to, coefficient, factors in partials:
            contributions.setdefault(to, []).append((coefficient, (*factors, adjoint(dependent))))
    forward = [a for a in program.body if a.target.slot not in outputs_of]
    backward = [statement(adjoint(t), contributions.get(t, [])) for t in temporaries]
    outputs = tuple(inputs[w].derived("d_") for w in wrt)
    for w in wrt:
        refs = [Ref(w, i) for i in range(inputs[w].size)]
        backward += [statement(adjoint(r), contributions.get(r, [])) for r in refs]
    body = live(propagate_zeros([*forward, *backward], outputs), outputs)
    cotangents = tuple(replace(s, name="g") if s.name == "out" else s.derived("d_") for s in program.outputs)
    titles = {**program.titles, **{f"d_{slot}": "gradients" for slot in program.titles}}
    return Program(name, summary, (*program.inputs, *cotangents), outputs, body, titles)


def tangent(
    program: Program,
    wrt: tuple[str, ...],
    name: str,
    summary: str,
    primal: tuple[str, ...] = (),
    implicit: Implicit | None = None,
) -> Program:
    """Derive the directional derivative of every output when the slots in `wrt` move along ``t_<slot>``.

    Args:
        program: Any program.
        wrt: Input slots that move; each gains an input slot ``t_<slot>``.
        name, summary: Of the new program.
        primal: Output slots whose undifferentiated value the new program returns as well.
        implicit: Inputs that depend on others, with their partial derivatives.
    Returns:
        A program with outputs ``t_<output>`` and those named in `primal`.
    """
    moving = {Ref(s.name, i) for s in program.inputs if s.name in wrt for i in range(s.size)}
    body: list[Assign] = []
    for dependent, partials in (implicit or {}).items():
        moves = [(c, (*factors, Ref(f"t_{to.slot}", to.index))) for to, c, factors in partials if to in moving]
        body.append(statement(Ref(f"t_{dependent.slot}", dependent.index), moves))
        moving.add(dependent)
    for assign in program.body:
        body.append(assign)
        terms = [
            (t.coefficient, (*t.factors[:i], Ref(f"t_{f.slot}", f.index), *t.factors[i + 1 :]))
            for t in assign.terms
            for i, f in enumerate(t.factors)
            if f in moving
        ]
        moving.add(assign.target)
        body.append(statement(Ref(f"t_{assign.target.slot}", assign.target.index), terms))
    outputs = tuple(s.derived("t_") for s in program.outputs)
    outputs += tuple(s for s in program.outputs if s.name in primal)
    inputs = (*program.inputs, *(s.derived("t_") for s in program.inputs if s.name in wrt))
    final = live(propagate_zeros(body, outputs), outputs)
    titles = {**program.titles, **{f"t_{slot}": title for slot, title in program.titles.items()}}
    return Program(name, summary, inputs, outputs, final, titles)


def derivatives(forward: Program, moving: tuple[str, ...], parameter: str | None = None) -> tuple[Program, ...]:
    """All stages of a kernel: what first and second derivatives need of it [docs/theory.md, eqs. 41-43].

    Args:
        forward: The kernel's program.
        moving: Slots that move in a second derivative.
        parameter: A slot whose gradient sums over rows; the stages that have it end in its name, and in their tangent g
            moves as well.
    """
    programs = [forward, tangent(forward, moving, "forward_tangent", f"Tangent of: {forward.summary}")]
    for suffix, wrt in (("", moving), *([(f"_{parameter}", (*moving, parameter))] if parameter else [])):
        gradients = f"Gradient to {', '.join(wrt)} of: {forward.summary}"
        backward = gradient(forward, wrt, f"backward{suffix}", gradients)
        along = (*moving, "g") if suffix else moving
        programs += [backward, tangent(backward, along, f"backward_tangent{suffix}", f"Tangent of: {gradients}")]
    return tuple(programs)
