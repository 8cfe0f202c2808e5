"""Emitted Numba files are read, not imported: what they say is compiled, and nothing of them runs as Python."""

import ast
import hashlib
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from cartalg_codegen.backends.numba.values import definitions
from cartalg_codegen.specs import KernelSpec


class Source:
    """One emitted file, and the files that it imports functions of.

    Attributes:
        package: Of the kernel set: another one where its files have been emitted anew.
        name: ``kind.module``, as other files import it.
        entries: Machine code of its functions that is loaded, by what it was made for.
    """

    def __init__(self, package: str, name: str) -> None:
        self.package, self.name = package, name
        folder = Path(str(import_module(package).__file__)).parent / "numba_kernels"
        self.text = (folder / (name.replace(".", "/") + ".py")).read_text()
        self.functions, self._imported = definitions(ast.parse(self.text, name))
        self.entries: dict[Any, Any] = {}

    def find(self, home: str, name: str) -> tuple[str, ast.FunctionDef]:
        """Where a function is defined that a file calls, and its definition. Raises KeyError if there is none."""
        source = self if home == self.name else read(self.package, home)
        if name in source.functions:
            return source.name, source.functions[name]
        place, original = source._imported[name]
        return self.find(place, original)

    @cached_property
    def digest(self) -> str:
        """Of all that decides what its functions do."""
        texts = {self.name: self.text}
        todo = [self]
        while todo:
            for place, _ in todo.pop()._imported.values():
                if place not in texts:
                    todo.append(read(self.package, place))
                    texts[place] = todo[-1].text
        return hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()


@cache
def read(package: str, name: str) -> Source:
    """An emitted file, read once."""
    return Source(package, name)


def load(package: str, spec: KernelSpec) -> Source:
    """The emitted file of a kernel.

    Raises:
        SyntaxError: If it is no Python.
    """
    return read(package, f"{spec.kind}.{spec.name}")
