"""What an emitted file may say: the few forms of Python that the proofs have an exact meaning for.

A file is imports, then functions. Everything else is refused, with the line: other imports and decorators, code
beside functions, a name defined twice, float literals, comparisons but `<`, branches that a proof could not see. What
passes is rewritten for a run on exact numbers: quotients are exact, and every block, comparison and branch notes that
it was reached, so that a proof can ask for all of them.
"""

import ast
from collections.abc import Iterator
from functools import cache
from types import CodeType

from cartalg_codegen.proofs.identities import Disproved

NUMBA, TORCH = "numba", "torch"
#: Imports of packages, word for word.
IMPORTS = {NUMBA: ("import numpy as np", "from numba import njit"), TORCH: ("import torch",)}
#: Decorators of Numba functions, word for word: contracted, reassociated and without the sign of zero, nothing else.
_OPTIONS = "nogil=True, error_model='numpy', fastmath={'contract', 'nsz', 'reassoc'}"
DECORATORS = (f"njit({_OPTIONS})", f"njit({_OPTIONS}, forceinline=True)")
_BUILTINS = {NUMBA: {"range", "int", "min"}, TORCH: {"range", "sum", "max"}}
_NUMPY = {"empty", "sqrt", "int64"}
_TORCH = {"stack", "zeros_like", "ones_like", "full_like", "where", "sqrt", "int64"}
_METHODS = {"index_add", "index_select", "unbind", "detach", "floor", "clamp", "to", "sum"}
_FORMS: dict[str, tuple[type[ast.AST], ...]] = {
    NUMBA: (ast.For, ast.While, ast.If, ast.AugAssign, ast.Compare, ast.Lt, ast.BoolOp, ast.And, ast.FloorDiv, ast.Mod),
    TORCH: (ast.Return, ast.GeneratorExp, ast.comprehension, ast.keyword, ast.Compare, ast.Lt, ast.Gt, ast.List),
}
_COMMON = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.Expr, ast.Name, ast.Load, ast.Store,
    ast.Constant,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UnaryOp, ast.USub, ast.Subscript, ast.Slice, ast.Tuple,
    ast.Attribute, ast.Call,
)  # fmt: skip


