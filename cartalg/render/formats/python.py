"""A Python function: sequences of numbers in, a flat list out; no import but math."""

from sympy.printing.pycode import PythonCodePrinter

from cartalg.render.document import Document
from cartalg.render.functions import function_of, legend


def write(document: Document) -> str:
    """The function's source."""
    f = function_of(document)
    lines = f.lines(PythonCodePrinter(), lambda name, n: f"{name}[{n}]", "", lambda n: f"out[{n}]", "")
    size = len(f.outputs)
    text = [f'"""{f.title}.', "", *legend(f), f"Returns: shape {list(f.shape)}, flat, the last index fastest.", '"""']
    body = [*text, f"out = [0.0] * {size}", *lines, "return out"]
    imports = ["import math", "", ""] if any("math." in line for line in lines) else []
    head = f"def {f.name}({', '.join(f.arguments)}):"
    return "\n".join([*imports, head, *(f"    {line}" if line else line for line in body)])
