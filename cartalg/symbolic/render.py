"""Rules as text: Unicode for the terminal, LaTeX, and JSON that another program can rebuild the tensors from."""

import json
from fractions import Fraction
from typing import Any, Literal

import sympy as sp

from cartalg.symbolic.basis import basis_polynomials, cartesian_harmonic, squared_norms, to_sympy
from cartalg.symbolic.coupling import Coupling, contraction_scale, coupling
from cartalg.symbolic.projector import projector_terms

Format = Literal["unicode", "latex", "json"]
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LETTERS = "ijklmnopqrstuvwabcdefgh"


def render_projector(rank: int, form: Format) -> str:
    """The projector of one rank: closed form, basis and squared norms. Raises ValueError for a bad rank or format."""
    terms = projector_terms(rank)
    if form == "json":
        return _dump({"kind": "projector", "rank": rank, "terms": [str(t) for t in terms], "basis": _basis_json(rank)})
    if form == "latex":
        body = " ".join(_latex_term(t, m, rank, first=m == 0) for m, t in enumerate(terms))
        return rf"\left(P x^{{\otimes {rank}}}\right)_{{{_LETTERS[:rank]}}} = {body}"
    if form != "unicode":
        raise _unknown(form)
    left = f"(P x..x){_LETTERS[:rank] and '_' + _LETTERS[:rank]}"
    lines = [f"Traceless projector of rank {rank}", "", f"  {left} = " + _unicode_terms(terms, rank), ""]
    lines += ["  δᵐxⁿ in braces: the sum over distinct index assignments; r² = x² + y² + z²", ""]
    lines += [f"Basis tensors of rank {rank} as polynomials (orthogonal), with squared norms", ""]
    for m, (p, n) in enumerate(zip(basis_polynomials(rank), squared_norms(rank), strict=True)):
        lines.append(f"  m = {m - rank:+d}   {n!s:>9}   {_pretty(p.as_expr())}")
    return "\n".join(lines)


def render_harmonic(rank: int, form: Format) -> str:
    """The Cartesian harmonic T_l(v) of one rank, packed components. Raises ValueError for a bad rank or format."""
    column = cartesian_harmonic(rank)
    if form == "json":
        entries = [_polynomial_json(sp.Poly(e, *sp.symbols("x y z"))) for e in column]
        return _dump({"kind": "harmonic", "rank": rank, "components": entries, "basis": _basis_json(rank)})
    if form == "latex":
        return rf"T_{{{rank}}}(v) = " + sp.latex(column)
    if form != "unicode":
        raise _unknown(form)
    lines = [f"Cartesian harmonic of rank {rank}, packed components; T(n)·n..n = 1 for a unit vector n", ""]
    return "\n".join([*lines, *(f"  m = {m - rank:+d}   {_pretty(e)}" for m, e in enumerate(column))])


