"""Emitted functions as LLVM code: the few forms of Python that an emitted file says, for given types of arguments.

Numba compiles the same files; most of its time goes into finding the types of code whose types are known, and into
passes over Python's bytecode. Here a function is read once and printed as LLVM assembly: integers, reals in one
precision, lanes (vectors of reals, one number for each channel), and arrays of these, which are a pointer and sizes.
What a function calls is compiled for the types that it is called with, and inlined. Arrays do not overlap and indices
are not negative: that is what the callers promise.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cartalg_codegen.backends.numba.values import (
    FLAGS,
    OPERATORS,
    ArrayValue,
    Kind,
    Precision,
    Scalar,
    Value,
    called,
    indices,
    is_docstring,
    is_view,
    join,
    rational,
)

#: Metadata of loops that LLVM is to make vector code of; numbers that the entry's do not reach.
SIDE_BY_SIDE = {
    "!100": "!100 = distinct !{!100, !101}",
    "!101": '!101 = !{!"llvm.loop.vectorize.enable", i1 true}',
}


class Functions:
    """Compiles functions of emitted files on demand.

    Args:
        find: From the name of a function, seen from another one, to its definition and the name that tells it from
            others.
        precision: Of reals and lanes.
    """

    def __init__(self, find: Callable[[str, str], tuple[str, ast.FunctionDef]], precision: Precision) -> None:
        self.find, self.precision = find, precision
        self.texts: dict[str, str] = {}

    def compile(self, home: str, name: str, kinds: Sequence[Kind]) -> str:
        """The LLVM name of a function, seen from a file, for argument types."""
        place, definition = self.find(home, name)
        label = f"{place}.{definition.name}.{'.'.join(map(str, kinds))}"
        if label not in self.texts:
            self.texts[label] = ""  # no function calls itself
            self.texts[label] = _Function(self, place, label, definition, kinds).text()
        return label

    def text(self) -> str:
        """All functions so far, callees first."""
        real, lanes = self.precision.type("real"), self.precision.type("lanes")
        suffix = f"f{self.precision.bits}"
        head = [f"declare {real} @llvm.sqrt.{suffix}({real})"]
        if self.precision.width > 1:
            head.append(f"declare {real} @llvm.vector.reduce.fadd.v{self.precision.width}{suffix}({real}, {lanes})")
        return "\n".join([*head, *reversed(self.texts.values()), *SIDE_BY_SIDE.values()])

    def parameters(self, names: Sequence[str], kinds: Sequence[Kind]) -> str:
        """Parameters of an LLVM function: an array is a pointer and its sizes."""
        found = []
        for name, kind in zip(names, kinds, strict=True):
            if kind.axes:
                found += [f"ptr noalias nocapture %{name}", *(f"i64 %{name}.{axis}" for axis in range(kind.axes))]
            else:
                found.append(f"{self.precision.type(kind.scalar)} %{name}")
        return ", ".join(found)


@dataclass
class _Function:
    """One function for one set of types."""

    functions: Functions
    home: str
    label: str
    definition: ast.FunctionDef
    kinds: Sequence[Kind]
    entry: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    types: dict[str, Scalar] = field(default_factory=dict)
    arrays: dict[str, ArrayValue] = field(default_factory=dict)
    constants: dict[str, Value] = field(default_factory=dict)
    numbers: int = 0

    def text(self) -> str:
        """The LLVM function."""
        precision, names = self.functions.precision, [a.arg for a in self.definition.args.args]
        given: dict[str, Kind] = dict(zip(names, self.kinds, strict=True))
        for name, kind in given.items():
            if kind.axes:
                self.arrays[name] = ArrayValue(kind.scalar, f"%{name}", [f"%{name}.{n}" for n in range(kind.axes)])
            else:
                self.types[name] = kind.scalar
        statements = [s for s in self.definition.body if not is_docstring(s)]
        for _ in range(2):  # a variable that is real here and lanes there is lanes
            self._infer(statements)
        for name, scalar in self.types.items():
            self.entry.append(f"  %{name}.at = alloca {precision.type(scalar)}, align 64")
            if name in given:
                passed = precision.type(given[name].scalar)
                if passed != precision.type(scalar):
                    raise TypeError(f"{self.label}: the argument {name} changes its type")
                self.entry.append(f"  store {passed} %{name}, ptr %{name}.at")
        self._block(statements)
        inline = " alwaysinline" if "forceinline" in ast.unparse(self.definition.decorator_list[0]) else ""
        parameters = self.functions.parameters(names, self.kinds)
        head = f'define internal void @"{self.label}"({parameters}) nounwind "no-builtins"{inline} {{'
        return "\n".join([head, "entry:", *self.entry, *self.body, "  ret void", "}"])

    # types

    def _infer(self, statements: Sequence[ast.stmt]) -> None:
        for node in statements:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._assigned(name, value)
                case ast.AugAssign(target=ast.Name(id=name), value=value):
                    self.types[name] = join(self.types[name], self._scalar(value))
                case ast.For(target=ast.Name(id=name), body=body):
                    self.types[name] = "int"
                    self._infer(body)
                case ast.While(body=body):
                    self._infer(body)
                case ast.If(body=body, orelse=orelse):
                    self._infer([*body, *orelse])

    def _assigned(self, name: str, value: ast.expr) -> None:
        if name == "real" or name in self.arrays:
            return
        if called(value) == "np.empty":
            assert isinstance(value, ast.Call)
            shape, kind = value.args
            like = ast.unparse(kind)
            scalar: Scalar = "int" if like == "np.int64" else self.arrays[like.removesuffix(".dtype")].scalar
            sizes = [ast.unparse(s) for s in (shape.elts if isinstance(shape, ast.Tuple) else [shape])]
            element = self.functions.precision.type(scalar)
            count = eval("*".join(sizes), {})
            self.entry.append(f"  %{name}.memory = alloca [{count} x {element}], align 64")
            self.arrays[name] = ArrayValue(scalar, f"%{name}.memory", sizes)
        elif isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Tuple) and is_view(value.slice):
            source = self.arrays[ast.unparse(value.value)]
            self.entry.append(f"  %{name}.at = alloca ptr")
            self.arrays[name] = ArrayValue(source.scalar, f"%{name}.at", [""], view=True)
        elif (number := rational(value)) is not None and name.startswith("c"):
            self.constants[name] = Value("real", self.functions.precision.constant(number))
        else:
            found = self._scalar(value)
            self.types[name] = join(self.types.get(name, found), found)

    def _scalar(self, node: ast.expr) -> Scalar:
        """The type of an expression."""
        match node:
            case ast.Constant():
                return "int"
            case ast.Name(id=name):
                return self.constants[name].scalar if name in self.constants else self.types[name]
            case ast.Subscript(value=value):
                text = ast.unparse(value)
                return "int" if text.endswith(".shape") else self.arrays[text].scalar
            case ast.UnaryOp(operand=operand):
                return self._scalar(operand)
            case ast.BinOp(left=left, op=op, right=right):
                found = join(self._scalar(left), self._scalar(right))
                return "double" if isinstance(op, ast.Div) and found == "int" else found
            case ast.Call():
                return {"int": "int", "min": "int"}.get(called(node), "real")  # type: ignore[return-value]
        raise TypeError(f"{self.label}: {ast.unparse(node)} has no type")

    # code

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for node in statements:
            match node:
                case ast.Assign(targets=[target], value=value):
                    self._set(target, value, add=False)
                case ast.AugAssign(target=target, value=value):
                    self._set(target, value, add=True)
                case ast.For():
                    self._for(node)
                case ast.While(test=test, body=body):
                    self._while(test, body)
                case ast.If():
                    self._if(node)
                case ast.Expr(value=ast.Call() as call):
                    self._invoke(call)
                case _:
                    raise TypeError(f"{self.label}: {ast.unparse(node)} is not compiled")

    def _set(self, target: ast.expr, value: ast.expr, add: bool) -> None:
        precision = self.functions.precision
        if isinstance(target, ast.Name):
            name = target.id
            if name in self.constants:
                number = rational(value)
                if add or number is None or precision.constant(number) != self.constants[name].text:
                    raise TypeError(f"{self.label}: the constant {name} changes")
                return
            if name == "real" or called(value) == "np.empty":
                return
            if name in self.arrays:  # a view
                assert isinstance(value, ast.Subscript)
                assert isinstance(value.slice, ast.Tuple)
                row, part = value.slice.elts
                assert isinstance(part, ast.Slice)
                assert part.lower is not None
                pointer, _ = self._place(value.value, [row, part.lower])
                self.body.append(f"  store ptr {pointer}, ptr %{name}.at")
                return
            place, scalar = f"%{name}.at", self.types[name]
        else:
            assert isinstance(target, ast.Subscript)
            place, scalar = self._place(target.value, indices(target))
        found = self._as(self._value(value), scalar)
        kind = precision.type(scalar)
        if add:
            before = self._do(f"load {kind}, ptr {place}, align {precision.align(scalar)}")
            operation = "add nsw" if scalar == "int" else f"fadd {FLAGS}"
            found = self._do(f"{operation} {kind} {before}, {found}")
        self.body.append(f"  store {kind} {found}, ptr {place}, align {precision.align(scalar)}")

    def _for(self, node: ast.For) -> None:
        assert isinstance(node.target, ast.Name)
        assert isinstance(node.iter, ast.Call)
        bounds = node.iter.args
        start = self._int(bounds[0]) if len(bounds) > 1 else "0"
        stop = self._int(bounds[1] if len(bounds) > 1 else bounds[0])
        step = self._int(bounds[2]) if len(bounds) > 2 else "1"
        place = f"%{node.target.id}.at"
        again, inside, after = self._labels("for")
        self.body += [f"  store i64 {start}, ptr {place}", f"  br label %{again}", f"{again}:"]
        now = self._do(f"load i64, ptr {place}")
        more = self._do(f"icmp slt i64 {now}, {stop}")
        self.body += [f"  br i1 {more}, label %{inside}, label %{after}", f"{inside}:"]
        self._block(node.body)
        following = self._do(f"add nsw i64 {now}, {step}")
        side = f", !llvm.loop {next(iter(SIDE_BY_SIDE))}" if self._alike(node) else ""
        self.body += [f"  store i64 {following}, ptr {place}", f"  br label %{again}{side}", f"{after}:"]

    def _alike(self, node: ast.For) -> bool:
        """Whether a loop does the same to so many numbers: then they are done side by side, as one vector."""
        fixed = isinstance(node.iter, ast.Call) and isinstance(node.iter.args[-1], ast.Constant)
        return fixed and all(kind.scalar == "real" for kind in self.kinds)

    def _while(self, test: ast.expr, body: Sequence[ast.stmt]) -> None:
        again, inside, after = self._labels("while")
        self.body += [f"  br label %{again}", f"{again}:"]
        more = self._truth(test)
        self.body += [f"  br i1 {more}, label %{inside}, label %{after}", f"{inside}:"]
        self._block(body)
        self.body += [f"  br label %{again}", f"{after}:"]

    def _if(self, node: ast.If) -> None:
        yes, no, after = self._labels("if")
        self.body += [f"  br i1 {self._truth(node.test)}, label %{yes}, label %{no}", f"{yes}:"]
        self._block(node.body)
        self.body += [f"  br label %{after}", f"{no}:"]
        self._block(node.orelse)
        self.body += [f"  br label %{after}", f"{after}:"]

    def _invoke(self, call: ast.Call) -> None:
        assert isinstance(call.func, ast.Name)
        kinds, given = [], []
        for node in call.args:
            if isinstance(node, ast.Name) and node.id in self.arrays:
                array = self.arrays[node.id]
                kinds.append(Kind(array.scalar, len(array.sizes)))
                given += [f"ptr {array.pointer}", *(f"i64 {size}" for size in array.sizes)]
            else:
                value = self._value(node)
                kinds.append(Kind(value.scalar))
                given.append(f"{self.functions.precision.type(value.scalar)} {value.text}")
        label = self.functions.compile(self.home, call.func.id, kinds)
        self.body.append(f'  call void @"{label}"({", ".join(given)})')

    def _truth(self, node: ast.expr) -> str:
        match node:
            case ast.BoolOp(op=ast.And(), values=[left, right]):
                return self._do(f"and i1 {self._truth(left)}, {self._truth(right)}")
            case ast.Compare(left=left, ops=[ast.Lt()], comparators=[right]):
                first, second = self._value(left), self._value(right)
                scalar = join(first.scalar, second.scalar)
                operation = "icmp slt" if scalar == "int" else "fcmp olt"
                kind = self.functions.precision.type(scalar)
                return self._do(f"{operation} {kind} {self._as(first, scalar)}, {self._as(second, scalar)}")
        return self._do(f"icmp ne i64 {self._int(node)}, 0")

    def _value(self, node: ast.expr) -> Value:
        """Code that computes an expression."""
        precision = self.functions.precision
        match node:
            case ast.Constant(value=int(number)):
                return Value("int", str(number))
            case ast.Name(id=name) if name in self.constants:
                return self.constants[name]
            case ast.Name(id=name):
                scalar = self.types[name]
                kind = precision.type(scalar)
                return Value(scalar, self._do(f"load {kind}, ptr %{name}.at, align {precision.align(scalar)}"))
            case ast.Subscript(
                value=ast.Attribute(attr="shape", value=ast.Name(id=name)), slice=ast.Constant(value=axis)
            ):
                return Value("int", self.arrays[name].sizes[int(axis)])  # type: ignore[arg-type]
            case ast.Subscript():
                place, scalar = self._place(node.value, indices(node))
                kind = precision.type(scalar)
                return Value(scalar, self._do(f"load {kind}, ptr {place}, align {precision.align(scalar)}"))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self._value(operand)
                kind = precision.type(value.scalar)
                if value.scalar == "int":
                    return Value("int", self._do(f"sub nsw i64 0, {value.text}"))
                return Value(value.scalar, self._do(f"fneg {FLAGS} {kind} {value.text}"))
            case ast.BinOp():
                return self._binary(node)
            case ast.Call():
                return self._function(node)
        raise TypeError(f"{self.label}: {ast.unparse(node)} is not compiled")

    def _binary(self, node: ast.BinOp) -> Value:
        left, right = self._value(node.left), self._value(node.right)
        scalar = join(left.scalar, right.scalar)
        if isinstance(node.op, ast.Div) and scalar == "int":
            scalar = "double"
        whole, floating = OPERATORS[type(node.op)]
        kind = self.functions.precision.type(scalar)
        operation = whole if scalar == "int" else f"{floating} {FLAGS}"
        return Value(scalar, self._do(f"{operation} {kind} {self._as(left, scalar)}, {self._as(right, scalar)}"))

    def _function(self, node: ast.Call) -> Value:
        precision, name = self.functions.precision, called(node)
        if name == "real":
            if (number := rational(node)) is not None:
                return Value("real", precision.constant(number))
            return self._real(self._value(node.args[0]))
        if name == "int":
            value = self._value(node.args[0])
            return Value("int", self._do(f"fptosi {precision.type(value.scalar)} {value.text} to i64"))
        if name == "np.sqrt":
            value = self._value(node.args[0])
            return Value(
                "real", self._do(f"call {precision.real} @llvm.sqrt.f{precision.bits}({precision.real} {value.text})")
            )
        if name == "min":
            first, second = (self._int(a) for a in node.args)
            less = self._do(f"icmp slt i64 {first}, {second}")
            return Value("int", self._do(f"select i1 {less}, i64 {first}, i64 {second}"))
        raise TypeError(f"{self.label}: {name} is not compiled")

    def _real(self, value: Value) -> Value:
        """A number in the arrays' precision; lanes are summed."""
        precision = self.functions.precision
        if value.scalar == "lanes" and precision.width > 1:
            name = f"@llvm.vector.reduce.fadd.v{precision.width}f{precision.bits}"
            zero, lanes = precision.constant(-0.0), precision.type("lanes")
            return Value(
                "real",
                self._do(f"call reassoc nsz {precision.real} {name}({precision.real} {zero}, {lanes} {value.text})"),
            )
        if value.scalar == "double" and precision.bits == 32:
            return Value("real", self._do(f"fptrunc double {value.text} to float"))
        if value.scalar == "int":
            return Value("real", self._as(value, "real"))
        return Value("real", value.text)

    def _as(self, value: Value, scalar: Scalar) -> str:
        """A number as another type of number."""
        precision = self.functions.precision
        if value.scalar == scalar or precision.type(value.scalar) == precision.type(scalar):
            return value.text
        if value.scalar == "int":
            real = "double" if scalar == "double" else precision.real
            floated = self._do(f"sitofp i64 {value.text} to {real}")
            return self._as(Value("double" if scalar == "double" else "real", floated), scalar)
        if value.scalar == "real" and scalar == "lanes":
            kind, width = precision.type("lanes"), precision.width
            one = self._do(f"insertelement {kind} poison, {precision.real} {value.text}, i32 0")
            return self._do(f"shufflevector {kind} {one}, {kind} poison, <{width} x i32> zeroinitializer")
        raise TypeError(f"{self.label}: a number of type {value.scalar} stands where {scalar} is wanted")

    def _place(self, array: ast.expr, indices: Sequence[ast.expr]) -> tuple[str, Scalar]:
        """Where an element is."""
        about = self.arrays[ast.unparse(array)]
        at = self._int(indices[0])
        for size, index in zip(about.sizes[1:], indices[1:], strict=True):
            scaled = self._do(f"mul nsw i64 {at}, {size}")
            at = self._do(f"add nsw i64 {scaled}, {self._int(index)}")
        start = self._do(f"load ptr, ptr {about.pointer}") if about.view else about.pointer
        kind = self.functions.precision.type(about.scalar)
        return self._do(f"getelementptr inbounds {kind}, ptr {start}, i64 {at}"), about.scalar

    def _int(self, node: ast.expr) -> str:
        value = self._value(node)
        if value.scalar != "int":
            raise TypeError(f"{self.label}: {ast.unparse(node)} is no integer")
        return value.text

    def _do(self, instruction: str) -> str:
        self.numbers += 1
        self.body.append(f"  %t{self.numbers} = {instruction}")
        return f"%t{self.numbers}"

    def _labels(self, what: str) -> tuple[str, str, str]:
        self.numbers += 1
        return f"{what}{self.numbers}.a", f"{what}{self.numbers}.b", f"{what}{self.numbers}.c"
