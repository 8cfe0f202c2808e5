"""Faults made by rule: places of emitted files are drawn at random, and one thing there is changed.

An operator takes a syntax tree and a place in it, and changes the tree. The file is printed again from the tree, below
its own header, so that one statement differs and nothing else.
"""

import ast
import random
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

from faults import KERNELS, ROOT, Fault

#: What a fault is applied to: a tree, and the function that is changed.
Change = Callable[[], None]


def draw(count: int, seed: int) -> list[Fault]:
    """Faults in emitted files, as many in each kind of kernel and backend, no two the same.

    Raises:
        ValueError: If the files have not so many places.
    """
    rng = random.Random(seed)
    folders = sorted({path.parent for path in (ROOT / KERNELS).rglob("*_kernels/*/*.py")})
    found: dict[tuple[str, str], Fault] = {}
    for n in range(40 * count):
        if len(found) == count:
            return list(found.values())
        path = rng.choice(sorted(folders[n % len(folders)].glob("*.py")))
        fault = planted(path, rng)
        if fault:
            found.setdefault((fault.file, fault.what), fault)
    raise ValueError(f"only {len(found)} faults of {count} were found")


def planted(path: Path, rng: random.Random) -> Fault | None:
    """One fault in a file; None if the operator that is drawn has no place there."""
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not functions:
        return None
    function = rng.choice(functions)
    name, operator = rng.choice(OPERATORS)
    changes = list(operator(function, rng))
    if not changes:
        return None
    before = deepcopy(function)
    rng.choice(changes)()
    ast.fix_missing_locations(tree)
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    new = f"{header}\n{ast.unparse(tree)}\n"
    old_lines, new_lines = (ast.unparse(f).splitlines() for f in (before, function))
    if new_lines == old_lines:
        return None
    said = difference(old_lines, new_lines)
    backend = path.parts[-3].removesuffix("_kernels")
    what = f"{name} in {function.name}: {said}"
    file = str(path.relative_to(ROOT))
    return Fault("emitted", what, file, old=text, new=new, place=f"{backend} {path.stem}")


def difference(before: list[str], after: list[str]) -> str:
    """The first line that differs, before and after."""
    pairs = enumerate(zip(before, after, strict=False))
    where = next((n for n, pair in pairs if pair[0] != pair[1]), min(len(before), len(after)))
    old, new = (lines[where].strip() if where < len(lines) else "" for lines in (before, after))
    if len(before) < len(after):
        return f"`{shortened(new, 0)}` is there twice"
    if len(before) > len(after):
        return f"`{shortened(old, 0)}` is gone"
    at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    return f"`{shortened(old, at)}` becomes `{shortened(new, at)}`"


def shortened(text: str, at: int) -> str:
    """A long statement about a place."""
    if len(text) <= 60:
        return text
    start = max(0, min(at - 30, len(text) - 60))
    return ("…" if start else "") + text[start : start + 60] + ("…" if start + 60 < len(text) else "")


def nodes(function: ast.FunctionDef, *kinds: type) -> Iterator[ast.AST]:
    """Nodes of a function's statements, its docstring and decorators aside."""
    for statement in function.body:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield from (node for node in ast.walk(statement) if isinstance(node, kinds))


def fields(function: ast.FunctionDef, *kinds: type) -> Iterator[tuple[ast.AST, ast.AST, Callable[[ast.AST], None]]]:
    """(parent, node, put) for nodes of these kinds, where put replaces the node."""
    for parent in nodes(function, ast.AST):
        for name, value in ast.iter_fields(parent):
            if isinstance(value, kinds):
                yield parent, value, lambda new, p=parent, n=name: setattr(p, n, new)
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, kinds):
                        yield parent, item, lambda new, v=value, i=i: v.__setitem__(i, new)


def blocks(function: ast.FunctionDef) -> Iterator[list[ast.stmt]]:
    """Lists of statements that have more than one."""
    for node in (function, *nodes(function, ast.For, ast.While, ast.If)):
        for name in ("body", "orelse"):
            if len(block := getattr(node, name, [])) > 1:
                yield block


