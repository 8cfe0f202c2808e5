"""An exact object as a function: arguments that are arrays, common subexpressions, and outputs in one array."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from cartalg.render.document import Document

_VECTOR = sp.symbols("x y z")


@dataclass(frozen=True)
class Function:
    """A function that sets an array from arrays.

    Attributes:
        name: A word of letters, digits and underscores.
        title: What it computes, one line.
        arguments: Names of arrays and the symbols that are their entries, flat, the last index running fastest.
        steps: Intermediate values in order: names and expressions.
        outputs: Entries of the result, flat.
        shape: Of the result.
    """

    name: str
    title: str
    arguments: Mapping[str, tuple[sp.Symbol, ...]]
    steps: tuple[tuple[sp.Symbol, sp.Expr], ...]
    outputs: tuple[sp.Expr, ...]
    shape: tuple[int, ...]

    def lines(
        self, printer: Any, place: Callable[[str, int], str], declare: str, result: Callable[[int], str], end: str
    ) -> list[str]:
        """Assignments, one a line, with entries of arguments written as places in arrays."""
        table = {
            symbol: sp.Symbol(place(name, n))
            for name, symbols in self.arguments.items()
            for n, symbol in enumerate(symbols)
        }
        named = [(declare + str(s), e) for s, e in self.steps] + [(result(n), e) for n, e in enumerate(self.outputs)]
        return [f"{left} = {printer.doprint(e.xreplace(table))}{end}" for left, e in named]


def function_of(document: Document) -> Function:
    """The function whose result is the document's object.

    Raises:
        ValueError: If the object is a formula of any rank, which has no number of components.
    """
    found = document.expression()
    if isinstance(found, sp.Lambda):
        raise ValueError(f"{document.title}: functions are written for given ranks, not for any rank")
    if isinstance(found, sp.MatrixBase):
        flat, shape = list(found), tuple(found.shape) if found.shape[1] > 1 else (found.shape[0],)
    elif isinstance(found, sp.NDimArray):
        flat, shape = list(found.reshape(len(found))) if len(found) else [], tuple(found.shape)
    else:
        flat, shape = [found], (1,)
    symbols = sorted({s for e in flat for s in e.free_symbols}, key=lambda s: (len(str(s)), str(s)))
    arguments = document.arguments if document.arguments is not None else _gathered(symbols)
    if not symbols:
        steps: list[tuple[sp.Symbol, sp.Expr]] = []
    else:
        steps, flat = sp.cse(flat, symbols=sp.numbered_symbols("step"), order="none")
    name = re.sub(r"\W+", "_", f"{document.kind}_{'_'.join(_words(document.data))}").strip("_")
    return Function(name, document.title, arguments, tuple(steps), tuple(map(sp.sympify, flat)), shape)


def _words(data: Mapping[str, Any]) -> list[str]:
    """What in the data tells one object of a kind from another."""
    keys = ("rank", "l1", "l2", "l3", "formula", "group", "first", "second")
    words = [str(data[key]).split("=")[0] for key in keys if isinstance(data.get(key), int | str)]
    return [w.replace("-", "minus").replace("/", "over") for w in words][:3]


def _gathered(symbols: list[sp.Symbol]) -> dict[str, tuple[sp.Symbol, ...]]:
    """Symbols by the letters before their numbers: a0, a1 are entries of a; x, y, z are a vector's."""
    if symbols and set(symbols) <= set(_VECTOR):
        return {"v": _VECTOR}
    found: dict[str, list[sp.Symbol]] = {}
    for symbol in symbols:
        found.setdefault(re.sub(r"\d+$", "", str(symbol)), []).append(symbol)
    return {
        name: tuple(sorted(entries, key=lambda s: (len(str(s)), str(s)))) for name, entries in sorted(found.items())
    }


def legend(function: Function) -> list[str]:
    """A line for each argument: what its entries are."""
    return [f"{name}: {', '.join(map(str, symbols))}" for name, symbols in function.arguments.items()]
