"""Lines of Unicode for a terminal: the whole document."""

import re
from itertools import groupby, pairwise

import sympy as sp

from cartalg.render.document import Document, Table
from cartalg.symbolic import notation as n
from cartalg.symbolic.notation import Node

_SUBSCRIPT = str.maketrans("0123456789-", "₀₁₂₃₄₅₆₇₈₉₋")
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_GREEK = {"alpha": "α", "delta": "δ", "epsilon": "ε"}


def write(document: Document) -> str:
    """Title, formulas, text and tables, in order."""
    blocks = [document.title]
    for equations, run in groupby(document.body, lambda block: isinstance(block, n.Equation)):
        written = [_block(block) for block in run]
        blocks += ["\n".join(written)] if equations else written  # equations in a row stand together
    return "\n\n".join(blocks)


def _block(block: n.Equation | Table | str) -> str:
    if isinstance(block, n.Equation):
        return "\n".join(f"  {line}" for line in lines(block))
    return _table(block) if isinstance(block, Table) else f"  {block}"


def lines(formula: n.Equation) -> list[str]:
    """An equation as lines: one for each right side, or for each component of a column."""
    left, *sides = formula.sides
    if isinstance(sides[-1], n.Column):
        top = len(sides[-1].entries) // 2
        return [f"{expression(left)}{subscript(m - top)} = {expression(e)}" for m, e in enumerate(sides[-1].entries)]
    if isinstance(sides[-1], n.Rows):
        return [f"{expression(left)} =", *_grid(sides[-1].rows)]
    meaning = "".join(f",  {', '.join(line for e in formula.where for line in lines(e))}" for _ in formula.where[:1])
    return [f"{expression(left)} = {expression(side)}{meaning}" for side in sides]


def _grid(rows: tuple[tuple[Node, ...], ...]) -> list[str]:
    """A matrix with its columns in line; dots are zeros."""
    cells = [["." if v == n.Exact(sp.Integer(0)) else expression(v) for v in row] for row in rows]
    widths = [max(len(row[c]) for row in cells) for c in range(len(cells[0]))]
    return ["  " + "  ".join(f"{v:>{w}}" for v, w in zip(row, widths, strict=True)) for row in cells]


def expression(value: Node) -> str:
    """Any formula on one line."""
    match value:
        case n.Number(number):
            return str(number).replace("-", "−")
        case n.Symbol(letter, digits):
            return _GREEK.get(letter, letter) + digits.translate(_SUBSCRIPT)
        case n.Exact(exact):
            return pretty(exact)
        case n.Dots():
            return ".."
        case n.Indexed(body, indices):
            return _indexed(body, indices)
        case n.Projector():
            return "P"
        case n.Sum(terms):
            return _sum(terms)
        case n.Product(factors):
            return _product(factors)
        case n.Quotient(top, bottom):
            over = expression(top) if isinstance(top, n.Product) else _atom(top)
            return f"{over}/{expression(bottom) if isinstance(bottom, n.Power) else _atom(bottom)}"
        case n.Power(base, n.Number(number)) if number.denominator == 1 and number >= 0:
            return _atom(base) + str(number).translate(_SUPERSCRIPT)
        case n.Power(base, exponent):
            return f"{_atom(base)}^{_atom(exponent)}"
        case n.Factorial(argument, double):
            return _atom(argument) + ("!!" if double else "!")
        case n.Floor(argument):
            return f"⌊{expression(argument)}⌋"
        case n.Series(index, body, lower, upper):
            limits = (f"={expression(lower)}" if lower else "") + (f"..{expression(upper)}" if upper else "")
            return f"Σ_{expression(index)}{limits} {expression(body)}"
        case n.Assignments(body):
            return f"{{{expression(body)}}}"
        case n.Brackets(body):
            return f"[ {expression(body)} ]"
        case n.Parentheses(body):
            return f"({expression(body)})"
        case n.Contracted(left, right, pairs):
            return f"{expression(left)} ·^{_atom(pairs)} {expression(right)}"
        case n.Sequence(ranks):
            return "→".join(map(str, ranks))
        case n.Rows(rows):
            return "; ".join(" ".join(map(expression, row)) for row in rows)
        case n.Equation():
            return "; ".join(lines(value))
    raise TypeError(f"Unicode has no form for {type(value).__name__}")


def _indexed(body: Node, indices: tuple[Node, ...]) -> str:
    """Indices of vectors and deltas follow at once, those of other tensors after an underscore; numbers are lowered."""
    if all(isinstance(i, n.Number) for i in indices):
        return expression(body) + "".join(subscript(int(i.value)) for i in indices if isinstance(i, n.Number))
    close = isinstance(body, n.Symbol) and body.letter in ("x", "delta")
    return expression(body) + ("" if close else "_") + "".join(map(expression, indices))


def _sum(terms: tuple[Node, ...]) -> str:
    tight = all(_is_linear(n.signed(t)[1]) for t in terms)
    text = ""
    for place, term in enumerate(terms):
        negative, rest = n.signed(term)
        sign = "−" if negative else "+"
        if place:
            text += sign if tight else f" {sign} "
        elif negative:
            text += sign
        text += expression(rest)
    return text


def _is_linear(term: Node) -> bool:
    """A number, a letter or a multiple of a letter."""
    if isinstance(term, n.Product):
        return len(term.factors) == 2 and all(isinstance(f, n.Number | n.Symbol) for f in term.factors)
    return isinstance(term, n.Number | n.Symbol)


def _product(factors: tuple[Node, ...]) -> str:
    parts = [expression(factors[0])]
    for before, factor in pairwise(factors):
        close = isinstance(before, n.Number) and isinstance(factor, n.Symbol) and before.value.denominator == 1
        parts.append(("" if close else " ") + expression(factor))
    return "".join(parts)


def _atom(value: Node) -> str:
    """With parentheses unless it is one letter, a number or has brackets of its own."""
    text = expression(value)
    whole = isinstance(value, n.Number) and value.value.denominator == 1 and value.value >= 0
    closed = isinstance(value, n.Symbol | n.Parentheses | n.Brackets | n.Indexed | n.Factorial)
    return text if whole or closed else f"({text})"


def subscript(number: int) -> str:
    """A whole number as a subscript."""
    return str(number).translate(_SUBSCRIPT)


def pretty(value: sp.Expr) -> str:
    """A SymPy expression as one line."""
    polynomial = value.free_symbols and value.is_polynomial()
    text = str(sp.factor_terms(sp.expand(value)) if polynomial else value).replace("sqrt", "√")
    text = re.sub(r"\*\*(\d+)", lambda power: power[1].translate(_SUPERSCRIPT), text)
    return text.replace("**", "^").replace("*", " ")


def _table(table: Table) -> str:
    cells = [[expression(c) if isinstance(c, Node) else c for c in row] for row in table.rows]
    head = [list(table.columns)] if any(table.columns) else []
    # the last column is left as it is: it holds formulas of any length
    widths = [max(len(row[c]) for row in [*head, *cells]) for c in range(len(table.columns) - 1)]
    body = [
        "  " + "".join(f"{v:>{w}}   " for v, w in zip(row, widths, strict=False)) + row[-1] for row in [*head, *cells]
    ]
    return "\n".join([*([table.title, ""] if table.title else []), *body])
