"""Kernels as Numba functions: the loops of `cartalg_codegen.lowering` in Python.

An emitted function does rows start..stop, channel by channel in an inner loop. It releases the GIL, so callers share
rows out to threads; `thread` says which part of a shared gradient a call adds to. No two arguments of a call may
overlap in memory.
"""

import textwrap
from fractions import Fraction

from cartalg_codegen.lowering import lower
from cartalg_codegen.program import Ref
from cartalg_codegen.specs import KernelSpec
from cartalg_codegen.text import WIDTH, constant_name, expression, fill, literal, wrap
from cartalg_codegen.tree import (
    Apply,
    Dim,
    Expr,
    Function,
    If,
    Import,
    Int,
    Invoke,
    Item,
    Let,
    Loads,
    Loop,
    Module,
    Node,
    Op,
    Row,
    Scratch,
    Section,
    Sum,
    Var,
    While,
)

OPTIONS = 'nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"}'
#: Lines beyond which a file is divided.
LONG = 2000
#: How tightly an operator binds.
PRECEDENCE = {"and": 0, "<": 1, "+": 2, "-": 2, "*": 3, "/": 3, "//": 3, "%": 3}
FUNCTIONS = {"real": "real", "int": "int", "min": "min", "sqrt": "np.sqrt"}


def modules(spec: KernelSpec) -> dict[str, str]:
    """The emitted file below its header; a long one with a file for each of its functions, which it imports."""
    tree = lower(spec)
    text = print_module(tree)
    if text.count("\n") <= LONG:
        return {"": text}
    imports = [Import(spec.kind, f"{spec.name}__{f.name}", f.name, f.name) for f in tree.functions]
    parts = {f.name: print_module(Module((f,), tree.imports)) for f in tree.functions}
    return {"": print_module(Module((), tuple(imports))), **parts}


def print_module(tree: Module) -> str:
    """Imports, then functions."""
    bodies = [print_function(f) for f in tree.functions]
    lines = ["import numpy as np"] if any("np." in body for body in bodies) else []
    lines += ["from numba import njit"] if tree.functions else []
    if tree.imports:
        lines += [""] if lines else []
        for kind, name in dict.fromkeys((i.kind, i.module) for i in tree.imports):
            wanted = [i for i in tree.imports if i.module == name]
            shown = [i.function if i.function == i.alias else f"{i.function} as {i.alias}" for i in wanted]
            head = f"from ..{kind}.{name} import "
            one = head + ", ".join(shown)
            lines += [one] if len(one) <= WIDTH else [f"{head}(", *(f"    {n}," for n in shown), ")"]
    return "\n".join(lines) + "\n" + "".join(f"\n\n{body}" for body in bodies)


def listed(head: str, names: list[str], tail: str, indent: str) -> list[str]:
    """Names between a head and a tail, on lines of their own if one line can't hold them."""
    if len(line := head + ", ".join(names) + tail) <= WIDTH:
        return [line]
    inner = textwrap.wrap(", ".join(names) + ",", WIDTH - len(indent) - 4)
    return [head, *(f"{indent}    {part}" for part in inner), indent + tail]


def print_function(function: Function) -> str:
    """One function with its decorator."""
    printer = _Printer(function.precision)
    body = printer.block(function.body, 1)
    options = f"{OPTIONS}, forceinline=True" if function.inline else OPTIONS
    head = listed(f"def {function.name}(", list(function.parameters), "):", "")
    lines = [f"@njit({options})", *head, f'    """{function.summary}"""']
    if printer.real or printer.constants:
        lines.append(f"    real = {function.precision}.dtype.type")
    lines += fill([f"{constant_name(v)} = real({literal(v).strip('()')})" for v in sorted(printer.constants)], "    ")
    return "\n".join([*lines, *body]) + "\n"


class _Printer:
    """Text of statements, and the constants that they use, which are hoisted to the top of the function."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.constants: set[Fraction] = set()
        self.real = False

    def block(self, nodes: tuple[Node, ...], depth: int) -> list[str]:
        """Statements, indented."""
        return [line for node in nodes for line in self.statement(node, depth)]

    def statement(self, node: Node, depth: int) -> list[str]:
        """One statement. Raises TypeError for one that has no text."""
        indent, text = "    " * depth, self.expression
        match node:
            case Let():
                return wrap(f"{indent}{text(node.target)} {'+=' if node.add else '='} {text(node.value)}")
            case Loads():
                return fill([f"{text(name)} = {text(item)}" for name, item in node.items], indent)
            case Loop():
                start = "" if node.start == Int(0) and node.step == 1 else f"{text(node.start)}, "
                step = "" if node.step == 1 else f", {node.step}"
                head = f"{indent}for {node.index.name} in range({start}{text(node.stop)}{step}):"
                return [head, *self.block(node.body, depth + 1)]
            case While():
                return [f"{indent}while {text(node.condition)}:", *self.block(node.body, depth + 1)]
            case If():
                lines = [f"{indent}if {text(node.condition)}:", *self.block(node.body, depth + 1)]
                return [*lines, f"{indent}else:", *self.block(node.otherwise, depth + 1)] if node.otherwise else lines
            case Section():
                return [f"{indent}# {node.title}", *self.block(node.body, depth)]
            case Invoke():
                return listed(f"{indent}{node.function}(", list(map(text, node.arguments)), ")", indent)
            case Scratch():
                shape = ", ".join(map(text, node.shape))
                kind = "np.int64" if node.integers else f"{node.like or self.precision}.dtype"
                return [f"{indent}{node.array} = np.empty({f'({shape})' if len(node.shape) > 1 else shape}, {kind})"]
        raise TypeError(f"{type(node).__name__} has no text in Numba")

    def expression(self, value: Expr, outer: int = -1) -> str:
        """One expression, in parentheses where an operator around it binds more tightly."""
        match value:
            case Int():
                return str(value.value)
            case Var():
                return value.name
            case Item():
                return f"{value.array}[{', '.join(map(self.expression, value.at))}]"
            case Dim():
                return f"{value.array}.shape[{value.axis}]"
            case Row():
                start, count = self.expression(value.start), self.expression(value.count)
                stop = count if value.start == Int(0) else f"{start} + {count}"
                return f"{value.array}[{self.expression(value.row)}, {start} : {stop}]"
            case Apply():
                self.real = self.real or value.function == "real"
                return f"{FUNCTIONS[value.function]}({', '.join(map(self.expression, value.arguments))})"
            case Sum():
                return expression(value.terms, self._constant, lambda ref: self._place(value, ref))
            case Op():
                own = PRECEDENCE[value.sign]
                # the right side of - / // % needs parentheses where it binds as tightly
                right = self.expression(value.right, own + (value.sign not in ("+", "*", "and")))
                body = f"{self.expression(value.left, own)} {value.sign} {right}"
                return f"({body})" if own < outer else body
        raise TypeError(f"{type(value).__name__} has no text in Numba")

    def _place(self, value: Sum, ref: Ref) -> str:
        return self.expression(value.place(ref))

    def _constant(self, value: Fraction) -> str:
        self.constants.add(value)
        return constant_name(value)