def render_coupling(l1: int, l2: int, l3: int, form: Format) -> str:
    """A coupling: formula, normalisation, exact entries. Raises ValueError for a bad triple or format."""
    rule = coupling(l1, l2, l3)
    if form == "json":
        return _dump(_coupling_json(rule))
    if form == "latex":
        return _latex_rule(rule)
    if form != "unicode":
        raise _unknown(form)
    kind = "odd (axial): Levi-Civita contraction" if rule.odd else "even: contraction"
    factor = sp.sqrt(to_sympy(rule.orthonormal_squared))
    lines = [
        f"Coupling ({l1}, {l2}) → {l3}, {kind}",
        "",
        f"  {_unicode_rule(rule)}",
        "",
        f"  parity p₃ = p₁ p₂: two polar tensors give {'an axial' if rule.odd else 'a polar'} one",
        f"  orthonormal = harmonic × {_pretty(factor)}",
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


def _coupling_json(rule: Coupling) -> dict[str, Any]:
    return {
        "kind": "coupling",
        "l1": rule.l1,
        "l2": rule.l2,
        "l3": rule.l3,
        "type": "odd" if rule.odd else "even",
        "normalization": "harmonic",
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


def _unknown(form: str) -> ValueError:
    return ValueError(f"format must be unicode, latex or json, got {form!r}")


def _sub(m: int) -> str:
    return ("₋" if m < 0 else "") + str(abs(m)).translate(_SUBSCRIPT)


def _pretty(expression: sp.Expr) -> str:
    text = str(sp.factor_terms(sp.expand(expression)) if expression.free_symbols else expression)
    text = text.replace("sqrt", "√")
    for power in range(9, 1, -1):
        text = text.replace(f"**{power}", str(power).translate(_SUPERSCRIPT))
    return text.replace("*", " ")


def _braces(m: int, rank: int) -> str:
    deltas = ["δ" + _LETTERS[2 * i : 2 * i + 2] for i in range(m)]
    return " ".join([*deltas, *("x" + letter for letter in _LETTERS[2 * m : rank])])


def _unicode_terms(terms: list[sp.Rational], rank: int) -> str:
    parts = []
    for m, t in enumerate(terms):
        sign = "− " if t < 0 else ("+ " if m else "")
        value = "" if abs(t) == 1 else f"{abs(t)} "
        radius = f" r{str(2 * m).translate(_SUPERSCRIPT)}" if m else ""
        body = f"{{{_braces(m, rank)}}}" if m else _braces(0, rank) or "1"
        parts.append(f"{sign}{value}{body}{radius}")
    return " ".join(parts)


def _latex_term(t: sp.Rational, m: int, rank: int, first: bool) -> str:
    sign = "-" if t < 0 else ("" if first else "+")
    value = "" if abs(t) == 1 else sp.latex(abs(t))
    deltas = "".join(rf"\delta_{{{_LETTERS[2 * i : 2 * i + 2]}}}" for i in range(m))
    factors = " ".join(f"x_{letter}" for letter in _LETTERS[2 * m : rank])
    inner = f"{deltas} {factors}".strip() or "1"
    radius = f" r^{{{2 * m}}}" if m else ""
    return f"{sign}{value}" + (rf"\left\{{{inner}\right\}}{radius}" if m else inner)


def _contraction(rule: Coupling) -> tuple[str, str, str, str]:
    """Contracted letters, free letters of a and b, the letter of the Levi-Civita index."""
    k = (rule.l1 + rule.l2 - rule.l3 - rule.odd) // 2
    contracted = "stuvwxyz"[:k]
    free = _LETTERS[: rule.l3]
    if rule.odd:
        return contracted, free[1 : rule.l1 - k], free[rule.l1 - k :], free[:1]
    return contracted, free[: rule.l1 - k], free[rule.l1 - k :], ""


def _raw_scale(rule: Coupling) -> Fraction:
    """The constant in front of the projected contraction, from one entry at the pole [docs/theory.md, eq. 12]."""
    value = contraction_scale(rule.l1, rule.l2, rule.l3)
    return Fraction(int(value.numerator), int(value.denominator))


def _unicode_rule(rule: Coupling) -> str:
    contracted, left, right, levi = _contraction(rule)
    scale = _raw_scale(rule)
    value = "" if scale == 1 else f"{scale} "
    out = "T" + ("_" + _LETTERS[: rule.l3] if rule.l3 else "")
    if rule.odd:
        a = "a_q" + contracted + left
        b = "b_r" + contracted + right
        return f"{out} = {value}P[ ε_{levi}qr {a} {b} ]"
    a = "a" + ("_" + contracted + left if contracted + left else "")
    b = "b" + ("_" + contracted + right if contracted + right else "")
    return f"{out} = {value}P[ {a} {b} ]"


def _latex_rule(rule: Coupling) -> str:
    contracted, left, right, levi = _contraction(rule)
    scale = _raw_scale(rule)
    value = "" if scale == 1 else sp.latex(sp.Rational(scale.numerator, scale.denominator))
    out = f"T_{{{_LETTERS[: rule.l3]}}}" if rule.l3 else "T"
    if rule.odd:
        inner = rf"\epsilon_{{{levi}qr}}\, a_{{q{contracted}{left}}}\, b_{{r{contracted}{right}}}"
    else:
        inner = rf"a_{{{contracted}{left}}}\, b_{{{contracted}{right}}}"
    return rf"{out} = {value}\, P^{{({rule.l3})}} \left[ {inner} \right]"