def signs(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """a + b becomes a - b, and the other way round."""
    for node in nodes(function, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub):
            other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield lambda n=node, o=other: setattr(n, "op", o)
    for _, node, put in fields(function, ast.UnaryOp):
        yield lambda n=node, p=put: p(n.operand)


def indices(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """An index is one more or one less."""
    for node in nodes(function, ast.Subscript):
        for part in ast.walk(node.slice):
            if isinstance(part, ast.Constant) and type(part.value) is int:
                step = 1 if part.value == 0 else rng.choice((1, -1))
                yield lambda p=part, s=step: setattr(p, "value", p.value + s)


def constants(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """A whole number outside an index is one more or one less."""
    inside = {id(part) for node in nodes(function, ast.Subscript) for part in ast.walk(node.slice)}
    for node in nodes(function, ast.Constant):
        if type(node.value) is int and id(node) not in inside:
            step = rng.choice((1, -1))
            yield lambda n=node, s=step: setattr(n, "value", n.value + s)


def terms(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """One side of a sum, difference or product is gone."""
    for _, node, put in fields(function, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            kept = rng.choice((node.left, node.right))
            yield lambda p=put, k=kept: p(k)


def statements(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """A statement is gone, but for the only one that sets a name: without it nothing would run."""
    stores = Counter(node.id for node in nodes(function, ast.Name) if isinstance(node.ctx, ast.Store))
    for block in blocks(function):
        for n, statement in enumerate(block):
            fine = not isinstance(statement, ast.Expr) or isinstance(statement.value, ast.Call)
            if fine and all(stores.get(name, 2) > 1 for name in set_by(statement)):
                yield lambda b=block, i=n: b.pop(i)


def repeats(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """A statement is there twice."""
    for block in blocks(function):
        for n, statement in enumerate(block):
            if isinstance(statement, ast.AugAssign) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            ):
                yield lambda b=block, i=n: b.insert(i, b[i])


def orders(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """Two statements, one of which reads what the other sets, change places, if they can run so."""
    stores = Counter(node.id for node in nodes(function, ast.Name) if isinstance(node.ctx, ast.Store))
    for block in blocks(function):
        for n in range(len(block) - 1):
            both = set_by(block[n]) & (read_by(block[n + 1]) | set_by(block[n + 1]))
            if both and all(stores.get(name, 2) > 1 for name in both):
                yield lambda b=block, i=n: b.insert(i, b.pop(i + 1))


def set_by(statement: ast.stmt) -> set[str]:
    """Text of what a statement sets."""
    return {
        ast.unparse(node)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name | ast.Subscript) and isinstance(node.ctx, ast.Store)
    }


def read_by(statement: ast.stmt) -> set[str]:
    """Text of what a statement reads."""
    return {
        ast.unparse(node)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name | ast.Subscript) and isinstance(node.ctx, ast.Load)
    }


def additions(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """`+=` becomes `=`, or the other way round."""
    for _, node, put in fields(function, ast.AugAssign):
        yield lambda n=node, p=put: p(ast.Assign([n.target], n.value, lineno=0))
    for _, node, put in fields(function, ast.Assign):
        if isinstance(node.targets[0], ast.Subscript | ast.Name):
            yield lambda n=node, p=put: p(ast.AugAssign(n.targets[0], ast.Add(), n.value))


def names(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """A name is read in the place of another that is used in the same way: as a function, an array or a number."""
    uses: dict[str, set[str]] = {}
    places = []
    for parent, node, _ in fields(function, ast.Name):
        called = isinstance(parent, ast.Call) and parent.func is node
        use = (
            "function" if called else type(parent).__name__ if isinstance(parent, ast.Subscript | ast.Attribute) else ""
        )
        uses.setdefault(use, set()).add(node.id)
        if isinstance(node.ctx, ast.Load):
            places.append((node, use))
    for node, use in places:
        if others := sorted(uses[use] - {node.id}):
            yield lambda n=node, o=others: setattr(n, "id", rng.choice(o))


def arguments(function: ast.FunctionDef, rng: random.Random) -> Iterator[Change]:
    """Two neighbouring arguments of a call change places."""
    for node in nodes(function, ast.Call):
        for n in range(len(node.args) - 1):
            if ast.unparse(node.args[n]) != ast.unparse(node.args[n + 1]):

                def swap(a: list[ast.expr] = node.args, i: int = n) -> None:
                    a[i], a[i + 1] = a[i + 1], a[i]

                yield swap


OPERATORS: tuple[tuple[str, Callable[[ast.FunctionDef, random.Random], Iterator[Change]]], ...] = (
    ("sign", signs),
    ("index", indices),
    ("number", constants),
    ("missing term", terms),
    ("missing statement", statements),
    ("statement twice", repeats),
    ("order", orders),
    ("= and +=", additions),
    ("name", names),
    ("arguments", arguments),
)
