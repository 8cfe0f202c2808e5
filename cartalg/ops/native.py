"""Emitted functions as machine code that is called without the interpreter: one entry for each function and type.

An entry takes one block of 64-bit words that describes all arguments, splits the rows among the threads of an OpenMP
team, and calls the compiled function on each part. The team is Torch's own: the OpenMP runtime that Torch has loaded
runs both, so that the two never compete for cores. Where none is found, a thread pool takes its place.
"""

import ctypes
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numba import types
from torch import Tensor

from cartalg.ops.entry import build
from cartalg.ops.lanes import VECTOR_BYTES, Lanes, LanesArray

ELEMENTS = {torch.float32: types.float32, torch.float64: types.float64, torch.int64: types.int64}


def lane_width(channels: int, dtype: torch.dtype) -> int:
    """Channels that one SIMD operation handles: the largest power of two that fits a vector and divides `channels`."""
    width = VECTOR_BYTES // dtype.itemsize
    while width > 1 and channels % width:
        width //= 2
    return width


class Argument(NamedTuple):
    """An array for an emitted function: a contiguous tensor, its shape there, and whether its last axis is channels.

    Where a kernel has no channels, lanes are rows: `columns` is then the second size, negative if the array is written.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    lanes: bool = False
    columns: int = 0

    def type(self, width: int) -> types.Type:
        """The Numba type it is passed as."""
        element = ELEMENTS[self.tensor.dtype]
        if (self.lanes or self.columns) and width > 1:
            return LanesArray(Lanes(element, width), len(self.shape))
        return types.Array(element, len(self.shape), "C")


@cache
def _openmp() -> ctypes.CDLL | None:
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
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="cartalg")


class Entry:
    """One compiled function for one set of argument types.

    Args:
        function: A Numba function with arguments (start, stop, thread, ..).
        arguments: What comes after those three.
        width: Lanes of a vector.
    """

    def __init__(self, function: Any, arguments: Sequence[Argument | float], width: int) -> None:
        kinds = tuple(a.type(width) if isinstance(a, Argument) else types.float64 for a in arguments)
        columns = tuple(a.columns if isinstance(a, Argument) else 0 for a in arguments)
        signature = (types.int64, types.int64, types.int64, *kinds)
        function.compile(signature)
        self._compiled = function.overloads[signature]  # keeps the machine code alive
        self._library = build(self._compiled, kinds, columns, _openmp())
        self._block = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
            self._library.get_pointer_to_function("cartalg_block")
        )
        self._region = ctypes.c_void_p(self._library.get_pointer_to_function("cartalg_region"))
        self.name = function.py_func.__name__

    def __call__(self, words: Any, threads: int) -> None:
        """Run on all rows.

        Args:
            words: Words from `pack`.
            threads: Size of the team.
        Raises:
            MemoryError: If the function could not allocate its scratch arrays.
        """
        address = ctypes.addressof(words)
        openmp = _openmp()
        if threads == 1:
            self._block(address, 0, 1)
        elif openmp is not None:
            openmp.GOMP_parallel(self._region, address, threads, 0)
        else:
            waiting = [_pool(threads - 1).submit(self._block, address, t, threads) for t in range(1, threads)]
            self._block(address, 0, threads)
            for future in waiting:
                future.result()
        if words[1]:
            raise MemoryError(f"{self.name} failed: no memory for its scratch arrays")


def pack(rows: int, arguments: Sequence[Argument | float], width: int) -> Any:
    """The words that an entry reads: rows, a status, then every argument."""
    words = [rows, 0]
    for a in arguments:
        if isinstance(a, Argument):
            words.append(a.tensor.data_ptr())
            words.extend(a.shape)
            if a.lanes:
                words[-1] //= width
        else:
            words.append(struct.unpack("q", struct.pack("d", a))[0])
    return (ctypes.c_int64 * len(words))(*words)
