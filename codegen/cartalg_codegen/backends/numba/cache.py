"""Where compiled kernels are kept: a cache that can never get in the way.

It is keyed by the sources of the emitted file, of all that it imports and of the SIMD lanes, by the CPU and the
versions. A cache that cannot be read or written is skipped: kernels are then compiled anew in each process.
"""

import hashlib
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from cartalg_codegen.backends.folders import cache_root
from cartalg_codegen.backends.numba import lanes
from cartalg_codegen.backends.numba.private import CacheLocator, CompileResultCacheImpl, Dispatcher, FunctionCache


def functions_of(module: ModuleType) -> list[Any]:
    """The Numba functions that a module defines or imports."""
    return [value for value in vars(module).values() if isinstance(value, Dispatcher)]


def folder_of(module: ModuleType) -> Path:
    """Where the machine code of a module's own functions is kept."""
    return cache_root() / f"{module.__name__}-{_digest(module).hex()[:16]}-numba-{numba.__version__}"


def _digest(module: ModuleType) -> bytes:
    """Of everything that decides what is compiled: callees are inlined, so their files count."""
    called = sorted({f.py_func.__module__ for f in functions_of(module)} - {module.__name__})
    parts = [Path(str(module.__file__)).read_bytes(), Path(lanes.__file__).read_bytes()]
    return hashlib.sha256(b"".join(parts + [_digest(sys.modules[name]) for name in called])).digest()


def _locator(folder: Path) -> type[CacheLocator]:
    class Locator(CacheLocator):  # type: ignore[misc]
        """Puts the cache of one kernel file into one folder."""

        def __init__(self, py_func: Any, py_file: str) -> None:
            self._name = f"{Path(py_file).parent.name}-{Path(py_file).stem}-{py_func.__name__}"

        def get_cache_path(self) -> str:
            return str(folder)

        def get_source_stamp(self) -> str:
            return folder.name

        def get_disambiguator(self) -> str:
            return self._name.replace("-", "_")

        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> "Locator":
            return cls(py_func, py_file)

    return Locator


class KernelCache(FunctionCache):  # type: ignore[misc]
    """Numba's function cache in a folder of ours; failing to read or write it is not an error."""

    @classmethod
    def create(cls, py_func: Any, folder: Path) -> "KernelCache":
        """The cache of one function."""

        class Impl(CompileResultCacheImpl):  # type: ignore[misc]
            _locator_classes = [_locator(folder)]

        return type("KernelCache", (cls,), {"_impl_class": Impl})(py_func)  # type: ignore[no-any-return]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code from the disk, None if there is none that can be used."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever is wrong with a cached file, compiling anew is right
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, if the disk allows."""
        with suppress(OSError):
            super().save_overload(sig, data)
