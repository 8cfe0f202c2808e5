"""Wolfram Language: the object as one expression, arrays as nested lists."""

import sympy as sp
from sympy.printing.mathematica import MCodePrinter

from cartalg.render.document import Document


def write(document: Document) -> str:
    """The expression."""
    found = document.expression()
    if isinstance(found, sp.Lambda):
        arguments = ", ".join(map(str, found.signature))
        return f"Function[{{{arguments}}}, {_printed(found.expr)}]"
    if isinstance(found, sp.MatrixBase):
        found = sp.ImmutableDenseNDimArray(list(found), found.shape if found.shape[1] > 1 else found.shape[:1])
    return _nested(found.tolist()) if isinstance(found, sp.NDimArray) else _printed(found)


def _nested(value: list[object] | sp.Expr) -> str:
    return "{" + ", ".join(map(_nested, value)) + "}" if isinstance(value, list) else _printed(value)


def _printed(value: sp.Expr) -> str:
    return str(MCodePrinter({"user_functions": {"factorial2": [(lambda x: True, "Factorial2")]}}).doprint(value))
