r"""LaTeX, without delimiters: the formulas of a document, joined by \qquad."""

from itertools import pairwise

import sympy as sp

from cartalg.render.document import Document, Table
from cartalg.symbolic import notation as n
from cartalg.symbolic.notation import Node

_GREEK = ("alpha", "delta", "epsilon")
_SEPARATOR = r",\qquad "


def write(document: Document) -> str:
    """Every equation, one after the other; the tables of what has no equation."""
    if document.equations:
        return _SEPARATOR.join(equation(e) for e in document.equations)
    return _SEPARATOR.join(_table(block) for block in document.body if isinstance(block, Table))


def _table(table: Table) -> str:
    rows = [table.columns, *table.rows] if any(table.columns) else list(table.rows)
    lines = [" & ".join(expression(c) if isinstance(c, Node) else rf"\text{{{c}}}" for c in row) for row in rows]
    return rf"\begin{{array}}{{{'l' * len(table.columns)}}} " + r" \\ ".join(lines) + r" \end{array}"


def equation(formula: n.Equation) -> str:
    """An equation and, after it, what its letters mean."""
    parts = [" = ".join(expression(side) for side in formula.sides)]
    if formula.where:
        parts.append(meaning(formula))
    return r",\quad ".join(parts)


def meaning(formula: n.Equation) -> str:
    """What the letters of an equation mean."""
    return r",\; ".join(equation(e) for e in formula.where)


def expression(value: Node) -> str:
    """Any formula."""
    match value:
        case n.Number(number):
            if number.denominator == 1:
                return str(number.numerator)
            sign = "-" if number < 0 else ""
            return rf"{sign}\tfrac{{{abs(number.numerator)}}}{{{number.denominator}}}"
        case n.Symbol(letter, subscript):
            name = rf"\{letter}" if letter in _GREEK else letter
            return f"{name}_{{{subscript}}}" if subscript else name
        case n.Exact(exact):
            return sp.latex(exact)
        case n.Dots():
            return r"\cdots"
        case n.Indexed(body, indices):
            plain = all(isinstance(i, n.Symbol) and not i.subscript for i in indices)
            return f"{expression(body)}_{{{('' if plain else ' ').join(map(expression, indices))}}}"
        case n.Projector(rank):
            return f"P^{{({expression(rank)})}}"
        case n.Sum(terms):
            return _sum(terms)
        case n.Product(factors):
            return _product(factors)
        case n.Quotient(top, bottom):
            return rf"\frac{{{expression(top)}}}{{{expression(bottom)}}}"
        case n.Power(base, exponent):
            return f"{_atom(base)}^{{{expression(exponent)}}}"
        case n.Factorial(argument, double):
            return _atom(argument) + ("!!" if double else "!")
        case n.Floor(argument):
            return rf"\lfloor {expression(argument)} \rfloor"
        case n.Series(index, body, lower, upper):
            start = expression(index) + (f"={expression(lower)}" if lower else "")
            end = f"^{{{expression(upper)}}}" if upper else ""
            return rf"\sum_{{{start}}}{end} {expression(body)}"
        case n.Assignments(body):
            return rf"\left\{{{expression(body)}\right\}}"
        case n.Brackets(body):
            return rf"\left[ {expression(body)} \right]"
        case n.Parentheses(body):
            return rf"\left( {expression(body)} \right)" if isinstance(body, n.Quotient) else f"({expression(body)})"
        case n.Contracted(left, right, pairs):
            return rf"{expression(left)} \overset{{{expression(pairs)}}}{{\cdot}} {expression(right)}"
        case n.Sequence(ranks):
            return r"\left[ " + r" \to ".join(map(str, ranks)) + r" \right]"
        case n.Column(entries):
            return r"\left( \begin{matrix}" + r" \\ ".join(map(expression, entries)) + r"\end{matrix} \right)"
        case n.Rows(rows):
            lines = r" \\ ".join(" & ".join(map(expression, row)) for row in rows)
            return rf"\left( \begin{{matrix}} {lines} \end{{matrix}} \right)"
        case n.Equation():
            return equation(value)
    raise TypeError(f"LaTeX has no form for {type(value).__name__}")


def _sum(terms: tuple[Node, ...]) -> str:
    parts = []
    for place, term in enumerate(terms):
        negative, rest = n.signed(term)
        parts.append(("- " if negative else "+ " if place else "") + expression(rest))
    return " ".join(parts)


def _product(factors: tuple[Node, ...]) -> str:
    parts = [expression(factors[0])]
    for before, factor in pairwise(factors):
        apart = isinstance(before, n.Number) and not isinstance(factor, n.Symbol)
        parts.append((r"\," if apart else " ") + expression(factor))
    return "".join(parts)


def _atom(value: Node) -> str:
    """With parentheses unless it is one letter, a positive whole number or has brackets of its own."""
    text = expression(value)
    whole = isinstance(value, n.Number) and value.value.denominator == 1 and value.value >= 0
    return text if whole or isinstance(value, n.Symbol | n.Parentheses | n.Brackets) else f"({text})"
