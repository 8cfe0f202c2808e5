"""Rules as text: Unicode for the terminal, LaTeX, MathML, SymPy source, and JSON to rebuild the tensors from."""

import json
from typing import Any, Literal

import sympy as sp
from latex2mathml.converter import convert

from cartalg.symbolic.basis import basis_polynomials, cartesian_harmonic, squared_norms, to_sympy
from cartalg.symbolic.contraction import CouplingKind, contraction_constant
from cartalg.symbolic.coupling import Coupling, coupling
from cartalg.symbolic.formulas import (
    GENERAL,
    contraction_formula,
    coupling_formula,
    harmonic_formula,
    projector_formula,
)
from cartalg.symbolic.projector import projector, projector_terms
from cartalg.symbolic.reducible import decompose

Format = Literal["unicode", "latex", "mathml", "json", "sympy"]
FORMATS = ("unicode", "latex", "mathml", "json", "sympy")
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def render_general(kind: str, form: Format) -> str:
    """The formula of any rank, for "projector", "harmonic", "coupling" or "levi-civita coupling".

    Raises:
        ValueError: For a format that has none (json, sympy) or an unknown kind.
    """
    if kind not in GENERAL:
        raise ValueError(f"a formula of any rank exists for {', '.join(GENERAL)}; got {kind!r}")
    latex, text = GENERAL[kind]
    if form in ("json", "sympy"):
        raise ValueError(f"a formula of any rank has no {form} format; use unicode, latex or mathml, or give a rank")
    if form == "unicode":
        return text
    _known(form)
    return latex if form == "latex" else mathml(latex)


def render_projector(rank: int, form: Format) -> str:
    """The projector of one rank: closed form, basis and squared norms. Raises ValueError for a bad rank or format."""
    terms, formula = projector_terms(rank), projector_formula(rank)
    if form == "json":
        return _dump({"kind": "projector", "rank": rank, "terms": [str(t) for t in terms], "basis": _basis_json(rank)})
    if form == "sympy":
        return sp.srepr(projector(rank)) if rank > 4 else str(projector(rank))
    if form == "latex":
        return formula.latex()
    if form == "mathml":
        return mathml(formula.latex())
    _known(form)
    lines = [f"Traceless projector of rank {rank}", "", f"  {formula.unicode()}", ""]
    lines += ["  δᵐxⁿ in braces: the sum over distinct index assignments; r² = x² + y² + z²", ""]
    lines += [f"Basis tensors of rank {rank} as polynomials (orthogonal), with squared norms", ""]
    for m, (p, n) in enumerate(zip(basis_polynomials(rank), squared_norms(rank), strict=True)):
        lines.append(f"  m = {m - rank:+d}   {n!s:>9}   {pretty(p.as_expr())}")
    return "\n".join(lines)


def render_harmonic(rank: int, form: Format) -> str:
    """The Cartesian harmonic T_l(v) of one rank, packed components. Raises ValueError for a bad rank or format."""
    column, formula = cartesian_harmonic(rank), harmonic_formula(rank)
    if form == "json":
        entries = [_polynomial_json(sp.Poly(e, *sp.symbols("x y z"))) for e in column]
        return _dump({"kind": "harmonic", "rank": rank, "components": entries, "basis": _basis_json(rank)})
    if form == "sympy":
        return str(column)
    latex = formula.latex() + r",\qquad t = " + sp.latex(column)
    if form == "latex":
        return latex
    if form == "mathml":
        return mathml(latex)
    _known(form)
    lines = [f"Cartesian harmonic of rank {rank}; T(n)·n..n = 1 for a unit vector n", "", f"  {formula.unicode()}", ""]
    return "\n".join(
        [*lines, "Packed components", "", *(f"  m = {m - rank:+d}   {pretty(e)}" for m, e in enumerate(column))]
    )


def render_coupling(l1: int, l2: int, l3: int, form: Format) -> str:
    """A coupling: formulas, constants, exact entries. Raises ValueError for a bad triple or format."""
    rule = coupling(l1, l2, l3)
    if form == "json":
        return _dump(_coupling_json(rule))
    if form == "sympy":
        return str(components(rule))
    latex = contraction_formula(l1, l2, l3).latex() + " = " + coupling_formula(l1, l2, l3).latex().split(" = ", 1)[1]
    if form == "latex":
        return latex
    if form == "mathml":
        return mathml(latex)
    _known(form)
    general = "levi-civita " if rule.kind is CouplingKind.LEVI_CIVITA else ""
    factor = sp.sqrt(to_sympy(rule.orthonormal_squared))
    lines = [
        f"Coupling ({l1}, {l2}) → {l3}: {rule.kind.word}",
        "",
        f"  {contraction_formula(l1, l2, l3).unicode()}",
        f"  {coupling_formula(l1, l2, l3).unicode()}",
        "",
        "  braces: the sum over distinct index assignments; repeated indices are summed",
        f"  parity p₃ = p₁ p₂: two natural tensors give {'an axial' if general else 'a natural'} one",
        f"  orthonormal = harmonic × √q = harmonic × {pretty(factor)}",
        "",
        "  for any ranks:",
        f"  {GENERAL[general + 'coupling'][1]}",
        f"  {GENERAL[general + 'orthonormal'][1]}",
        "",
        f"  {len(rule.entries)} of {(2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)} entries, harmonic normalisation:",
        "",
    ]
    rows: dict[int, list[str]] = {}
    for (k, a, b), c in rule.entries.items():
        sign = "−" if c < 0 else "+"
        value = "" if abs(c) == 1 else f"{abs(c)} "
        rows.setdefault(k, []).append(f"{sign} {value}a{_sub(a - l1)} b{_sub(b - l2)}")
    for k, entries in rows.items():
        lines.append(f"  T{_sub(k - l3)} = " + " ".join(entries).removeprefix("+ "))
    return "\n".join(lines)


