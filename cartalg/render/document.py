"""What is to be said of an object, once for every format: a title, formulas, text, tables, and exact data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from cartalg.symbolic.notation import Equation, Node


@dataclass(frozen=True)
class Table:
    """Rows of text, numbers or formulas under a title; columns are named, or have empty names."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Node, ...], ...]


@dataclass(frozen=True)
class Document:
    """An exact object, described.

    Attributes:
        kind: projector, harmonic, coupling, tensor or general.
        title: One line of text.
        body: Equations, paragraphs of text, and tables, in order.
        data: Numbers, texts, lists and mappings that JSON can hold; rationals as texts.
        expression: The object in SymPy, made when a format asks for it.
        arguments: For formats that write functions: names of arrays and the symbols that are their entries, in order.
            Without them letters with numbers are gathered by letter, and x, y, z are a vector.
    """

    kind: str
    title: str
    body: tuple[Equation | str | Table, ...]
    data: Mapping[str, Any] = field(repr=False)
    expression: Callable[[], sp.Basic] = field(repr=False)
    arguments: Mapping[str, tuple[sp.Symbol, ...]] | None = field(repr=False, default=None)

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The formulas alone."""
        return tuple(block for block in self.body if isinstance(block, Equation))
