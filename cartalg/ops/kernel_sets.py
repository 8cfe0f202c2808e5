"""Kernel sets: folders of emitted files with a manifest, and the functions in them.

The set that ships with the library is the package `cartalg_kernels`. Another one, made by ``cartalg generate``, is
opened by its path; nothing is ever imported from the working directory by accident.
"""

import hashlib
import importlib.util
import json
import logging
import shutil
import sys
import tempfile
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import cartalg.symbolic
import cartalg_codegen
from cartalg.files import shipped_folder
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.backends.folders import cache_root, is_trusted
from cartalg_codegen.emit import MANIFEST, Manifest, render, write
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import KernelSpec, parse

log = logging.getLogger("cartalg.kernels")
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
    folder = cache_root() / "kernels" / f"{spec.name}-{_sources()}"
    if not (folder / MANIFEST).is_file():
        log.warning("making kernel %s, which is not among those shipped; kept in %s", spec.name, folder)
        files = render(set_of_one)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_at_once(files, folder)
        except OSError:  # no cache: for this process alone
            folder = Path(tempfile.mkdtemp(prefix="cartalg-"))
            write(files, folder)
    if not is_trusted(folder):
        raise PermissionError(
            f"{folder}: others can write there, and its files are run; remove it, or make it yours alone"
        )
    return KernelSet(folder)


def _write_at_once(files: dict[str, str], folder: Path) -> None:
    """A kernel set that is there in whole or not at all, whoever else makes it at the same time."""
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        write(files, temporary / "set")
        (temporary / "set").chmod(0o700)
        try:
            (temporary / "set").rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@cache
def _sources() -> str:
    """A hash of all that decides what is emitted."""
    packages = [Path(str(module.__file__)).parent for module in (cartalg.symbolic, cartalg_codegen)]
    texts = [path.read_bytes() for package in packages for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


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
