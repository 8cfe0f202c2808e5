"""MathML, for a page that needs no script to show formulas; by way of LaTeX."""

from latex2mathml.converter import convert

from cartalg.render.document import Document
from cartalg.render.formats import latex
from cartalg.symbolic.notation import Equation, Node


def write(document: Document) -> str:
    """The formulas of a document as one MathML element."""
    return convert(latex.write(document), display="block")


def expression(value: Node) -> str:
    """Any formula as a MathML element."""
    return convert(latex.expression(value), display="block")


def meaning(formula: Equation) -> str:
    """What the letters of an equation mean, as a MathML element."""
    return convert(latex.meaning(formula), display="block")
