"""Emitted Numba files are plain `@njit` functions that work on their own. Here they get what makes them fast to run
and to start.

That is (1) the promise that array arguments do not overlap, without which LLVM does not vectorise (measured: 5x slower,
docs/benchmarks.md), and (2) a cache of machine code on the disk.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from cartalg_codegen.backends.numba.cache import KernelCache, folder_of, functions_of
from cartalg_codegen.backends.numba.private import promise_no_overlap, set_cache
from cartalg_codegen.specs import KernelSpec


def load(package: str, spec: KernelSpec) -> ModuleType:
    """The emitted module, its functions ready to be compiled."""
    module = import_module(f"{package}.numba_kernels.{spec.kind}.{spec.name}")
    for function in functions_of(module):
        _prepare(function)
    return module


def _prepare(function: Any) -> None:
    """Before its first call, once."""
    if not getattr(function, "cartalg_ready", False):
        promise_no_overlap(function)
        set_cache(function, KernelCache.create(function.py_func, folder_of(sys.modules[function.py_func.__module__])))
        function.cartalg_ready = True