class Checked(ast.NodeVisitor):
    """A file that says nothing but what it may. Raises Disproved with the line otherwise."""

    def __init__(self, text: str, name: str, backend: str, mixing: bool = False) -> None:
        """`mixing`: the file tiles rows and channels, and so may divide indices and take minima."""
        self.name, self.backend, self.mixing = name, backend, mixing
        try:
            self.tree = ast.parse(text)
        except SyntaxError as error:
            raise Disproved(f"{name} is no Python: {error}") from None
        self.allowed = {*_COMMON, *_FORMS[backend]}
        #: (module as written, number of dots, names) of every import of another emitted file.
        self.siblings: list[tuple[str, int, list[ast.alias]]] = []
        self.packages: list[str] = []
        self.functions: list[str] = []
        #: Names of the arguments of every function.
        self.arguments: dict[str, tuple[str, ...]] = {}
        self._module()

    def refuse(self, node: ast.AST, what: str) -> Disproved:
        """The error for a node."""
        return Disproved(f"{self.name}, line {getattr(node, 'lineno', '?')}: {what}")

    def _module(self) -> None:
        known: set[str] = set(_BUILTINS[self.backend])
        body = self.tree.body
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]  # a docstring
        started = False
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                if started:
                    raise self.refuse(node, "an import after the first function")
                names = [a.asname or a.name for a in node.names]
                if isinstance(node, ast.ImportFrom) and node.level:
                    self.siblings.append((node.module or "", node.level, node.names))
                elif ast.unparse(node) in IMPORTS[self.backend]:
                    self.packages += names
                else:
                    raise self.refuse(node, f"`{ast.unparse(node)}` is no import that an emitted file may have")
            elif isinstance(node, ast.FunctionDef):
                started = True
                names = [node.name]
                self.functions.append(node.name)
            else:
                raise self.refuse(node, f"`{ast.unparse(node)[:60]}` stands beside the functions")
            for name in names:
                if name in known or name.startswith("_"):
                    raise self.refuse(node, f"the name {name} is defined twice, or not a name that may be defined")
                known.add(name)
        self.known = known
        for node in body:
            if isinstance(node, ast.FunctionDef):
                self._function(node)

    def _function(self, node: ast.FunctionDef) -> None:
        decorators = [ast.unparse(d) for d in node.decorator_list]
        if self.backend == NUMBA and (len(decorators) != 1 or _sorted_sets(node.decorator_list[0]) not in DECORATORS):
            raise self.refuse(node, f"{node.name} is decorated with {decorators or 'nothing'}, not {DECORATORS[0]}")
        if self.backend == TORCH and decorators:
            raise self.refuse(node, f"{node.name} is decorated with {decorators}")
        a = node.args
        if a.vararg or a.kwarg or a.defaults or a.kw_defaults or a.kwonlyargs or a.posonlyargs or node.returns:
            raise self.refuse(node, f"{node.name} has arguments other than plain ones")
        if getattr(node, "type_params", None) or any(p.annotation for p in a.args):
            raise self.refuse(node, f"{node.name} has types")
        self.arguments[node.name] = tuple(argument.arg for argument in a.args)
        # where the derivative is zero anyway a value may be detached from it
        floors = (n.value for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr == "floor")
        stepped = {id(part) for floor in floors for part in ast.walk(floor)}
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and part.attr == "detach" and id(part) not in stepped:
                raise self.refuse(part, f"`{_said(part)}` stops gradients")
        for name in _bound(node):
            if name in self.known or (name.startswith("_") and name != "_"):
                raise self.refuse(node, f"{node.name} sets {name}, which is not a local name")
        body = node.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        if not body:
            raise self.refuse(node, f"{node.name} does nothing")
        for statement in body:
            self.visit(statement)

    def generic_visit(self, node: ast.AST) -> None:
        """Refuse what has no meaning here."""
        if type(node) not in self.allowed or (isinstance(node, ast.FunctionDef)):
            raise self.refuse(node, f"`{_said(node)}` is nothing that an emitted file may say")
        super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Whole numbers; for Torch also None and `...`."""
        special = self.backend == TORCH and (node.value is None or node.value is ... or node.value is True)
        if type(node.value) is not int and not special:
            raise self.refuse(node, f"{node.value!r} is no whole number: constants are quotients of whole numbers")

    def visit_Assign(self, node: ast.Assign) -> None:
        """One target: a name or a place in an array."""
        if len(node.targets) != 1:
            raise self.refuse(node, "several targets")
        target = node.targets[0]
        if (
            isinstance(target, ast.Tuple)
            and self.backend == TORCH
            and all(isinstance(e, ast.Name) for e in target.elts)
        ):
            return self.visit(node.value)
        if not isinstance(target, ast.Name | ast.Subscript):
            raise self.refuse(node, "sets something other than a name or a place in an array")
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """`+=` alone."""
        if not isinstance(node.op, ast.Add) or not isinstance(node.target, ast.Name | ast.Subscript):
            raise self.refuse(node, f"`{_said(node)}` is no +=")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call of an emitted function."""
        if not isinstance(node.value, ast.Call) or not isinstance(node.value.func, ast.Name):
            raise self.refuse(node, f"`{_said(node)}` does nothing")
        if node.value.func.id in _BUILTINS[self.backend]:
            raise self.refuse(node, f"`{_said(node)}` does nothing")
        self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        """Over a range, with a name."""
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise self.refuse(node, "a loop over something other than a range")
        if not isinstance(node.target, ast.Name) or node.orelse:
            raise self.refuse(node, "a loop of an unknown form")
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        """Without else."""
        if node.orelse:
            raise self.refuse(node, "a loop of an unknown form")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        """On a comparison; on a number where rows are tiled."""
        if not (isinstance(node.test, ast.Compare) or (self.mixing and isinstance(node.test, ast.Name))):
            raise self.refuse(node, "a branch on something other than a comparison")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Of two names or numbers."""
        if len(node.ops) != 1:
            raise self.refuse(node, "a chain of comparisons")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Remainders only where rows are tiled; elsewhere a quotient of whole numbers must leave none."""
        if isinstance(node.op, ast.Mod) and not self.mixing:
            raise self.refuse(node, f"`{_said(node)}` divides whole numbers")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """The few that are known."""
        on = node.value.id if isinstance(node.value, ast.Name) else ""
        if on in self.packages:
            fine = node.attr in (_NUMPY if on == "np" else _TORCH)
        elif self.backend == NUMBA:
            fine = (node.attr in ("shape", "dtype") and bool(on)) or (
                node.attr == "type" and isinstance(node.value, ast.Attribute) and node.value.attr == "dtype"
            )
        else:
            fine = node.attr in _METHODS or (node.attr in ("shape", "dtype") and bool(on))
        if not fine:
            raise self.refuse(node, f"`{_said(node)}` is not known")
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        """Of a known name, without `*` and, for Numba, without keywords."""
        if isinstance(node.func, ast.Name):
            if node.func.id == "min" and not self.mixing:
                raise self.refuse(node, "a minimum")
        elif not isinstance(node.func, ast.Attribute):
            raise self.refuse(node, f"`{_said(node)}` calls something other than a name")
        if any(k.arg is None for k in node.keywords):
            raise self.refuse(node, "keywords of an unknown form")
        self.generic_visit(node)


