"""SymPy source: `sympy.sympify` makes the object from it."""

from cartalg.render.document import Document


def write(document: Document) -> str:
    """The object as one expression."""
    return str(document.expression())
