"""How emitted Numba functions are compiled: arguments that do not overlap, and a cache that can never get in the way.

Emitted files are plain `@njit` functions that work on their own. Here they get (1) the promise that array arguments do
not overlap, without which LLVM does not vectorise (measured: 5x slower, docs/benchmarks.md), and (2) an on-disk cache
keyed by the source of the file and of the SIMD lanes, the CPU and the versions. A cache that cannot be read or written
is skipped: kernels are then compiled anew in each process.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.dispatcher import Dispatcher
from platformdirs import user_cache_path

from cartalg.ops import lanes

CACHE_VARIABLE = "CARTALG_CACHE_DIR"


def cache_root() -> Path:
    """Folder for compiled kernels: $CARTALG_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("cartalg")


def prepare(module: ModuleType) -> None:
    """Set up every Numba function of an emitted module, before its first call.

    Args:
        module: An imported file of a kernel set. Such a file stands alone, so its text decides what is compiled.
    """
    sources = Path(str(module.__file__)).read_bytes() + Path(lanes.__file__).read_bytes()
    digest = hashlib.sha256(sources).hexdigest()[:16]
    values: list[Any] = list(vars(module).values())
    for value in values:
        if _is_kernel(value) and not getattr(value, "cartalg_ready", False):
            _promise_no_overlap(value)
            folder = cache_root() / f"{module.__name__}-{digest}-numba-{numba.__version__}"
            value._cache = _KernelCache.create(value.py_func, folder)
            value.cartalg_ready = True


def _is_kernel(value: Any) -> bool:
    return isinstance(value, Dispatcher)


def _promise_no_overlap(dispatcher: Any) -> None:
    customize = dispatcher._compiler._customize_flags

    def with_noalias(flags: Any) -> Any:
        flags = customize(flags)
        flags.noalias = True
        return flags

    dispatcher._compiler._customize_flags = with_noalias


def _locator(folder: Path) -> type[_CacheLocator]:
    class Locator(_CacheLocator):  # type: ignore[misc]
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


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """Numba's function cache in a folder of ours; failing to read or write it is not an error."""

    @classmethod
    def create(cls, py_func: Any, folder: Path) -> "_KernelCache":
        class Impl(CompileResultCacheImpl):  # type: ignore[misc]
            _locator_classes = [_locator(folder)]

        return type("KernelCache", (cls,), {"_impl_class": Impl})(py_func)  # type: ignore[no-any-return]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever is wrong with a cached file, compiling anew is right
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)
