"""Each exact object described once, for every format: projector, harmonic, coupling, tensor, formula of any rank."""

from dataclasses import fields
from fractions import Fraction
from typing import Any

import sympy as sp

from cartalg.render.document import Document, Table
from cartalg.symbolic.basis import basis_polynomials, cartesian_harmonic, squared_norms, to_sympy
from cartalg.symbolic.contraction import CouplingKind, contraction_constant
from cartalg.symbolic.coupling import Coupling, coupling
from cartalg.symbolic.formulas import (
    FREE,
    contraction_formula,
    coupling_formula,
    harmonic_formula,
    index_names,
    projector_formula,
)
from cartalg.symbolic.general import general_formulas
from cartalg.symbolic.notation import (
    Column,
    Equation,
    Exact,
    Indexed,
    Node,
    Number,
    Parentheses,
    Product,
    Sequence,
    Series,
    Sum,
    Symbol,
    node,
    product,
    scaled,
)
from cartalg.symbolic.polynomials import rational
from cartalg.symbolic.projector import projector, projector_terms
from cartalg.symbolic.reducible import Decomposition, Part, decompose

#: Highest rank whose full tensor, 3^l components, is written out.
MAX_WRITTEN_RANK = 8
_BRACES = "braces: the sum over distinct index assignments"


def describe_projector(rank: int) -> Document:
    """The projector of one rank: closed form, basis and squared norms. Raises ValueError for a bad rank."""
    formula, terms = projector_formula(rank), projector_terms(rank)
    basis = zip(range(-rank, rank + 1), basis_polynomials(rank), squared_norms(rank), strict=True)
    rows = tuple((f"m = {m:+d}", str(norm), Exact(p.as_expr())) for m, p, norm in basis)
    return Document(
        "projector",
        f"Traceless projector of rank {rank}",
        (
            formula,
            f"{_BRACES}; r² = x² + y² + z²",
            Table(f"Basis tensors of rank {rank} as polynomials (orthogonal), with squared norms", ("", "", ""), rows),
        ),
        {"rank": rank, "terms": [str(t) for t in terms], "basis": _basis_data(rank)},
        lambda: _written(rank, f"the projector of rank {rank}", lambda: projector(rank)),
    )


def describe_harmonic(rank: int) -> Document:
    """The Cartesian harmonic T_l(v) of one rank, packed components. Raises ValueError for a bad rank."""
    formula, column = harmonic_formula(rank), cartesian_harmonic(rank)
    polynomials = [[[*e, str(c)] for e, c in sp.Poly(p, *sp.symbols("x y z")).terms()] for p in column]
    return Document(
        "harmonic",
        f"Cartesian harmonic of rank {rank}; T(n)·n..n = 1 for a unit vector n",
        (formula, "packed components:", Equation((Symbol("t"), Column(tuple(map(Exact, column)))))),
        {"rank": rank, "components": polynomials, "basis": _basis_data(rank)},
        lambda: column,
    )


def describe_coupling(l1: int, l2: int, l3: int) -> Document:
    """A coupling: formulas, constants, exact entries. Raises ValueError for a bad triple."""
    rule, general = coupling(l1, l2, l3), general_formulas()
    left, projected = contraction_formula(l1, l2, l3).sides
    outcome = "a natural" if rule.kind is CouplingKind.CONTRACTION else "an axial"
    size = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    anywhere = tuple((general[f"{rule.kind} {what}"].equation,) for what in ("coupling", "orthonormal"))
    return Document(
        "coupling",
        f"Coupling ({l1}, {l2}) → {l3}: {rule.kind.word}",
        (
            Equation((left, projected, coupling_formula(l1, l2, l3).sides[-1])),
            f"{_BRACES}; repeated indices are summed",
            f"parity p₃ = p₁ p₂: two natural tensors give {outcome} one",
            "orthonormal = harmonic × √q",
            Equation((Exact(sp.sqrt(sp.Symbol("q"))), Exact(rule.scale("orthonormal")))),
            Table("  for any ranks:", ("",), anywhere),
            Table(f"  {len(rule.entries)} of {size} entries, harmonic normalisation:", ("",), _entry_rows(rule)),
        ),
        _coupling_data(rule),
        lambda: components(rule),
    )


