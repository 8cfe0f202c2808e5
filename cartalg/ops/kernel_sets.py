"""Kernel sets: folders of emitted files with a manifest, and the functions in them.

The set that ships with the library is the package `cartalg_kernels`. Another one, made by ``cartalg generate``, is
opened by its path; nothing is ever imported from the working directory by accident.
"""

import hashlib
import importlib.util
import json
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from cartalg.files import shipped_folder
from cartalg.ops.kept_sets import keep, verified
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.emit import MANIFEST, Manifest, render
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import KernelSpec, parse

S = TypeVar("S", bound=KernelSpec)


class KernelNotFound(LookupError):
    """A kernel that is not in the set; the message says how to emit it."""


class KernelSet:
    """A folder of emitted kernels.

    Args:
        folder: A folder written by ``cartalg generate``; by default the set shipped with the library.
    Raises:
        FileNotFoundError: If the folder holds no manifest.
        ValueError: If the manifest is none, or of another version of the generator.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = shipped_folder() if folder is None else Path(folder).resolve()
        path = self.folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f"no kernel set in {self.folder}: make one with `cartalg generate --out {folder}`")
        text = path.read_bytes()
        self.digest = hashlib.sha256(text).hexdigest()
        try:
            self.manifest = Manifest.from_json(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no manifest of this version: {error}; run `cartalg generate` again") from None
        self._functions: dict[tuple[str, str], Any] = {}
        last = _opened.get(str(self.folder))
        if last is None or last.digest != self.digest:
            _opened[str(self.folder)] = self

    @property
    def max_rank(self) -> int:
        """Highest rank of any tensor in the set."""
        return self.manifest.max_rank

    def spec(self, name: str) -> KernelSpec:
        """What the set knows of a kernel.

        Raises:
            KernelNotFound: If the set has no kernel of that name.
            ValueError: If no kernel can have that name.
        """
        entry = self.manifest.kernels.get(name)
        if entry is None:
            kind = parse(name).kind
            near = [k for k, known in self.manifest.kernels.items() if known.spec.kind == kind]
            raise KernelNotFound(
                f"no kernel {name!r} in {self.folder} (max rank {self.max_rank}); it has {', '.join(near) or 'none'}. "
                f"Emit it with `cartalg generate --only {name} --out DIR`, or a larger set with `--max-rank R`, "
                "and point `kernels` at DIR."
            )
        return entry.spec

    def holding(self, spec: KernelSpec) -> "KernelSet":
        """The set that has a kernel: this one or, where the shipped set lacks it, one that is made for it.

        Raises:
            KernelNotFound: If a set of the user's lacks it.
        """
        if spec.name not in self.manifest.kernels and self.folder == shipped_folder():
            return made_for(spec)
        self.spec(spec.name)
        return self

    def get(self, spec: S) -> S:
        """A specification as this set has it: with what is slow to derive. Raises KernelNotFound as `spec`."""
        return self.spec(spec.name)  # type: ignore[return-value]

    def functions(self, spec: KernelSpec, backend: str) -> Any:
        """The emitted functions of a kernel for one backend, by stage, as attributes.

        Raises:
            KernelNotFound: If the set has no such kernel.
        """
        key = (spec.name, backend)
        if key not in self._functions:
            self.spec(spec.name)
            self._functions[key] = BACKENDS[backend].load(self.package, spec)
        return self._functions[key]

    @cached_property
    def package(self) -> str:
        """Import name: the shipped set's own, or one of its own for each folder of the user's and content of it."""
        if self.folder == shipped_folder():
            return "cartalg_kernels"
        name = f"_cartalg_kernels_{hashlib.sha256(f'{self.digest} {self.folder}'.encode()).hexdigest()[:16]}"
        if name not in sys.modules:
            file = self.folder / "__init__.py"
            spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(self.folder)])
            if spec is None or spec.loader is None:
                raise ImportError(f"cannot import {file}")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        return name

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of a model, or a pickled one, has the set of that folder, or the one shipped where it is read."""
        return open_kernels, (None if self.folder == shipped_folder() else str(self.folder),)

    def __hash__(self) -> int:
        return hash((self.folder, self.digest))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelSet) and (self.folder, self.digest) == (other.folder, other.digest)


@cache
def made_for(spec: KernelSpec) -> KernelSet:
    """A kernel set with one kernel, emitted into the user's cache folder when it is first asked for.

    Raises:
        PermissionError: If someone else could have written what lies there.
    """
    set_of_one = Set(max(spec.rank, 1), only=(spec.name,))
    message = f"making kernel {spec.name}, which is not among those shipped; kept in %s"
    return KernelSet(keep(spec.name, lambda: render(set_of_one), message))


#: Kernel sets by folder, as they were last read.
_opened: dict[str | None, KernelSet] = {}


def open_kernels(folder: str | None = None) -> KernelSet:
    """A kernel set, opened once a process, or the last `KernelSet` of a folder whose content has changed since.

    Args:
        folder: Its folder; `None` is the shipped set.
    Raises:
        FileNotFoundError: If there is none.
    """
    found = _opened.get(folder)
    if found is None:
        found = _opened[folder] = KernelSet(folder)
    return found


@dataclass
class Policy:
    """What this process does with folders of kernels that model files name: the command line's choice."""

    trusting: bool = False


POLICY = Policy()


def accept(folder: str, trust: bool = False) -> None:
    """Let `open_kernels` open a set that a model file names: a verified copy, or, if it is trusted, as it is.

    A set that this process has opened before is taken as it was.

    Raises:
        FileNotFoundError: If there is none.
        UntrustedKernels: If it is not what the generator emits.
    """
    known = _opened.get(folder) or _opened.get(str(Path(folder).resolve()))
    if not (known or trust or POLICY.trusting):
        known = KernelSet(verified(Path(folder)))
    if known:
        _opened[folder] = known
