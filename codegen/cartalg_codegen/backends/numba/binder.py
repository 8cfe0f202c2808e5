"""A bound call of an emitted function: machine code for these types of arguments, and a block of words that describes
them.

An entry takes one block of 64-bit words that describes all arguments, splits the rows among the threads of a team,
and calls the compiled function on each part (`entry` writes its machine code).
"""

import ctypes
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cartalg_codegen.backends.numba import team
from cartalg_codegen.backends.numba.loader import Source
from cartalg_codegen.backends.numba.objects import Job, Library, kept
from cartalg_codegen.backends.numba.targets import level, vector_bytes
from cartalg_codegen.backends.numba.values import Kind, Precision, Scalar
from cartalg_codegen.backends.numba.workers import workers
from cartalg_codegen.specs import KernelSpec, Stage

REALS = {torch.float32: 32, torch.float64: 64}
#: Where jobs are collected while nothing is to be run, and the level that they are for.
_collected: list[tuple[set[Job], str]] = []
#: Called with (job, words, what is written) in place of machine code, with tensors in place of their addresses.
Listener = Callable[[Job, Sequence[int | Tensor], Sequence[Tensor]], None]
_listeners: list[Listener] = []


def lane_width(channels: int, dtype: torch.dtype, target: str, vectors: int = 1) -> int:
    """Channels of a lane: the largest power of two that divides them and fits so many vector registers of a level."""
    width = vectors * vector_bytes(target) // dtype.itemsize
    while width > 1 and channels % width:
        width //= 2
    return width


class Entry:
    """A function compiled for one set of argument types: loaded when it is first called, and made until then.

    Args:
        job: What it is.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._code = job, kept(job)
        self._library: Library | None = None
        if self._code is None:
            workers().submit(job)

    def __call__(self, words: Any, threads: int) -> None:
        """Run on all rows.

        Args:
            words: Those of `_words`, in memory.
            threads: Size of the team.
        """
        if self._library is None:
            self._load()
        team.run(self._block, self._region, ctypes.addressof(words), threads)

    def _load(self) -> None:
        code = workers().wait(self._job) if self._code is None else self._code
        library = Library(code)
        block, region = library.addresses
        self._block = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(block)
        self._region = ctypes.c_void_p(region)
        self._library, self._code = library, None


@contextmanager
def collected(target: str) -> Iterator[set[Job]]:
    """What is bound in this block is not run: results are whatever memory held. Its jobs for a level, by and by."""
    jobs: set[Job] = set()
    _collected.append((jobs, target))
    try:
        yield jobs
    finally:
        _collected.pop()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """What is bound in this block is told to a listener whenever it is run, and nothing is computed."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def bind(
    functions: Source,
    spec: KernelSpec,
    stage: str,
    index: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    threads: int,
) -> Callable[[], None]:
    """A call of an emitted function on these tensors, which it keeps alive; it may be repeated.

    Args:
        functions: The emitted file, from the loader.
        spec, stage: What it is.
        index: Arguments without a gradient, by name.
        tensors: Contiguous, by the names of the emitted arguments; the gradient to a parameter is [threads, ..].
        threads: Number of threads.
    Raises:
        ValueError: If an index is not contiguous or not int64.
    """
    about = spec.stages()[stage]
    real = tensors[about.reads[0]]
    target = _collected[-1][1] if _collected else level()
    width = _width(spec, about, tensors, real.dtype, target)
    words = _words(spec, about, index, tensors, width)
    entry = functions.entries.get((stage, real.dtype, width))
    if entry is None or _collected or _listeners:
        kinds, columns = _types(spec, about, index, tensors, width)
        source, precision = (functions.folder, functions.version, functions.name), Precision(REALS[real.dtype], width)
        job = Job(*source, stage, tuple(kinds), tuple(columns), precision, target)
        if _collected:
            _collected[-1][0].add(job)
            return lambda: None
        if _listeners:
            written = [tensors[name] for name in about.writes]
            return partial(_listeners[-1], job, words, written)
        entry = functions.entries[stage, real.dtype, width] = Entry(job)
    block = (ctypes.c_int64 * len(words))(*(w.data_ptr() if isinstance(w, Tensor) else w for w in words))

    def go(run: Entry = entry, alive: tuple[Any, ...] = (index, tensors)) -> None:
        run(block, threads)

    return go


def _width(spec: KernelSpec, about: Stage, tensors: Mapping[str, Tensor], dtype: torch.dtype, target: str) -> int:
    """Lanes of a vector. Without channels lanes are rows; worth it where rows fill vectors, for they are transposed."""
    for name, role in spec.roles(about.name).items():
        if role.lanes:
            return lane_width(tensors[name].shape[-1], dtype, target, about.vectors)
    width = vector_bytes(target) // dtype.itemsize
    return width if max(tensors[name].shape[1] for name in (*about.reads, *about.writes)) >= width else 1


def _words(
    spec: KernelSpec,
    about: Stage,
    index: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    width: int,
) -> list[int | Tensor]:
    """What an entry reads: rows, the team, then address and sizes of every argument, or the bits of a number.

    A tensor stands for its address.
    """
    first = tensors[about.reads[0]]
    words: list[int | Tensor] = [about.rows(index, first), *team.numbers()]
    for name in about.index:
        given = index[name]
        if isinstance(given, Tensor):
            if given.dtype != torch.int64 or not given.is_contiguous():
                raise ValueError(f"{spec.name}: {name} must be contiguous int64, got {given.dtype} {given.stride()}")
            words.append(given)
            words.extend(given.shape)
        else:
            words.append(struct.unpack("q", struct.pack("d", given))[0])
    for name, role in spec.roles(about.name).items():
        tensor = tensors[name]
        words.append(tensor)
        words += role.shape(tensor.shape, width)
    return words


def _types(
    spec: KernelSpec, about: Stage, index: Mapping[str, Any], tensors: Mapping[str, Tensor], width: int
) -> tuple[list[Kind], list[int]]:
    """Types of the arguments, and the columns of those whose lanes are rows."""
    roles = spec.roles(about.name)
    by_rows = width > 1 and not any(role.lanes for role in roles.values())
    kinds = [Kind("int", given.ndim) if isinstance(given := index[n], Tensor) else Kind("double") for n in about.index]
    columns = [0] * len(kinds)
    for name, role in roles.items():
        scalar: Scalar = "lanes" if role.lanes or by_rows else "real"
        kinds.append(Kind(scalar, 2 if role.flat else tensors[name].ndim))
        columns.append((-1 if name in about.writes else 1) * tensors[name].shape[1] if by_rows else 0)
    return kinds, columns
