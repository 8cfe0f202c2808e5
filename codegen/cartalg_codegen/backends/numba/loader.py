"""Emitted Numba files are read, not imported: what they say is compiled, and nothing of them runs as Python."""

import ast
import hashlib
import re
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartalg_codegen.backends.numba.values import definitions

if TYPE_CHECKING:
    from cartalg_codegen.specs import KernelSpec


class Source:
    """One emitted file, and the files that it imports functions of.

    Attributes:
        folder, version: Of the emitted files of its kernel set; another version where they have been emitted anew.
        name: ``kind.module``, as other files import it.
        entries: Machine code of its functions that is loaded, by what it was made for.
    """

    def __init__(self, folder: str, version: str, name: str) -> None:
        self.folder, self.version, self.name = folder, version, name
        self.text = Path(folder, *name.split(".")).with_suffix(".py").read_text()
        self.entries: dict[Any, Any] = {}

    @cached_property
    def _definitions(self) -> Any:
        """Its functions, and what it imports; parsed only where something is compiled."""
        return definitions(ast.parse(self.text, self.name))

    def find(self, home: str, name: str) -> tuple[str, ast.FunctionDef]:
        """Where a function is defined that a file calls, and its definition. Raises KeyError if there is none."""
        source = self if home == self.name else read(self.folder, self.version, home)
        functions, imported = source._definitions
        if name in functions:
            return source.name, functions[name]
        place, original = imported[name]
        return self.find(place, original)

    @cached_property
    def digest(self) -> str:
        """Of all that decides what its functions do."""
        texts = {self.name: self.text}
        todo = [self]
        while todo:
            for place in re.findall(r"^ *from \.+(\S+) import", todo.pop().text, re.MULTILINE):
                if place not in texts:
                    todo.append(read(self.folder, self.version, place))
                    texts[place] = todo[-1].text
        return hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()


@cache
def read(folder: str, version: str, name: str) -> Source:
    """An emitted file, read once."""
    return Source(folder, version, name)


def load(package: str, spec: "KernelSpec") -> Source:
    """The emitted file of a kernel. The package has another name where its files have been emitted anew."""
    folder = Path(str(import_module(package).__file__)).parent / "numba_kernels"
    return read(str(folder), package, f"{spec.kind}.{spec.name}")
