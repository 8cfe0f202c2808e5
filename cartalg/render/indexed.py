"""Expressions with indices and their irreducible parts, isotropic tensors and powers, described for every format."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import sympy as sp

from cartalg.render.document import Document, Table
from cartalg.symbolic.indexed import DELTA, EPSILON, Expression, Term, combined, parse, symmetries_of
from cartalg.symbolic.irreducible import components, irreducible_parts
from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.notation import Equation, Indexed, Node, Number, Parentheses, Sum, Symbol, node, scaled
from cartalg.symbolic.plethysm import young_power
from cartalg.symbolic.symbols import cartesian_3j

_GREEK = {DELTA: "delta", EPSILON: "epsilon", "α": "alpha"}


def describe_expression(text: str, symmetries: Sequence[str] = (), rank: int | None = None) -> Document:
    """An expression with indices, simplified, and its irreducible parts as formulas in its own letters.

    Args:
        text: Like ``"a_ij b_jk n_k"``.
        symmetries: Of its tensors, like ``"a_ij=a_ji"``.
        rank: The parts of this rank alone; what functions and arrays are of then is their sum.
    Raises:
        ValueError: If the text cannot be read, there are more than four free indices, or no part has the rank.
    """
    known = symmetries_of(symmetries)
    expression = parse(text)
    parts = [p for p in irreducible_parts(expression, known) if rank is None or p.rank == rank]
    if rank is not None and not parts:
        raise ValueError(f"{text!r} has no part of rank {rank}")
    simple = expression.simplified(known)
    whole = combined((Fraction(1), p.embedded) for p in parts).simplified(known) if parts else simple
    blocks: list[Equation | str | Table] = []
    for number, part in enumerate(parts, start=1):
        blocks.append(Equation((_name("P", number, expression.free), nodes(part.embedded))))
        if part.rank != len(expression.free):
            blocks.append(Equation((_name("t", number, part.own.free), nodes(part.own))))
    return Document(
        "expression",
        f"{simple}: {_ranks([p.rank for p in parts])}",
        (
            Equation((_name("T", None, expression.free), nodes(simple))),
            *blocks,
            "P: parts, which add up to T; t: one of lower rank as a traceless tensor of its own, up to a factor",
        ),
        {
            "formula": str(simple),
            "free": expression.free,
            "symmetries": list(symmetries),
            "parts": [{"rank": p.rank, "embedded": str(p.embedded), "own": str(p.own)} for p in parts],
        },
        lambda: components(whole, known),
        _arguments(expression),
    )


def _ranks(ranks: list[int]) -> str:
    return f"irreducible parts of rank {', '.join(map(str, ranks))}" if ranks else "zero"


def _arguments(expression: Expression) -> dict[str, tuple[sp.Symbol, ...]]:
    """Every tensor as an array of all its components; of equal ones the first is read."""
    found = {}
    for name, order in sorted(expression.tensors.items()):
        axes = itertools.product("123", repeat=order)
        found[name] = tuple(sp.Symbol(name + "".join(at)) for at in axes)
    return found


def describe_3j(l1: int, l2: int, l3: int) -> Document:
    """The Cartesian 3j symbol of three ranks in deltas and epsilons. Raises ValueError as `cartesian_3j`."""
    symbol, norm = cartesian_3j(l1, l2, l3)
    square = sp.sqrt(sp.Rational(norm.numerator, norm.denominator))
    groups = [symbol.free[:l1], symbol.free[l1 : l1 + l2], symbol.free[l1 + l2 :]]
    return Document(
        "symbol",
        f"Cartesian 3j symbol ({l1} {l2} {l3}), times {square}",
        (
            Equation((_name("W", None, symbol.free), nodes(symbol))),
            f"symmetric and traceless in {', '.join(filter(None, groups))}; its square is {norm}",
        ),
        {"l1": l1, "l2": l2, "l3": l3, "symbol": str(symbol), "squared_norm": str(norm)},
        lambda: components(symbol) / square,
    )


def describe_power(irreps: str, diagram: tuple[int, ...]) -> Document:
    """A power of a sum of irreps with the symmetry of a Young diagram. Raises ValueError as `young_power`."""
    found = young_power(irreps, diagram)
    rows = tuple((str(ir), str(mul), str(mul * ir.dim)) for mul, ir in found)
    return Document(
        "power",
        f"{Irreps(irreps)} to the power [{', '.join(map(str, diagram))}]: {found or 'nothing'}, {found.dim} components",
        (Table("", ("irrep", "multiplicity", "components"), rows),),
        {"irreps": str(Irreps(irreps)), "diagram": list(diagram), "power": str(found), "dimension": found.dim},
        lambda: sp.Matrix([mul for mul, _ in found]),
    )


def nodes(expression: Expression) -> Node:
    """An expression as a formula."""
    if not expression.terms:
        return Number(Fraction(0))
    return Sum(tuple(scaled(c, *map(_factor, _ordered(term))) for term, c in expression.terms))


def _ordered(term: Term) -> list[tuple[str, str]]:
    """Deltas and epsilons first."""
    return sorted(term, key=lambda factor: (factor[0] not in (DELTA, EPSILON), factor))


def _factor(factor: tuple[str, str]) -> Node:
    name, indices = factor
    letter = Symbol(_GREEK.get(name, name))
    return Indexed(letter, tuple(map(Symbol, indices))) if indices else letter


def _name(letter: str, number: int | None, free: str) -> Node:
    if number is None:
        return Indexed(Symbol(letter), tuple(map(Symbol, free))) if free else Symbol(letter)
    numbered = Indexed(Symbol(letter), (node(number),))
    return Indexed(Parentheses(numbered), tuple(map(Symbol, free))) if free else numbered
