"""A bound call of an emitted function: machine code for these types of arguments, and a block of words that describes
them.

An entry takes one block of 64-bit words that describes all arguments, splits the rows among the threads of a team,
and calls the compiled function on each part (`entry` writes its machine code).
"""

import ctypes
import logging
import struct
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from numba import types
from torch import Tensor

from cartalg_codegen.backends.numba import team
from cartalg_codegen.backends.numba.entry import build
from cartalg_codegen.backends.numba.lanes import VECTOR_BYTES, Lanes, LanesArray
from cartalg_codegen.backends.numba.private import address_of, compile_for
from cartalg_codegen.lowering.edges import CHUNK
from cartalg_codegen.specs import KernelSpec, Stage
from cartalg_codegen.specs.base import Argument

ELEMENTS = {torch.float32: types.float32, torch.float64: types.float64, torch.int64: types.int64}
log = logging.getLogger("cartalg.compilation")


def lane_width(channels: int, dtype: torch.dtype) -> int:
    """Channels that one SIMD operation handles: the largest power of two that fits a vector and divides `channels`."""
    width = VECTOR_BYTES // dtype.itemsize
    while width > 1 and channels % width:
        width //= 2
    return width


class Passed(NamedTuple):
    """An array as an emitted function takes it: a contiguous tensor, its shape there, and whether its last axis is
    channels.

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


class Entry:
    """One compiled function for one set of argument types.

    Args:
        function: A Numba function with arguments (start, stop, thread, ..).
        arguments: What comes after those three.
        width: Lanes of a vector.
    """

    def __init__(self, function: Any, arguments: Sequence[Passed | float], width: int) -> None:
        kinds = tuple(a.type(width) if isinstance(a, Passed) else types.float64 for a in arguments)
        columns = tuple(a.columns if isinstance(a, Passed) else 0 for a in arguments)
        self._compiled = compile_for(function, (types.int64, types.int64, types.int64, *kinds))  # keeps the code alive
        self._library = build(self._compiled, kinds, columns, team.openmp())
        block = address_of(self._library, "cartalg_block").value
        self._block = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(block)  # type: ignore[arg-type]
        self._region = address_of(self._library, "cartalg_region")
        self.name = function.py_func.__name__

    def __call__(self, words: Any, threads: int) -> None:
        """Run on all rows.

        Args:
            words: From `pack`.
            threads: Size of the team.
        Raises:
            MemoryError: If the function could not allocate its scratch arrays.
        """
        team.run(self._block, self._region, ctypes.addressof(words), threads)
        if words[1]:
            raise MemoryError(f"{self.name} failed: no memory for its scratch arrays")


def pack(rows: int, arguments: Sequence[Passed | float], width: int) -> Any:
    """The words that an entry reads: rows, a status, then every argument."""
    words = [rows, 0]
    for a in arguments:
        if isinstance(a, Passed):
            words.append(a.tensor.data_ptr())
            words.extend(a.shape)
            if a.lanes:
                words[-1] //= width
        else:
            words.append(struct.unpack("q", struct.pack("d", a))[0])
    return (ctypes.c_int64 * len(words))(*words)


def bind(
    functions: ModuleType,
    spec: KernelSpec,
    stage: str,
    index: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    threads: int,
) -> Callable[[], None]:
    """A call of an emitted function on these tensors, which it keeps alive; it may be repeated.

    Args:
        functions: The emitted module, from the loader.
        spec, stage: What it is.
        index: Arguments without a gradient, by name.
        tensors: Contiguous, by the names of the emitted arguments; the gradient to a parameter is [threads, ..].
        threads: Number of threads.
    """
    about = spec.stages()[stage]
    roles = spec.roles(stage)
    real = tensors[about.reads[0]]
    lanes = next((tensors[n].shape[-1] for n, a in roles.items() if a.lanes), None)
    # without channels lanes are rows; worth it where rows fill vectors, for they are transposed
    width = lane_width(lanes, real.dtype) if lanes else _rows_width(tensors, about, real.dtype)
    arguments: list[Passed | float] = []
    for name in about.index:
        given = index[name]
        arguments.append(Passed(given, tuple(given.shape)) if isinstance(given, Tensor) else float(given))
    arguments += [_passed(name, roles[name], tensors[name], width, about, lanes is None) for name in roles]
    for name in about.scratch:
        size = spec.scratch_size(name)
        scratch = real.new_empty(threads * CHUNK, size, width)
        arguments.append(Passed(scratch, (threads * CHUNK, size * width), True))
    entry = _entry(functions, spec, stage, real.dtype, width, arguments)
    words = pack(_rows(about, index, real), arguments, width)

    def go(alive: Sequence[Any] = arguments) -> None:
        entry(words, threads)

    return go


def _rows_width(tensors: Mapping[str, Tensor], about: Stage, dtype: torch.dtype) -> int:
    width = VECTOR_BYTES // dtype.itemsize
    return width if max(tensors[n].shape[1] for n in (*about.reads, *about.writes)) >= width else 1


def _passed(name: str, role: Argument, tensor: Tensor, width: int, about: Stage, by_rows: bool) -> Passed:
    shape = tuple(tensor.shape)
    if role.flat and tensor.ndim == 3:
        shape = (shape[0] * shape[1], shape[2])
    columns = 0
    if by_rows and width > 1:
        columns = -shape[1] if name in about.writes else shape[1]
    return Passed(tensor, shape, role.lanes, columns)


def _rows(about: Stage, index: Mapping[str, Any], first: Tensor) -> int:
    """What is shared out to threads."""
    return int(index[about.over].shape[0]) - 1 if about.over else int(first.shape[0])


def _entry(
    functions: ModuleType,
    spec: KernelSpec,
    stage: str,
    dtype: torch.dtype,
    width: int,
    arguments: Sequence[Passed | float],
) -> Entry:
    """The compiled function of a kernel; the types of its arguments follow from the precision and the lane width."""
    entries: dict[tuple[str, torch.dtype, int], Entry] = functions.__dict__.setdefault("_entries", {})
    key = (stage, dtype, width)
    if key not in entries:
        log.info("%s %s", spec.name, stage)
        entries[key] = Entry(getattr(functions, stage), arguments, width)
        log.info("")
    return entries[key]
