"""A Julia function of vectors; its result is a vector of the array's entries, the last index running fastest."""

from sympy.printing.julia import JuliaCodePrinter

from cartalg.render.document import Document
from cartalg.render.functions import function_of, legend


def write(document: Document) -> str:
    """The function's source."""
    f = function_of(document)
    lines = f.lines(JuliaCodePrinter(), lambda name, n: f"{name}[{n + 1}]", "", lambda n: f"out[{n + 1}]", "")
    head = [f"# {line}" for line in (f"{f.title}.", *legend(f), f"out: shape {list(f.shape)}, flat")]
    body = [f"out = zeros({len(f.outputs)})", *lines, "return out"]
    return "\n".join([*head, f"function {f.name}({', '.join(f.arguments)})", *(f"    {b}" for b in body), "end"])