def render_tensor(formula: str, form: Format) -> str:
    """Irreducible parts of the tensors with an index symmetry. Raises ValueError for a bad formula or format."""
    found = decompose(formula)
    if form == "json":
        return _dump(
            {
                "kind": "tensor",
                "formula": found.formula,
                "rank": found.order,
                "dimension": found.dimension,
                "parts": [
                    {
                        "rank": part.rank,
                        "squared_norm": str(part.squared_norm),
                        "paths": [[list(path), str(c)] for path, c in part.paths.items()],
                        "denominator": part.denominator,
                        "unpacking": [[int(v) for v in row] for row in part.embedding.reshape(-1, 2 * part.rank + 1)],
                    }
                    for part in found.parts
                ],
            }
        )
    if form != "unicode":
        raise ValueError(f"a tensor's parts can be had as unicode or json, not as {form!r}")
    lines = [
        f"Tensors {found.formula}: {found.dimension} of {3**found.order} components, {found}",
        "",
        "  part  rank   squared norm   nonzero entries   coupling sequences of the indices, one after the other",
    ]
    for number, part in enumerate(found.parts):
        sequences = " ".join(
            f"{'−' if c < 0 else '+'} {'' if abs(c) == 1 else f'{abs(c)} '}{'→'.join(map(str, path))}"
            for path, c in part.paths.items()
        ).removeprefix("+ ")
        count = int((part.embedding != 0).sum())
        lines.append(f"  {number:>4}  {part.rank:>4}   {part.squared_norm!s:>12}   {count:>15}   {sequences}")
    lines += ["", "  parts are orthogonal; component m of a part has squared norm (squared norm) × N_lm"]
    return "\n".join(lines)


def components(rule: Coupling) -> sp.Matrix:
    """The packed output of a coupling in SymPy symbols a0, a1, .. and b0, b1, .., counted from m = -l."""
    rows = [sp.Integer(0)] * (2 * rule.l3 + 1)
    for (k, a, b), c in rule.entries.items():
        rows[k] += to_sympy(c) * sp.Symbol(f"a{a}") * sp.Symbol(f"b{b}")
    return sp.Matrix(rows)


def mathml(latex: str) -> str:
    """A formula as a MathML element, for a page that needs no script to show it."""
    return convert(latex, display="block")


def _coupling_json(rule: Coupling) -> dict[str, Any]:
    return {
        "kind": "coupling",
        "l1": rule.l1,
        "l2": rule.l2,
        "l3": rule.l3,
        "type": rule.kind.value,
        "normalization": "harmonic",
        "contraction_constant": str(contraction_constant(rule.l1, rule.l2, rule.l3)),
        "orthonormal_squared": str(rule.orthonormal_squared),
        "entries": [[k, a, b, str(c)] for (k, a, b), c in rule.entries.items()],
        "indices": "T[k] = sum over a, b of entry * x[a] * y[b]; k, a, b count m = -l..l from 0",
        "basis": {str(rank): _basis_json(rank) for rank in sorted({rule.l1, rule.l2, rule.l3})},
    }


def _basis_json(rank: int) -> list[dict[str, Any]]:
    """Basis tensors as polynomials: [[a, b, c, coefficient]] of x^a y^b z^c, and squared norms."""
    return [
        {"m": m - rank, "polynomial": [[*e, str(c)] for e, c in sorted(p.items())], "squared_norm": str(n)}
        for m, (p, n) in enumerate(zip(basis_polynomials(rank), squared_norms(rank), strict=True))
    ]


def _polynomial_json(p: sp.Poly) -> list[list[Any]]:
    return [[*e, str(c)] for e, c in p.terms()]


def _dump(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _known(form: str) -> None:
    if form not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {form!r}")


def _sub(m: int) -> str:
    return ("₋" if m < 0 else "") + str(abs(m)).translate(_SUBSCRIPT)


def pretty(expression: sp.Expr) -> str:
    """An expression as one line of Unicode."""
    rational = expression.free_symbols and expression.is_polynomial()
    text = str(sp.factor_terms(sp.expand(expression)) if rational else expression)
    text = text.replace("sqrt", "√")
    for power in range(9, 1, -1):
        text = text.replace(f"**{power}", str(power).translate(_SUPERSCRIPT))
    return text.replace("*", " ")