def _said(node: ast.AST) -> str:
    try:
        return ast.unparse(node).splitlines()[0][:60]
    except (ValueError, AttributeError, IndexError):
        return type(node).__name__


def _sorted_sets(node: ast.AST) -> str:
    """The source of a decorator, sets in order."""
    for part in ast.walk(node):
        if isinstance(part, ast.Set):
            part.elts.sort(key=ast.unparse)
    return ast.unparse(node)


def _bound(node: ast.FunctionDef) -> Iterator[str]:
    """Names that a function sets."""
    yield from (a.arg for a in node.args.args)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


class Rewritten(ast.NodeTransformer):
    """The tree for an exact run: quotients, comparisons and blocks call functions whose names start with _.

    `blocks` and `outcomes` list what a proof must reach, by number: every block, and every comparison both ways.
    """

    def __init__(self) -> None:
        self.blocks: dict[int, str] = {}
        self.outcomes: dict[int, str] = {}

    def _block(self, body: list[ast.stmt], line: int) -> list[ast.stmt]:
        site = len(self.blocks)
        self.blocks[site] = f"line {line}"
        note = ast.Expr(_call("_reached", ast.Constant(site)))
        docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
        return [*body[:1], note, *body[1:]] if docstring else [note, *body]

    def _outcome(self, node: ast.AST) -> ast.Constant:
        site = len(self.outcomes)
        self.outcomes[site] = f"line {getattr(node, 'lineno', '?')}: `{_said(node)}`"
        return ast.Constant(site)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Without its decorator, which is checked."""
        line = node.body[0].lineno
        self.generic_visit(node)
        node.decorator_list = []
        node.body = self._block(node.body, line)
        return node

    def _loop(self, node: ast.For | ast.While | ast.If) -> ast.AST:
        line = node.body[0].lineno
        self.generic_visit(node)
        node.body = self._block(node.body, line)
        if isinstance(node, ast.If) and node.orelse:
            node.orelse = self._block(node.orelse, line)
        return node

    visit_For = visit_While = visit_If = _loop

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """`a < b` is _less(site, a, b)."""
        site = self._outcome(node)
        self.generic_visit(node)
        ordered = [node.left, node.comparators[0]]
        if isinstance(node.ops[0], ast.Gt):
            ordered.reverse()
        return _call("_less", site, *ordered)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """`a / b` is _quotient(a, b), and `a // b` _whole(a, b)."""
        self.generic_visit(node)
        name = {ast.Div: "_quotient", ast.FloorDiv: "_whole"}.get(type(node.op))
        return _call(name, node.left, node.right) if name else node


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


@cache
def compiled(text: str, name: str, backend: str, mixing: bool = False) -> tuple[Checked, Rewritten, CodeType]:
    """A file, checked, with what a run of it may reach, and the code that defines its functions.

    Raises:
        Disproved: If the file says what it may not.
    """
    checked, rewriting = Checked(text, name, backend, mixing), Rewritten()
    functions = [rewriting.visit(n) for n in checked.tree.body if isinstance(n, ast.FunctionDef)]
    module = ast.fix_missing_locations(ast.Module(functions, []))
    return checked, rewriting, compile(module, name, "exec")
