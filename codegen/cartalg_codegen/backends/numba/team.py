"""The threads that kernels run on: Torch's own OpenMP team, so that the two never compete for cores.

Where the runtime that Torch has loaded has not the interface of GNU's, a thread pool takes its place.
"""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch


@cache
def openmp() -> ctypes.CDLL | None:
    """The OpenMP runtime that Torch uses, if it has the interface of GNU's."""
    for name in (None, str(Path(torch.__file__).parent / "lib" / "libgomp.so.1"), "libgomp.so.1"):
        try:
            library = ctypes.CDLL(name)
            if all(hasattr(library, f) for f in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")):
                library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
                library.GOMP_parallel.restype = None
                return library
        except OSError:
            continue
    return None


@cache
def numbers() -> tuple[int, int]:
    """Addresses of the functions that give a thread its number, and their number; 0 where there is no OpenMP."""
    library = openmp()
    if library is None:
        return 0, 0
    found = (getattr(library, name) for name in ("omp_get_thread_num", "omp_get_num_threads"))
    first, second = (int(ctypes.cast(f, ctypes.c_void_p).value or 0) for f in found)
    return first, second


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="cartalg")


def run(block: Any, region: ctypes.c_void_p, address: int, threads: int) -> None:
    """Run a block on every thread of a team.

    Args:
        block: Called with (address, thread, threads) where there is no OpenMP, or one thread.
        region: Machine code that calls the block from an OpenMP region.
        address: Of the arguments.
        threads: Size of the team.
    """
    library = openmp()
    if threads == 1:
        block(address, 0, 1)
    elif library is not None:
        library.GOMP_parallel(region, address, threads, 0)
    else:
        waiting = [_pool(threads - 1).submit(block, address, t, threads) for t in range(1, threads)]
        block(address, 0, threads)
        for future in waiting:
            future.result()
