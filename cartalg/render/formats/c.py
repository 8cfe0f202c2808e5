"""A C99 function of arrays of double."""

from sympy.printing.c import C99CodePrinter

from cartalg.render.document import Document
from cartalg.render.functions import function_of, legend


def write(document: Document) -> str:
    """The function's source, with the header it needs."""
    f = function_of(document)
    lines = f.lines(C99CodePrinter(), lambda name, n: f"{name}[{n}]", "const double ", lambda n: f"out[{n}]", ";")
    taken = [f"const double {name}[{len(symbols)}]" for name, symbols in f.arguments.items()]
    comment = [f"/* {f.title}.", *(f"   {line}" for line in legend(f))]
    comment[-1] += f"\n   out: shape {list(f.shape)}, row-major */"
    head = f"void {f.name}({', '.join([*taken, f'double out[{len(f.outputs)}]'])}) {{"
    return "\n".join(["#include <math.h>", "", *comment, head, *(f"    {line}" for line in lines), "}"])
