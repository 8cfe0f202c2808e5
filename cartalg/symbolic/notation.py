"""Formulas as plain trees that know nothing of how they are printed; `cartalg.render` writes them.

Operators build them: ``2 * l - 1``, ``a / b``, ``x**m``. Nothing is simplified or reordered, so that a formula stays in
the order in which it was put down.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Union

import sympy as sp

Operand = Union["Node", int, Fraction]


@dataclass(frozen=True)
class Node:
    """Base of everything that a formula is made of."""

    def __add__(self, other: Operand) -> "Sum":
        return Sum((*_terms(self), *_terms(node(other))))

    def __sub__(self, other: Operand) -> "Sum":
        return Sum((*_terms(self), *(negated(t) for t in _terms(node(other)))))

    def __mul__(self, other: Operand) -> "Product":
        return product(self, node(other))

    def __rmul__(self, other: Operand) -> "Product":
        return product(node(other), self)

    def __truediv__(self, other: Operand) -> "Quotient":
        return Quotient(self, node(other))

    def __pow__(self, other: Operand) -> "Power":
        return Power(self, node(other))


@dataclass(frozen=True)
class Number(Node):
    """A rational."""

    value: Fraction


@dataclass(frozen=True)
class Symbol(Node):
    """A letter, Greek by name (``delta``), with a subscript of digits or none: l, l_1, i_12."""

    letter: str
    subscript: str = ""


@dataclass(frozen=True)
class Exact(Node):
    """A SymPy expression as it is, such as a square root or a polynomial."""

    value: sp.Expr


@dataclass(frozen=True)
class Dots(Node):
    """An ellipsis."""


@dataclass(frozen=True)
class Indexed(Node):
    """A tensor with its indices."""

    body: Node
    indices: tuple[Node, ...]


@dataclass(frozen=True)
class Projector(Node):
    """The traceless projector of a rank, to be followed by what it acts on."""

    rank: Node


@dataclass(frozen=True)
class Sum(Node):
    """Terms with their signs in front of them."""

    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Product(Node):
    """Factors in order."""

    factors: tuple[Node, ...]


@dataclass(frozen=True)
class Quotient(Node):
    """One over the other."""

    top: Node
    bottom: Node


@dataclass(frozen=True)
class Power(Node):
    """A base and its exponent."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Factorial(Node):
    """n!, or n!! if `double`."""

    argument: Node
    double: bool = False


@dataclass(frozen=True)
class Floor(Node):
    """The greatest integer that is not above."""

    argument: Node


@dataclass(frozen=True)
class Series(Node):
    """A sum over an index, between limits where there are any."""

    index: Node
    body: Node
    lower: Node | None = None
    upper: Node | None = None


@dataclass(frozen=True)
class Assignments(Node):
    """Braces: the sum over distinct assignments of the free indices."""

    body: Node


@dataclass(frozen=True)
class Brackets(Node):
    """Square brackets."""

    body: Node


@dataclass(frozen=True)
class Parentheses(Node):
    """Round brackets, where they belong to the formula; printers add those that precedence asks for."""

    body: Node


@dataclass(frozen=True)
class Contracted(Node):
    """Two tensors with a number of index pairs contracted."""

    left: Node
    right: Node
    pairs: Node


@dataclass(frozen=True)
class Sequence(Node):
    """Ranks that follow from one another by couplings."""

    ranks: tuple[int, ...]


@dataclass(frozen=True)
class Column(Node):
    """Packed components m = -l..l."""

    entries: tuple[Node, ...]


@dataclass(frozen=True)
class Rows(Node):
    """A matrix, row by row."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class Equation(Node):
    """Sides that are equal; `where` says what letters in it mean."""

    sides: tuple[Node, ...]
    where: tuple["Equation", ...] = ()


def node(value: Operand) -> Node:
    """A number, or what is a node already."""
    return value if isinstance(value, Node) else Number(Fraction(value))


def product(*factors: Node) -> Product:
    """A product whose factors are no products."""
    return Product(
        tuple(f for factor in factors for f in (factor.factors if isinstance(factor, Product) else (factor,)))
    )


def signed(term: Node) -> tuple[bool, Node]:
    """Whether a minus stands in front of a term, and the term without it."""
    if isinstance(term, Number) and term.value < 0:
        return True, Number(-term.value)
    if isinstance(term, Product) and isinstance(term.factors[0], Number) and term.factors[0].value < 0:
        rest = term.factors[1:]
        value = -term.factors[0].value
        if value != 1:
            return True, Product((Number(value), *rest))
        return True, rest[0] if len(rest) == 1 else Product(rest)
    return False, term


def negated(term: Node) -> Node:
    """Minus a term."""
    negative, rest = signed(term)
    if negative:
        return rest
    if isinstance(term, Number):
        return Number(-term.value)
    if isinstance(term, Product) and isinstance(term.factors[0], Number):
        return Product((Number(-term.factors[0].value), *term.factors[1:]))
    return product(Number(Fraction(-1)), term)


def _terms(value: Node) -> tuple[Node, ...]:
    return value.terms if isinstance(value, Sum) else (value,)


def scaled(coefficient: Fraction, *factors: Node) -> Node:
    """A coefficient times factors, without a factor of one."""
    if not factors:
        return Number(coefficient)
    if coefficient == 1:
        return factors[0] if len(factors) == 1 else product(*factors)
    return product(Number(coefficient), *factors)
