"""Emitted files as functions on exact numbers: checked, imports resolved by the checker, rewritten, run.

Nothing that a file executes is left out: `import numpy` and `njit` are what `arrays` and `dialect` say, an import of
another emitted file loads that file in the same way, and there are no other imports.
"""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from flint import fmpq

from cartalg_codegen.proofs.arrays import Lanes, NumPy
from cartalg_codegen.proofs.dialect import NUMBA, Checked, compiled
from cartalg_codegen.proofs.identities import Disproved, Space, Sparse, exact, number, require
from cartalg_codegen.proofs.tensors import Torch

#: Blocks that a file runs in a proof, at most; the largest shipped kernel needs a hundredth.
STEPS = 500_000
#: Files that tile rows and channels.
MIXING = ("linear",)


class NotFinite:
    """1/0, and 0 times it: numbers that are less than nothing and can be kept nowhere."""

    def _itself(self, *others: Any) -> "NotFinite":
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = _itself


class Rational:
    """Arithmetic on rational numbers beyond sums and products."""

    def sqrt(self, x: Any) -> Any:
        """The root of a square of a rational. Raises Disproved if `x` is no such square."""
        value = exact(x)
        top, bottom = math.isqrt(int(value.p)) if value.p >= 0 else -1, math.isqrt(int(value.q))
        root = fmpq(top, bottom)
        require(root * root == value, f"the square root of {x}, which is no square of a rational")
        return root

    def quotient(self, a: Any, b: Any) -> Any:
        """a / b; not finite for b = 0."""
        if type(b) is NotFinite or type(a) is NotFinite:
            return NotFinite()
        if type(b) in (Sparse, Lanes):
            raise Disproved("a quotient by something other than a number")
        divisor = exact(b)
        if not divisor:
            return NotFinite()
        return a * (1 / divisor)

    def value(self, a: Any) -> Any:
        """The number that decides about a comparison or a whole part."""
        return exact(a)

    def less(self, a: Any, b: Any) -> bool:
        """a < b; false where one is not finite."""
        if type(a) is NotFinite or type(b) is NotFinite:
            return False
        return bool(self.value(a) < self.value(b))

    def whole(self, a: Any) -> int:
        """As int of a number: towards zero."""
        found = self.value(a)
        return int(Fraction(int(found.p), int(found.q)))


