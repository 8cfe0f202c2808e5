"""The machine code between a block of words and an emitted function, written in LLVM's words.

An entry reads addresses and sizes and calls the function on a thread's share of the rows. For a kernel that has no
channels (harmonics) it makes lanes of rows: it transposes sixteen rows at a time into lanes, calls, and transposes
back, so that the same emitted code runs on sixteen vectors at once.

Words: rows; addresses of omp_get_thread_num and omp_get_num_threads, or 0; then the arguments: address and sizes of
    an array, or the bits of a double.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from cartalg_codegen.backends.numba.values import Kind, Precision

WORD = ir.IntType(64)
INDEX = ir.IntType(32)
#: Blocks of rows that one call of a function takes where lanes are rows.
BLOCKS = 4


def number(value: int) -> Any:
    """A 64-bit constant."""
    return ir.Constant(WORD, value)


def entry(label: str, kinds: Sequence[Kind], columns: Sequence[int], precision: Precision) -> str:
    """LLVM assembly of ``cartalg_block(words, thread, threads)`` and ``cartalg_region(words)``.

    Args:
        label: The function, with arguments (start, stop, thread, *kinds).
        kinds: Types of the arguments after the first three.
        columns: For each, 0, or where lanes are rows the number of columns, negative if the array is written.
        precision: Of reals and lanes.
    """
    module = ir.Module("cartalg_entry")
    element = ir.FloatType() if precision.bits == 32 else ir.DoubleType()
    call = _Call(module, label, kinds)
    block = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD.as_pointer(), WORD, WORD]), "cartalg_block")
    builder = ir.IRBuilder(block.append_basic_block())
    words, thread, threads = block.args
    read = _Words(builder, words)
    rows = read()
    read(), read()
    start = builder.sdiv(builder.mul(rows, thread), threads)
    stop = builder.sdiv(builder.mul(rows, builder.add(thread, number(1))), threads)
    if any(columns):
        _call_on_blocks(call, builder, columns, read, start, stop, thread, element, precision.width)
    else:
        values: list[Any] = []
        for kind in kinds:
            word = read()
            values.append(builder.inttoptr(word, POINTER) if kind.axes else builder.bitcast(word, ir.DoubleType()))
            values += [read() for _ in range(kind.axes)]
        call(builder, [start, stop, thread, *values])
    builder.ret_void()
    _region(module, block)
    text = str(module)
    text = text[text.index("define") :].replace(call.declaration, "")
    return text.replace(")\n{", ') nounwind "no-builtins"\n{')  # as what it calls, to be inlined


POINTER = ir.IntType(8).as_pointer()


def _region(module: ir.Module, block: Any) -> None:
    """The block for the thread that asks, by the functions whose addresses are words 1 and 2."""
    region = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD.as_pointer()]), "cartalg_region")
    builder = ir.IRBuilder(region.append_basic_block())
    kind, numbers = ir.FunctionType(ir.IntType(32), []).as_pointer(), []
    for place in (1, 2):
        address = builder.load(builder.gep(region.args[0], [number(place)]))
        numbers.append(builder.zext(builder.call(builder.inttoptr(address, kind), []), WORD))
    builder.call(block, [region.args[0], *numbers])
    builder.ret_void()


class _Words:
    """Reads one word after another."""

    def __init__(self, builder: Any, words: Any) -> None:
        self._builder, self._words, self._position = builder, words, 0

    def __call__(self) -> Any:
        value = self._builder.load(self._builder.gep(self._words, [number(self._position)]))
        self._position += 1
        return value


class _Call:
    """Calls of a function that is defined elsewhere: an array is a pointer and its sizes."""

    def __init__(self, module: ir.Module, label: str, kinds: Sequence[Kind]) -> None:
        arguments = [WORD] * 3
        for kind in kinds:
            arguments += [POINTER, *[WORD] * kind.axes] if kind.axes else [ir.DoubleType()]
        self._function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), label)

    @property
    def declaration(self) -> str:
        """What the module says of the function."""
        return str(self._function)

    def __call__(self, builder: Any, values: Sequence[Any]) -> None:
        builder.call(self._function, values)


@contextmanager
def _range(builder: Any, count: Any) -> Iterator[Any]:
    """A loop from 0 to below `count`; its number."""
    before = builder.block
    test, body, after = (builder.append_basic_block(name) for name in ("test", "body", "after"))
    builder.branch(test)
    builder.position_at_end(test)
    index = builder.phi(WORD)
    index.add_incoming(number(0), before)
    builder.cbranch(builder.icmp_signed("<", index, count), body, after)
    builder.position_at_end(body)
    yield index
    index.add_incoming(builder.add(index, number(1)), builder.block)
    builder.branch(test)
    builder.position_at_end(after)


def _alloca(builder: Any, kind: Any) -> Any:
    """Memory in the first block, where it is taken once."""
    with builder.goto_entry_block():
        memory = builder.alloca(kind)
        memory.align = 64
        return memory


def _call_on_blocks(
    call: _Call,
    builder: Any,
    columns: Sequence[int],
    read: _Words,
    start: Any,
    stop: Any,
    thread: Any,
    element: Any,
    width: int,
) -> None:
    """Rows start..stop, in groups of blocks of `width` rows that are transposed into lanes and back."""
    arrays, scratch = [], []
    for count in columns:
        arrays.append(builder.inttoptr(read(), element.as_pointer()))
        read(), read()  # the shape, known
        scratch.append(_alloca(builder, ir.ArrayType(element, BLOCKS * abs(count) * width)))
    blocks = builder.sdiv(builder.add(builder.sub(stop, start), number(width - 1)), number(width))
    groups = builder.sdiv(builder.add(blocks, number(BLOCKS - 1)), number(BLOCKS))
    with _range(builder, groups) as group:
        first = builder.mul(group, number(BLOCKS))
        left = builder.sub(blocks, first)
        size = builder.select(builder.icmp_signed("<", left, number(BLOCKS)), left, number(BLOCKS))

        def each_block(move: Callable[..., None], writes: bool) -> None:
            with _range(builder, size) as block:
                row = builder.add(start, builder.mul(builder.add(first, block), number(width)))
                for array, lanes, count in zip(arrays, scratch, columns, strict=True):
                    if (count < 0) == writes:
                        at = builder.mul(block, number(abs(count) * width))
                        place = builder.gep(builder.bitcast(lanes, element.as_pointer()), [at])
                        move(builder, array, place, row, stop, abs(count), width)

        each_block(_rows_to_lanes, False)
        values: list[Any] = []
        for lanes, count in zip(scratch, columns, strict=True):
            values += [builder.bitcast(lanes, POINTER), size, number(abs(count))]
        call(builder, [number(0), size, thread, *values])
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
