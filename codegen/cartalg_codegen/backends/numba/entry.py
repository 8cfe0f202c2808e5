"""The machine code between a block of words and an emitted function, written in LLVM IR.

An entry reads addresses and shapes, makes Numba's array structures of them, and calls the compiled function on a
thread's share of the rows. For a kernel that has no channels (harmonics) it makes lanes of rows: it transposes sixteen
rows at a time into lanes, calls, and transposes back, so that the same emitted code runs on sixteen vectors at once.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from cartalg_codegen.backends.numba.private import (
    Callee,
    alloca_once,
    finish_library,
    for_range,
    global_compiler_lock,
    make_array,
    new_library,
    populate_array,
)

WORD = ir.IntType(64)
INDEX = ir.IntType(32)
#: Blocks of rows that one call of a function takes where lanes are rows.
BLOCKS = 4


def number(value: int) -> Any:
    """A 64-bit constant."""
    return ir.Constant(WORD, value)


@global_compiler_lock  # type: ignore[misc]
def build(compiled: Any, kinds: Sequence[types.Type], columns: Sequence[int], openmp: ctypes.CDLL | None) -> Any:
    """Machine code for ``cartalg_block(words, thread, threads)`` and ``cartalg_region(words)``.

    Args:
        compiled: Numba's result of compiling a function with arguments (start, stop, thread, *kinds).
        kinds: Numba types of the arguments after the first three.
        columns: For each, 0, or where lanes are rows the number of columns, negative if the array is written.
        openmp: The runtime whose thread numbers ``cartalg_region`` asks for.
    """
    library, module = new_library(compiled, "cartalg_entry")
    block = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD.as_pointer(), WORD, WORD]), "cartalg_block")
    builder = ir.IRBuilder(block.append_basic_block())
    words, thread, threads = block.args
    read = _Words(builder, words)
    rows, _ = read(), read()
    start = builder.sdiv(builder.mul(rows, thread), threads)
    stop = builder.sdiv(builder.mul(rows, builder.add(thread, number(1))), threads)
    call = Callee(compiled, [types.int64] * 3 + list(kinds), builder, builder.gep(words, [number(1)]))
    if any(columns):
        _call_on_blocks(call, kinds, columns, read, start, stop, thread)
    else:
        context = compiled.target_context
        values = [
            _array(context, builder, kind, read(), [read() for _ in range(kind.ndim)])
            if isinstance(kind, types.Array)
            else builder.bitcast(read(), ir.DoubleType())
            for kind in kinds
        ]
        call([start, stop, thread, *values])
    builder.ret_void()
    region = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD.as_pointer()]), "cartalg_region")
    builder = ir.IRBuilder(region.append_basic_block())
    numbers = []
    for name, alone in (("omp_get_thread_num", 0), ("omp_get_num_threads", 1)):
        if openmp is None:
            numbers.append(number(alone))
            continue
        place = int(ctypes.cast(getattr(openmp, name), ctypes.c_void_p).value or 0)
        kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
        numbers.append(builder.zext(builder.call(builder.inttoptr(number(place), kind), []), WORD))
    builder.call(block, [region.args[0], *numbers])
    builder.ret_void()
    finish_library(library, module)
    return library


class _Words:
    """Reads one word after another."""

    def __init__(self, builder: Any, words: Any) -> None:
        self._builder, self._words, self._position = builder, words, 0

    def __call__(self) -> Any:
        value = self._builder.load(self._builder.gep(self._words, [number(self._position)]))
        self._position += 1
        return value


def _array(context: Any, builder: Any, kind: types.Array, address: Any, shape: Sequence[Any]) -> Any:
    """A C-contiguous array structure."""
    array = make_array(kind)(context, builder)
    data = builder.inttoptr(address, array.data.type)
    item = number(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides: list[Any] = []
    stride: Any = item
    for size in reversed(shape):
        strides.insert(0, stride)
        stride = builder.mul(stride, size)
    populate_array(array, data=data, shape=list(shape), strides=strides, itemsize=item, meminfo=None)
    return array._getvalue()


def _call_on_blocks(
    call: Callee, kinds: Sequence[types.Type], columns: Sequence[int], read: Callable[[], Any], start: Any, stop: Any,
    thread: Any,
) -> None:  # fmt: skip
    """Rows start..stop, in groups of blocks of `width` rows that are transposed into lanes and back."""
    builder, width = call.builder, kinds[0].dtype.width
    element = call.context.get_value_type(kinds[0].dtype.element)
    arrays, scratch = [], []
    for count in columns:
        arrays.append(builder.inttoptr(read(), element.as_pointer()))
        read(), read()  # the shape, known
        scratch.append(alloca_once(builder, ir.ArrayType(element, BLOCKS * abs(count) * width)))
    blocks = builder.sdiv(builder.add(builder.sub(stop, start), number(width - 1)), number(width))
    groups = builder.sdiv(builder.add(blocks, number(BLOCKS - 1)), number(BLOCKS))
    with for_range(builder, groups) as group:
        first = builder.mul(group.index, number(BLOCKS))
        left = builder.sub(blocks, first)
        size = builder.select(builder.icmp_signed("<", left, number(BLOCKS)), left, number(BLOCKS))

        def each_block(move: Callable[..., None], writes: bool) -> None:
            with for_range(builder, size) as block:
                row = builder.add(start, builder.mul(builder.add(first, block.index), number(width)))
                for array, lanes, count in zip(arrays, scratch, columns, strict=True):
                    if (count < 0) == writes:
                        at = builder.mul(block.index, number(abs(count) * width))
                        place = builder.gep(builder.bitcast(lanes, element.as_pointer()), [at])
                        move(builder, array, place, row, stop, abs(count), width)

        each_block(_rows_to_lanes, False)
        values = [
            _array(call.context, builder, kind, builder.ptrtoint(lanes, WORD), [size, number(abs(count))])
            for kind, lanes, count in zip(kinds, scratch, columns, strict=True)
        ]
        call([number(0), size, thread, *values])
        each_block(_lanes_to_rows, True)


def _vector_at(builder: Any, base: Any, at: Any, width: int) -> Any:
    """Pointer to `width` elements from an offset."""
    vector = ir.VectorType(base.type.pointee, width)
    return builder.bitcast(builder.gep(base, [at]), vector.as_pointer())


def transpose(builder: Any, vectors: Sequence[Any]) -> list[Any]:
    """A square of vectors, turned: bit after bit, row and lane numbers exchange it."""
    vectors, width = list(vectors), len(vectors)
    bit = 1
    while bit < width:
        low = [lane if not lane & bit else width + lane - bit for lane in range(width)]
        high = [lane + bit if not lane & bit else width + lane for lane in range(width)]
        masks = [ir.Constant(ir.VectorType(INDEX, width), mask) for mask in (low, high)]
        for row in range(width):
            if not row & bit:
                pair = vectors[row], vectors[row | bit]
                vectors[row], vectors[row | bit] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        bit *= 2
    return vectors


def _rows_to_lanes(builder: Any, array: Any, place: Any, row: Any, stop: Any, columns: int, width: int) -> None:
    """place[column, lane] = array[row + lane, column]; past the last row, the last row again."""
    element = array.type.pointee
    align, last = _bytes(element), builder.sub(stop, number(1))
    starts = []
    for lane in range(width):
        r = builder.add(row, number(lane))
        r = builder.select(builder.icmp_signed("<", r, last), r, last)
        starts.append(builder.mul(r, number(columns)))
    for column in range(0, columns - width + 1, width):
        tile = [_vector_at(builder, array, builder.add(s, number(column)), width) for s in starts]
        for i, lanes in enumerate(transpose(builder, [builder.load(t, align=align) for t in tile])):
            builder.store(lanes, _vector_at(builder, place, number((column + i) * width), width), align=align)
    for column in range(columns - columns % width, columns):
        for lane, s in enumerate(starts):
            value = builder.load(builder.gep(array, [builder.add(s, number(column))]))
            builder.store(value, builder.gep(place, [number(column * width + lane)]))


def _lanes_to_rows(builder: Any, array: Any, place: Any, row: Any, stop: Any, columns: int, width: int) -> None:
    """array[row + lane, column] = place[column, lane] for rows before `stop`."""
    align = _bytes(array.type.pointee)
    whole = range(0, columns - width + 1, width)
    tiles = []
    for column in whole:
        lanes = [_vector_at(builder, place, number((column + i) * width), width) for i in range(width)]
        tiles.append(transpose(builder, [builder.load(v, align=align) for v in lanes]))
    for lane in range(width):
        r = builder.add(row, number(lane))
        with builder.if_then(builder.icmp_signed("<", r, stop), likely=True):
            s = builder.mul(r, number(columns))
            for column, tile in zip(whole, tiles, strict=True):
                builder.store(
                    tile[lane], _vector_at(builder, array, builder.add(s, number(column)), width), align=align
                )
            for column in range(columns - columns % width, columns):
                value = builder.load(builder.gep(place, [number(column * width + lane)]))
                builder.store(value, builder.gep(array, [builder.add(s, number(column))]))


def _bytes(element: Any) -> int:
    """Size of a float."""
    return 8 if isinstance(element, ir.DoubleType) else 4
