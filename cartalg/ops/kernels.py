"""Kernel sets: folders of emitted files with a manifest, and the functions in them.

The set that ships with the library is the package `cartalg_kernels`. Another one, made by ``cartalg generate``, is
opened by its path; nothing is ever imported from the working directory by accident.
"""

import hashlib
import importlib.util
import json
import sys
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from cartalg.files import shipped_folder

MANIFEST = "manifest.json"


class Backend(StrEnum):
    """Where a kernel runs. `auto` is numba for tensors on the CPU and torch elsewhere."""

    AUTO = "auto"
    NUMBA = "numba"
    TORCH = "torch"


class KernelNotFound(LookupError):
    """A kernel that is not in the set; the message says how to emit it."""


class KernelSet:
    """A folder of emitted kernels.

    Args:
        folder: A folder written by ``cartalg generate``; by default the set shipped with the library.
    Raises:
        FileNotFoundError: If the folder holds no manifest.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = shipped_folder() if folder is None else Path(folder).resolve()
        path = self.folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f"no kernel set in {self.folder}: make one with `cartalg generate --out {folder}`")
        text = path.read_bytes()
        self.digest = hashlib.sha256(text).hexdigest()
        self.manifest: dict[str, Any] = json.loads(text)

    @property
    def max_rank(self) -> int:
        """Highest rank of any tensor in the set."""
        return int(self.manifest["max_rank"])

    def facts(self, name: str) -> dict[str, Any]:
        """What the manifest says of a kernel: layout, paths, weights, operation counts.

        Raises:
            KernelNotFound: If the set has no kernel of that name.
        """
        try:
            return self.manifest["kernels"][name]  # type: ignore[no-any-return]
        except KeyError:
            kind = name.split("_")[0]
            near = [k for k in self.manifest["kernels"] if k.startswith(kind + "_")]
            raise KernelNotFound(
                f"no kernel {name!r} in {self.folder} (max rank {self.max_rank}); it has {', '.join(near) or 'none'}. "
                f"Emit a larger set with `cartalg generate --max-rank R --out DIR`, with `--also {name}` if it is not "
                "among the usual ones, and point `kernels` at DIR."
            ) from None

    def module(self, name: str, backend: Backend) -> ModuleType:
        """The emitted module of a kernel for one backend (not `auto`).

        Raises:
            KernelNotFound: If the set has no kernel of that name.
        """
        self.facts(name)
        return _module(self, name, backend)

    @cached_property
    def package(self) -> str:
        """Import name: the shipped set's own, or one made of the content's hash for a folder of the user's."""
        if self.folder == shipped_folder():
            return "cartalg_kernels"
        # Named by content, not by place: compiled code is cached under this name.
        name = f"_cartalg_kernels_{self.digest[:16]}"
        _load(name, self.folder / "__init__.py", self.folder)
        for backend in (Backend.NUMBA, Backend.TORCH):
            sub = self.folder / f"{backend}_kernels"
            _load(f"{name}.{backend}_kernels", sub / "__init__.py", sub)
        return name

    def __hash__(self) -> int:
        return hash((self.folder, self.digest))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelSet) and (self.folder, self.digest) == (other.folder, other.digest)


@cache
def open_kernels(folder: str | None = None) -> KernelSet:
    """A kernel set, opened once a process; `None` is the shipped set. Raises FileNotFoundError if there is none."""
    return KernelSet(folder)


@cache
def _module(kernels: KernelSet, name: str, backend: Backend) -> ModuleType:
    module = importlib.import_module(f"{kernels.package}.{backend}_kernels.{name}")
    if backend is Backend.NUMBA:
        from cartalg.ops.compilation import prepare

        prepare(module)
    return module


def _load(name: str, file: Path, folder: Path) -> None:
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
