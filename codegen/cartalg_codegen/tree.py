"""What an emitted function is made of, in no language: sections, loops, loads, stores, sums of products.

Lowering (`cartalg_codegen.lowering`) turns programs into these trees; a backend whose kernels are loops prints them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from cartalg_codegen.program import Ref, Term, count_operations


class Axis(StrEnum):
    """What a loop runs over."""

    ROWS = "rows"
    ATOMS = "atoms"
    EDGES = "edges"
    COMPONENTS = "components"
    LANES = "lanes"


class Expr:
    """A number. Python's operators build larger ones."""

    def __add__(self, other: "Expr | int") -> "Expr":
        return self if whole(other) == Int(0) else Op("+", self, whole(other))

    def __sub__(self, other: "Expr | int") -> "Expr":
        return Op("-", self, whole(other))

    def __mul__(self, other: "Expr | int") -> "Expr":
        if whole(other) in (Int(0), Int(1)):
            return Int(0) if whole(other) == Int(0) else self
        return Op("*", self, whole(other))

    def __truediv__(self, other: "Expr | int") -> "Expr":
        return Op("/", self, whole(other))

    def __floordiv__(self, other: "Expr | int") -> "Expr":
        return Op("//", self, whole(other))

    def __mod__(self, other: "Expr | int") -> "Expr":
        return Op("%", self, whole(other))

    def __lt__(self, other: "Expr | int") -> "Expr":
        return Op("<", self, whole(other))

    def both(self, other: "Expr") -> "Expr":
        """Logical and."""
        return Op("and", self, other)


@dataclass(frozen=True)
class Int(Expr):
    """An integer literal."""

    value: int


@dataclass(frozen=True)
class Var(Expr):
    """A local name, or an argument."""

    name: str


@dataclass(frozen=True)
class Item(Expr):
    """One element of an array."""

    array: str
    at: tuple[Expr, ...]


@dataclass(frozen=True)
class Dim(Expr):
    """The size of an array along an axis."""

    array: str
    axis: int


@dataclass(frozen=True)
class Op(Expr):
    """Arithmetic, a comparison, or a logical and."""

    sign: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Apply(Expr):
    """A function of numbers: ``real`` and ``int`` convert, ``sqrt`` and ``min`` compute."""

    function: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class Row(Expr):
    """A view of one row of an array: `count` numbers from column `start` on."""

    array: str
    row: Expr
    start: Expr
    count: Expr


@dataclass(frozen=True)
class Sum(Expr):
    """A polynomial with exact coefficients; `place` says where each of its factors is read."""

    terms: tuple[Term, ...]
    place: Callable[[Ref], Expr] = field(default=lambda ref: Var(str(ref)))


def whole(value: "Expr | int") -> Expr:
    """An integer as an expression."""
    return Int(value) if isinstance(value, int) else value


def names(text: str) -> tuple[Var, ...]:
    """Variables, by their names."""
    return tuple(Var(name) for name in text.split())


@dataclass(frozen=True)
class Array:
    """An array whose elements are written ``array[i, c]``."""

    name: str

    def __getitem__(self, at: "Expr | int | tuple[Expr | int, ...]") -> Item:
        return Item(self.name, tuple(map(whole, at if isinstance(at, tuple) else (at,))))


def arrays(text: str) -> tuple[Array, ...]:
    """Arrays, by their names."""
    return tuple(Array(name) for name in text.split())


def real(value: Expr | int) -> Apply:
    """A number in the arrays' precision."""
    return Apply("real", (whole(value),))


class Node:
    """A statement."""


@dataclass(frozen=True)
class Let(Node):
    """Set a variable or an element, or add to it."""

    target: Var | Item
    value: Expr
    add: bool = False


@dataclass(frozen=True)
class Loads(Node):
    """Local variables set to elements of arrays."""

    items: tuple[tuple[Var, Item], ...]


@dataclass(frozen=True)
class Scratch(Node):
    """A new array of numbers (``real``), of integers, or of what another array holds."""

    array: str
    shape: tuple[Expr, ...]
    integers: bool = False
    like: str = ""


@dataclass(frozen=True)
class Loop(Node):
    """For index = start, start + step, .. below stop."""

    axis: Axis
    index: Var
    stop: Expr
    body: tuple[Node, ...]
    start: Expr = Int(0)
    step: int = 1


@dataclass(frozen=True)
class While(Node):
    """As long as a condition holds."""

    condition: Expr
    body: tuple[Node, ...]


@dataclass(frozen=True)
class If(Node):
    """One of two branches."""

    condition: Expr
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Invoke(Node):
    """A call of another emitted function."""

    function: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class Section(Node):
    """Statements that belong together, under a title."""

    title: str
    body: tuple[Node, ...]


@dataclass(frozen=True)
class Function:
    """One emitted function.

    Attributes:
        precision: The array whose precision constants take.
        inline: Made a part of whatever calls it.
    """

    name: str
    summary: str
    parameters: tuple[str, ...]
    body: tuple[Node, ...]
    precision: str
    inline: bool = False


@dataclass(frozen=True)
class Import:
    """A function of another emitted file, under a name of its own."""

    kind: str
    module: str
    function: str
    alias: str


@dataclass(frozen=True)
class Module:
    """One emitted file."""

    functions: tuple[Function, ...]
    imports: tuple[Import, ...] = ()


def walk(nodes: tuple[Node, ...], axes: tuple[Axis, ...] = ()) -> Iterator[tuple[Node, tuple[Axis, ...]]]:
    """Every statement, with the axes of the loops around it."""
    for node in nodes:
        yield node, axes
        if isinstance(node, Loop):
            yield from walk(node.body, (*axes, node.axis))
        elif isinstance(node, If):
            yield from walk(node.body, axes)
            yield from walk(node.otherwise, axes)
        elif isinstance(node, While | Section):
            yield from walk(node.body, axes)


def counted(function: Function) -> dict[str, int]:
    """Multiplications and additions of a function's sums, by what repeats them: ``"edge"``, ``"row and channel"``."""
    counts: dict[str, int] = {}
    for node, axes in walk(function.body):
        if isinstance(node, Let) and isinstance(node.value, Sum):
            axis = next((a for a in reversed(axes) if a is not Axis.LANES), Axis.ROWS)
            key = str(axis).removesuffix("s") + (" and channel" if Axis.LANES in axes else "")
            counts[key] = (
                counts.get(key, 0) + count_operations(node.value.terms) + (node.add and bool(node.value.terms))
            )
    return {key: count for key, count in counts.items() if count}