class WithRoots(Rational):
    """Roots of other numbers, and their inverses, are variables of their own: what is proved holds for any number."""

    def __init__(self) -> None:
        self._space = Space()
        self._near: dict[int, fmpq] = {}
        self._space.count = 1 << 40  # none of anyone else's
        self._inverse: dict[Sparse, Sparse] = {}

    def _variable(self, near: Fraction) -> Sparse:
        found = self._space.variable()
        self._near[number(found)] = exact(near)
        return found

    def sqrt(self, x: Any) -> Any:
        """The root, or a variable near it."""
        value = exact(x)
        try:
            return super().sqrt(value)
        except Disproved:
            require(value > 0, f"the square root of {x}")
            return self._variable(Fraction(math.isqrt(int(value.p) * 10**20 // int(value.q)), 10**10))

    def quotient(self, a: Any, b: Any) -> Any:
        """By a number, or by what has such a variable in it."""
        if type(b) is not Sparse:
            return super().quotient(a, b)
        if b not in self._inverse:
            near = self.value(b)
            self._inverse[b] = self._variable(Fraction(int(near.q), int(near.p)))
        return a * self._inverse[b]

    def value(self, a: Any) -> Any:
        """With numbers near the roots."""
        return super().value(a.at(self._near) if type(a) is Sparse else a)


class Sources:
    """The emitted files of one backend, checked and loaded once each.

    Args:
        backend: "numba" or "torch".
        read: Path below the backend's folder, without .py -> text.
        arithmetic: What numbers can do.
        width: Channels that are taken at a time; 0 for one.
    """

    def __init__(
        self, backend: str, read: Callable[[str], str], arithmetic: Rational | None = None, width: int = 0
    ) -> None:
        self.backend, self._read, self.width = backend, read, width
        self.arithmetic = arithmetic or Rational()
        self._loaded: dict[str, Loaded] = {}

    def load(self, path: str) -> "Loaded":
        """The functions of a file. Raises Disproved if it says what it may not."""
        if path not in self._loaded:
            self._loaded[path] = Loaded(self, path, self._read(path))
        return self._loaded[path]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that was loaded."""
        return tuple(self._loaded)


class Loaded:
    """One file, ready to run; it notes what a run reaches."""

    def __init__(self, sources: Sources, path: str, text: str) -> None:
        mixing = PurePosixPath(path).name in MIXING
        checked, self.sites, code = compiled(text, f"{path}.py", sources.backend, mixing)
        self.path, self.arguments = path, checked.arguments
        self.own, self.numba = tuple(checked.functions), sources.backend == NUMBA
        arithmetic = sources.arithmetic
        self.blocks: set[int] = set()
        self._steps = 0
        self.outcomes: set[tuple[int, bool]] = set()
        self.siblings: list[Loaded] = []

        def less(site: int, a: Any, b: Any) -> bool:
            outcome = arithmetic.less(a, b)
            self.outcomes.add((site, outcome))
            return outcome

        self._namespace: dict[str, Any] = {
            "__builtins__": {},
            "_reached": self._reached,
            "_less": less,
            "_quotient": arithmetic.quotient,
            "_whole": partial(_whole, mixing),
            "range": _range,
        }
        if sources.backend == NUMBA:
            packages: dict[str, Any] = {"np": NumPy(arithmetic.sqrt, sources.width)}
            self._namespace |= {"int": arithmetic.whole, "min": _min}
        else:
            torch = Torch(arithmetic)
            packages = {"torch": torch}
            self._namespace |= {"sum": _sum, "max": _max, "_less": torch.less, "_quotient": torch.quotient}
        self._namespace |= {name: packages[name] for name in checked.packages if name in packages}
        for module, level, names in checked.siblings:
            self._import(sources, checked, module, level, names)
        exec(code, self._namespace)
        #: What another file can import from this one: its own functions, and those it imports itself.
        self.functions = (*(a.asname or a.name for *_, names in checked.siblings for a in names), *self.own)

    def _reached(self, block: int) -> None:
        """Note a block, and stop a loop that has no end."""
        self.blocks.add(block)
        self._steps += 1
        if self._steps > STEPS:
            raise Disproved(f"{self.path}.py, {self.sites.blocks[block]}: a loop without end")

    def _import(self, sources: Sources, checked: Checked, module: str, level: int, names: Any) -> None:
        folder = PurePosixPath(self.path)
        for _ in range(level):
            folder = folder.parent
        require(level <= len(PurePosixPath(self.path).parts), f"{self.path}.py imports from outside its folder")
        for alias in names:
            if module:
                other = sources.load(str(folder.joinpath(*module.split("."))))
                require(alias.name in other.functions, f"{self.path}.py imports {alias.name}, not in {other.path}.py")
                value: Any = other[alias.name]
            else:
                raise Disproved(f"{self.path}.py imports the file {alias.name}; only functions may be imported")
            self.siblings.append(other)
            self._namespace[alias.asname or alias.name] = value

    def __getitem__(self, function: str) -> Callable[..., Any]:
        """A function of the file. Raises Disproved if there is none of that name."""
        require(function in self.functions, f"{self.path}.py has no function {function}")
        return self._namespace[function]  # type: ignore[no-any-return]

    def require_functions(self, expected: Iterable[str]) -> None:
        """Raise Disproved unless these are the functions of the file, and no others."""
        require(
            not (more := sorted(set(self.own) - set(expected))),
            f"{self.path}.py has functions beyond those of its kind: {more}",
        )
        require(not (less := sorted(set(expected) - set(self.functions))), f"{self.path}.py has no function {less}")


def require_reached(runs: list[Sources], path: str) -> None:
    """Raise Disproved unless the runs together reached every block of a kernel's files, and comparisons both ways."""
    for name in runs[0].files:
        if name == path or name.startswith(f"{path}__"):
            _require_reached([run.load(name) for run in runs])


def _require_reached(runs: list[Loaded]) -> None:
    sites, path = runs[0].sites, runs[0].path
    for site, line in sites.blocks.items():
        require(any(site in run.blocks for run in runs), f"{path}.py, {line}: never run by the proof")
    for site, said in sites.outcomes.items():
        for outcome in (True, False) if runs[0].numba else ():
            reached = any((site, outcome) in run.outcomes for run in runs)
            require(reached, f"{path}.py, {said} is never {outcome} in the proof")


def _range(*bounds: Any) -> range:
    require(all(type(b) is int for b in bounds), "a range of something other than whole numbers")
    return range(*bounds)


def _whole(cut: bool, a: Any, b: Any) -> int:
    """a // b, without a remainder unless rows are tiled."""
    require(type(a) is int and type(b) is int and b > 0, "a quotient of something other than whole numbers")
    require(cut or a % b == 0, f"{a} // {b} leaves a remainder")
    return a // b  # type: ignore[no-any-return]


def _min(a: Any, b: Any) -> int:
    require(type(a) is int and type(b) is int, "a minimum of something other than whole numbers")
    return a if a < b else b  # type: ignore[no-any-return]


def _max(a: Any, b: Any) -> int:
    require(type(a) is int and type(b) is int, "a maximum of something other than whole numbers")
    return b if a < b else a  # type: ignore[no-any-return]


def _sum(parts: Any) -> Any:
    total: Any = 0
    for part in parts:
        total = total + part
    return total


def folder_reader(folder: Path) -> Callable[[str], str]:
    """Reads the files of one backend's folder. Raises Disproved for one that is not there."""

    def read(path: str) -> str:
        file = folder / f"{path}.py"
        require(file.is_file(), f"{file} is missing")
        return file.read_text()

    return read