def describe_tensor(formula: str) -> Document:
    """Irreducible parts of the tensors with an index symmetry. Raises ValueError for a bad formula."""
    found = decompose(formula)
    n, m = Symbol("n"), Symbol("m")
    embedded = Indexed(Parentheses(Indexed(Symbol("U"), (n, m))), index_names(FREE, found.order))
    total = Series(n, Series(m, Product((Indexed(Symbol("t"), (n, m)), embedded))))
    rows = tuple(
        (str(number), str(p.rank), str(p.squared_norm), str(int((p.embedding != 0).sum())))
        for number, p in enumerate(found.parts, start=1)
    )
    return Document(
        "tensor",
        f"Tensors {found.formula}: {found.dimension} of {3**found.order} components, {found}",
        (
            Equation((Indexed(Symbol("T"), index_names(FREE, found.order)), total)),
            *(Equation((_numbered("U", number), _paths(part))) for number, part in enumerate(found.parts, start=1)),
            "1→l→..: the embedding that couples one index after the other to these ranks",
            Table("", ("part", "rank", "squared norm", "nonzero entries"), rows),
            "parts are orthogonal; component m of a part has squared norm (squared norm) × N_lm",
        ),
        {
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
        },
        lambda: tensor_array(found),
    )


def describe_general(name: str) -> Document:
    """A formula of any rank: "projector", "harmonic", or "coupling" or "orthonormal" after the kind of a coupling.

    Raises:
        ValueError: If there is no such formula.
    """
    found = general_formulas()
    if name not in found:
        raise ValueError(f"a formula of any rank exists for {', '.join(found)}; got {name!r}")
    equation = found[name].equation
    return Document(
        "general",
        f"{found[name].title} of any rank",
        (equation, _BRACES),
        {"name": name, "constant": str(found[name].constant()), "equation": _tree(equation)},
        found[name].constant,
    )


def components(rule: Coupling) -> sp.Matrix:
    """The packed output of a coupling in SymPy symbols a0, a1, .. and b0, b1, .., counted from m = -l."""
    rows = [sp.Integer(0)] * (2 * rule.l3 + 1)
    for (k, a, b), c in rule.entries.items():
        rows[k] += to_sympy(c) * sp.Symbol(f"a{a}") * sp.Symbol(f"b{b}")
    return sp.Matrix(rows)


def tensor_array(found: Decomposition) -> sp.Array:
    """The full tensor, shape [3] * n, in SymPy symbols t0, t1, .. of its packed components, part after part."""
    packed = sp.Matrix(sp.symbols(f"t:{found.dimension}"))
    flat = list(found.unpacking * packed)
    return sp.Array(flat, (3,) * found.order)


def _written(rank: int, what: str, make: Any) -> sp.Basic:
    if rank > MAX_WRITTEN_RANK:
        raise ValueError(f"{what} has 3^{rank} components; written out they can be had to rank {MAX_WRITTEN_RANK}")
    return make()


def _numbered(letter: str, number: int) -> Indexed:
    return Indexed(Symbol(letter), (node(number),))


def _entry_rows(rule: Coupling) -> tuple[tuple[Node], ...]:
    terms: dict[int, list[Node]] = {}
    for (k, a, b), c in rule.entries.items():
        value = rational(to_sympy(c))
        terms.setdefault(k, []).append(_coefficient(value, _numbered("a", a - rule.l1), _numbered("b", b - rule.l2)))
    return tuple((Equation((_numbered("T", k - rule.l3), Sum(tuple(t)))),) for k, t in terms.items())


def _coefficient(value: Fraction, *factors: Node) -> Node:
    """A term of a sum; where the coefficient is -1, its sign alone is kept."""
    return product(Number(value), *factors) if value == -1 else scaled(value, *factors)


def _paths(part: Part) -> Sum:
    return Sum(tuple(_coefficient(rational(c), Sequence(path)) for path, c in part.paths.items()))


def _coupling_data(rule: Coupling) -> dict[str, Any]:
    ranks = (rule.l1, rule.l2, rule.l3)
    return {
        "l1": rule.l1,
        "l2": rule.l2,
        "l3": rule.l3,
        "type": rule.kind.value,
        "normalization": "harmonic",
        "contraction_constant": str(contraction_constant(*ranks)),
        "orthonormal_squared": str(rule.orthonormal_squared),
        "entries": [[k, a, b, str(c)] for (k, a, b), c in rule.entries.items()],
        "indices": "T[k] = sum over a, b of entry * x[a] * y[b]; k, a, b count m = -l..l from 0",
        "basis": {str(rank): _basis_data(rank) for rank in sorted(set(ranks))},
    }


def _basis_data(rank: int) -> list[dict[str, Any]]:
    """Basis tensors as polynomials: [[a, b, c, coefficient]] of x^a y^b z^c, and squared norms."""
    return [
        {"m": m - rank, "polynomial": [[*e, str(c)] for e, c in sorted(p.items())], "squared_norm": str(n)}
        for m, (p, n) in enumerate(zip(basis_polynomials(rank), squared_norms(rank), strict=True))
    ]


def _tree(value: Any) -> Any:
    """A formula as nested mappings: the node's name and its fields."""
    if isinstance(value, Node):
        return {"node": type(value).__name__, **{f.name: _tree(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, tuple):
        return [_tree(v) for v in value]
    return value if isinstance(value, str | bool | None) else str(value)
