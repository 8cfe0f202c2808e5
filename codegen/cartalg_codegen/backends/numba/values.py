"""What emitted functions compute with: numbers and arrays in LLVM's words, and readings of Python's syntax tree."""

import ast
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: Numbers: machine integers, reals in the arrays' precision, lanes of them, and the one number that is always a double.
Scalar = Literal["int", "real", "lanes", "double"]
#: What floating-point arithmetic may do, as the emitted decorators say.
FLAGS = "contract nsz reassoc"
#: Operators on integers and on reals.
OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("add nsw", "fadd"),
    ast.Sub: ("sub nsw", "fsub"),
    ast.Mult: ("mul nsw", "fmul"),
    ast.FloorDiv: ("sdiv", ""),
    ast.Mod: ("srem", ""),
    ast.Div: ("", "fdiv"),
}
#: Which of two types a variable has that is given both.
ORDER = ("int", "real", "double", "lanes")


@dataclass(frozen=True)
class Kind:
    """The type of an argument: a number, or an array of numbers with so many axes."""

    scalar: Scalar
    axes: int = 0

    def __str__(self) -> str:
        return f"{self.scalar}{self.axes or ''}"


@dataclass(frozen=True)
class Precision:
    """What reals and lanes are."""

    bits: int
    width: int

    def __str__(self) -> str:
        return f"float{self.bits} x {self.width}"

    @property
    def real(self) -> str:
        """A real in LLVM."""
        return "float" if self.bits == 32 else "double"

    def type(self, scalar: Scalar) -> str:
        """A number in LLVM."""
        lanes = f"<{self.width} x {self.real}>" if self.width > 1 else self.real
        return {"int": "i64", "real": self.real, "lanes": lanes, "double": "double"}[scalar]

    def align(self, scalar: Scalar) -> int:
        """Bytes that an element is aligned to."""
        return self.bits // 8 if scalar in ("real", "lanes") else 8

    def constant(self, value: float) -> str:
        """A real constant, rounded to this precision."""
        exact = struct.unpack("f", struct.pack("f", value))[0] if self.bits == 32 else value
        return f"0x{struct.unpack('Q', struct.pack('d', exact))[0]:016X}"


@dataclass
class Value:
    """A number in a register, or a constant."""

    scalar: Scalar
    text: str


@dataclass
class ArrayValue:
    """An array: where it starts, and its sizes; of a view the place of its start is a variable."""

    scalar: Scalar
    pointer: str
    sizes: list[str]
    view: bool = False


def join(first: Scalar, second: Scalar) -> Scalar:
    """The type that holds numbers of both."""
    return max(first, second, key=ORDER.index)


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement says something and does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def called(node: ast.expr) -> str:
    """The name of the function that is called, if it is a call."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def indices(node: ast.Subscript) -> list[ast.expr]:
    """Where an array is read or written."""
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def is_view(node: ast.Tuple) -> bool:
    """Whether indices take a row of an array as an array."""
    return any(isinstance(e, ast.Slice) for e in node.elts)


def rational(node: ast.expr) -> float | None:
    """The value of ``real(3 / 2)`` or ``real(2)``, if the expression is one."""
    if called(node) != "real" or not isinstance(node, ast.Call):
        return None
    match node.args[0]:
        case ast.Constant(value=int(number)):
            return float(number)
        case ast.BinOp(left=ast.Constant(value=int(above)), op=ast.Div(), right=ast.Constant(value=int(below))):
            return above / below
    return None


def definitions(tree: ast.Module) -> tuple[Mapping[str, ast.FunctionDef], Mapping[str, tuple[str, str]]]:
    """Functions of a file by name, and what it imports of its neighbours: {name: (kind.module, function)}."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    imported: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return functions, imported
