"""Formulas in notebooks; ``%load_ext cartalg.render`` turns this on."""

from typing import Any

from cartalg.render.document import Document
from cartalg.render.formats import latex, unicode
from cartalg.render.objects import describe_coupling
from cartalg.symbolic.coupling import Coupling
from cartalg.symbolic.notation import Equation


def register(formatters: Any) -> None:
    """Tell the formatters of an IPython shell how to show what the rules are made of, as LaTeX and as lines of text."""
    shown = {
        Equation: (latex.equation, lambda equation: "\n".join(unicode.lines(equation))),
        Document: (latex.write, unicode.write),
        Coupling: (
            lambda rule: latex.equation(rule.formula),
            lambda rule: unicode.write(describe_coupling(rule.l1, rule.l2, rule.l3)),
        ),
    }
    for kind, (mathematics, text) in shown.items():
        formatters["text/latex"].for_type(kind, lambda value, write=mathematics: f"$\\displaystyle {write(value)}$")
        formatters["text/plain"].for_type(kind, lambda value, printer, cycle, write=text: printer.text(write(value)))
