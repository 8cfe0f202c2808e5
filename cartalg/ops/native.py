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
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.np.arrayobj import make_array, populate_array
from torch import Tensor

from cartalg.ops.lanes import VECTOR_BYTES, Lanes, LanesArray

ELEMENTS = {torch.float32: types.float32, torch.float64: types.float64, torch.int64: types.int64}
_WORD = ir.IntType(64)


def lane_width(channels: int, dtype: torch.dtype) -> int:
    """Channels that one SIMD operation handles: the largest power of two that fits a vector and divides `channels`."""
    width = VECTOR_BYTES // dtype.itemsize
    while width > 1 and channels % width:
        width //= 2
    return width


class Argument(NamedTuple):
    """An array for an emitted function: a contiguous tensor, its shape there, and whether its last axis is channels."""

    tensor: Tensor
    shape: tuple[int, ...]
    lanes: bool = False

    def type(self, width: int) -> types.Type:
        """The Numba type it is passed as."""
        element = ELEMENTS[self.tensor.dtype]
        if self.lanes and width > 1:
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
        kinds: Numba types of the arguments after those three.
    """

    def __init__(self, function: Any, kinds: tuple[types.Type, ...]) -> None:
        signature = (types.int64, types.int64, types.int64, *kinds)
        function.compile(signature)
        self._compiled = function.overloads[signature]  # keeps the machine code alive
        self._library = _build(self._compiled, kinds)
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


def kinds_of(arguments: Sequence[Argument | float], width: int) -> tuple[types.Type, ...]:
    """Numba types of arguments."""
    return tuple(a.type(width) if isinstance(a, Argument) else types.float64 for a in arguments)


@global_compiler_lock  # type: ignore[misc]
def _build(compiled: Any, kinds: tuple[types.Type, ...]) -> Any:
    """Machine code for ``cartalg_block(words, thread, threads)`` and ``cartalg_region(words)``."""
    context, descriptor = compiled.target_context, compiled.fndesc
    library = context.codegen().create_library("cartalg_entry")
    module = library.create_ir_module("cartalg_entry")
    block = ir.Function(module, ir.FunctionType(ir.VoidType(), [_WORD.as_pointer(), _WORD, _WORD]), "cartalg_block")
    builder = ir.IRBuilder(block.append_basic_block())
    words, thread, threads = block.args
    position = 0

    def word() -> Any:
        nonlocal position
        value = builder.load(builder.gep(words, [ir.Constant(_WORD, position)]))
        position += 1
        return value

    rows, _ = word(), word()
    start = builder.sdiv(builder.mul(rows, thread), threads)
    stop = builder.sdiv(builder.mul(rows, builder.add(thread, ir.Constant(_WORD, 1))), threads)
    values = [start, stop, thread]
    for kind in kinds:
        values.append(
            _array(context, builder, kind, word) if isinstance(kind, types.Array) else _float(builder, word())
        )
    types_of_all = [types.int64] * 3 + list(kinds)
    function_type = context.call_conv.get_function_type(types.none, types_of_all)
    address = compiled.library.get_pointer_to_function(descriptor.llvm_func_name)
    callee = builder.inttoptr(ir.Constant(_WORD, address), function_type.as_pointer())
    result = cgutils.alloca_once(builder, function_type.args[0].pointee)
    problem = cgutils.alloca_once(builder, function_type.args[1].pointee)
    arguments = context.get_arg_packer(types_of_all).as_arguments(builder, values)
    status = builder.call(callee, [result, problem, *arguments])
    with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(status.type, 0))):
        builder.store(ir.Constant(_WORD, 1), builder.gep(words, [ir.Constant(_WORD, 1)]))
    builder.ret_void()
    region = ir.Function(module, ir.FunctionType(ir.VoidType(), [_WORD.as_pointer()]), "cartalg_region")
    builder = ir.IRBuilder(region.append_basic_block())
    openmp = _openmp()
    numbers = []
    for name in ("omp_get_thread_num", "omp_get_num_threads"):
        if openmp is None:
            numbers.append(ir.Constant(_WORD, 0))
            continue
        place = ctypes.cast(getattr(openmp, name), ctypes.c_void_p).value
        kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
        numbers.append(builder.zext(builder.call(builder.inttoptr(ir.Constant(_WORD, place), kind), []), _WORD))
    builder.call(block, [region.args[0], *numbers])
    builder.ret_void()
    library.add_ir_module(module)
    library.finalize()
    return library


def _float(builder: Any, word: Any) -> Any:
    return builder.bitcast(word, ir.DoubleType())


def _array(context: Any, builder: Any, kind: types.Array, word: Any) -> Any:
    """A C-contiguous array from its address and shape."""
    array = make_array(kind)(context, builder)
    data = builder.inttoptr(word(), array.data.type)
    shape = [word() for _ in range(kind.ndim)]
    item = ir.Constant(_WORD, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides: list[Any] = []
    stride: Any = item
    for size in reversed(shape):
        strides.insert(0, stride)
        stride = builder.mul(stride, size)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=item, meminfo=None)
    return array._getvalue()
