"""Operators of Torch, as the engine calls them, in terms of loops."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from cartalg.export.steps import DTYPES, Loop, Storages, View

#: Operators that only name memory anew.
VIEWS = (
    "alias",
    "as_strided",
    "detach",
    "expand",
    "lift_fresh",
    "permute",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unsqueeze",
    "view",
    "_unsafe_view",
)
#: Operators that make memory and leave it as it is.
EMPTY = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
#: A last axis shorter than this is not: each line of numbers costs some nanoseconds by itself.
SHORT = 8
UNARY = {"exp": "exp", "sqrt": "sqrt", "rsqrt": "rsqrt", "sigmoid": "sigmoid", "silu": "silu"}


class NotExported(ValueError):
    """Something that has no equal in an exported library; the message says what."""


class Lowering:
    """Writes the loops of operators.

    Args:
        storages: Memory seen so far.
        emit: Takes a loop without its section.
    """

    def __init__(
        self, storages: Storages, emit: Callable[[str, tuple[int, ...], Any, tuple[float, ...]], None]
    ) -> None:
        self._storages, self._emit = storages, emit

    def __call__(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Emit the loops of an operator that has been run.

        Raises:
            NotExported: If it is not among those that are known.
        """
        base = name.removeprefix("aten.").partition(".")[0]
        if base in VIEWS or base in EMPTY:
            return
        method = getattr(self, f"_{base.strip('_')}", None)
        if base in UNARY:
            self._loop(UNARY[base], result, args[0])
        elif method is None or not isinstance(result, Tensor):
            raise NotExported(f"the operation {name}")
        else:
            method(result, *args, **{key: value for key, value in kwargs.items() if key != "out"})

    def _loop(self, code: str, out: Tensor, *inputs: Tensor, numbers: Sequence[float] = (), shape: Any = None) -> None:
        """A loop over the result's numbers, or over a larger box in which it is summed: then it has strides there."""
        box = tuple(out.shape if shape is None else shape)
        if not math.prod(box):
            return  # Torch has no address for it
        views = []
        for tensor in (out, *inputs):
            if tensor.dtype not in DTYPES:
                raise NotExported(f"numbers of type {tensor.dtype}")
            lead = len(box) - tensor.ndim
            own = zip(tensor.shape, tensor.stride(), strict=True)
            strides = [0] * lead + [0 if size == 1 else stride for size, stride in own]
            views.append(self._storages.view(tensor, strides))
        self._emit(code, box, tuple(views), tuple(map(float, numbers)))

    def _sum_over(self, out: Tensor, box: Sequence[int], axes: Sequence[int], code: str, *inputs: Tensor) -> None:
        """Sum a product, or a number, over some axes of a box."""
        self._loop("fill", out, numbers=[0])
        kept = [1 if n in axes else size for n, size in enumerate(box)]
        self._loop(code, out.reshape(kept) if out.is_contiguous() else out, *inputs, numbers=[1], shape=box)

    # copies

    def _copy(self, out: Tensor, _: Tensor, source: Tensor, non_blocking: bool = False) -> None:
        self._loop("affine", out, source, numbers=[1, 0])

    def _to_copy(self, out: Tensor, source: Tensor, **_: Any) -> None:
        self._loop("affine", out, source, numbers=[1, 0])

    def _clone(self, out: Tensor, source: Tensor, **_: Any) -> None:
        self._loop("affine", out, source, numbers=[1, 0])

    def _zero(self, out: Tensor, *_: Any, **__: Any) -> None:
        self._loop("fill", out, numbers=[0])

    _new_zeros = _zeros_like = _zeros = _zero

    def _fill(self, out: Tensor, _: Tensor, value: float) -> None:
        self._loop("fill", out, numbers=[value])

    # arithmetic

    def _mul(self, out: Tensor, a: Tensor, b: Tensor | float) -> None:
        if isinstance(b, Tensor):
            self._loop("product", out, a, b, numbers=[1])
        else:
            self._loop("affine", out, a, numbers=[b, 0])

    def _div(self, out: Tensor, a: Tensor, b: Tensor | float) -> None:
        if isinstance(b, Tensor):
            self._loop("divide", out, a, b)
        else:
            self._loop("affine", out, a, numbers=[1 / b, 0])

    def _add(self, out: Tensor, a: Tensor, b: Tensor | float, alpha: float = 1) -> None:
        if isinstance(b, Tensor):
            self._loop("combine", out, a, b, numbers=[1, alpha])
        else:
            self._loop("affine", out, a, numbers=[1, alpha * b])

    def _sub(self, out: Tensor, a: Tensor, b: Tensor | float, alpha: float = 1) -> None:
        self._add(out, a, b, -alpha)

    def _rsub(self, out: Tensor, a: Tensor, b: float, alpha: float = 1) -> None:
        self._loop("affine", out, a, numbers=[-alpha, b])

    def _neg(self, out: Tensor, a: Tensor) -> None:
        self._loop("affine", out, a, numbers=[-1, 0])

    def _addcmul(self, out: Tensor, _: Tensor, a: Tensor, b: Tensor, value: float = 1) -> None:
        self._loop("add_product", out, a, b, numbers=[value])

    def _reciprocal(self, out: Tensor, a: Tensor) -> None:
        self._loop("power", out, a, numbers=[-1])

    def _pow(self, out: Tensor, a: Tensor, exponent: float) -> None:
        self._loop("power", out, a, numbers=[exponent])

    def _clamp(self, out: Tensor, a: Tensor, low: float | None = None, high: float | None = None, **given: Any) -> None:
        least, most = given.get("min", low), given.get("max", high)
        if least is not None or most is None:
            raise NotExported("a bound from below")
        self._loop("least", out, a, numbers=[most])

    # sums

    def _sum(self, out: Tensor, a: Tensor, axes: Sequence[int] | None = None, *_: Any, **__: Any) -> None:
        self._sum_over(out, a.shape, [n % a.ndim for n in (axes or range(a.ndim))], "add", a)

    def _mean(self, out: Tensor, a: Tensor, axes: Sequence[int], *_: Any, **__: Any) -> None:
        self._sum(out, a, axes)
        count = math.prod(a.shape[n] for n in axes)
        self._loop("affine", out, out, numbers=[1 / count, 0])

    def _linalg_vector_norm(self, out: Tensor, a: Tensor, order: float, axes: Sequence[int], *_: Any) -> None:
        if order != 2:
            raise NotExported(f"a norm of order {order}")
        self._sum_over(out, a.shape, [n % a.ndim for n in axes], "add_product", a, a)
        self._loop("sqrt", out, out)

    def _mv(self, out: Tensor, matrix: Tensor, vector: Tensor) -> None:
        self._sum_over(out, matrix.shape, [1], "add_product", matrix, vector)

    def _mm(self, out: Tensor, a: Tensor, b: Tensor) -> None:
        box = (a.shape[0], a.shape[1], b.shape[1])
        self._loop("fill", out, numbers=[0])
        views = [
            self._storages.view(t, strides)
            for t, strides in ((out, (out.stride(0), 0, out.stride(1))), (a, (*a.stride(), 0)), (b, (0, *b.stride())))
        ]
        self._emit("add_product", box, tuple(views), (1.0,))

    # blocks

    def _cat(self, out: Tensor, blocks: Sequence[Tensor], axis: int = 0) -> None:
        for part, block in zip(out.split([b.shape[axis] for b in blocks], axis), blocks, strict=True):
            self._loop("affine", part, block, numbers=[1, 0])

    # rows by number

    def _rows(self, code: str, out: Tensor, source: Tensor, index: Tensor, by: Tensor) -> None:
        """One axis for rows and one for the numbers of each; the other side's rows are strides of the index's axis."""
        if any(t.ndim > 1 and not t[0].is_contiguous() for t in (out, source)) or index.ndim != 1:
            raise NotExported("rows of an array that do not lie together")
        width = math.prod(by.shape[1:])
        views = [self._storages.view(t, (t.stride(0), 1)) for t in (out, source)]
        self._emit(code, (len(index), width), (*views, self._storages.view(index, (index.stride(0), 0))), ())

    def _index(self, out: Tensor, source: Tensor, indices: Sequence[Tensor | None]) -> None:
        if len(indices) != 1 or indices[0] is None:
            raise NotExported("several indices")
        self._rows("gather", out, source, indices[0], out)

    def _index_select(self, out: Tensor, source: Tensor, axis: int, index: Tensor) -> None:
        if axis != 0:
            raise NotExported("an index of an axis that is not the first")
        self._rows("gather", out, source, index, out)

    def _index_add(self, out: Tensor, _: Tensor, axis: int, index: Tensor, source: Tensor, alpha: float = 1) -> None:
        if axis != 0 or alpha != 1:
            raise NotExported("a sum by number along an axis that is not the first")
        self._rows("scatter", out, source, index, source)

    def _index_copy(self, out: Tensor, before: Tensor, axis: int, index: Tensor, source: Tensor) -> None:
        self._loop("affine", out, before, numbers=[1, 0])
        for n, place in enumerate(index.tolist()):
            self._loop("affine", out.select(axis, place), source.select(axis, n), numbers=[1, 0])


def loop(section: str, code: str, shape: tuple[int, ...], views: Sequence[View], numbers: tuple[float, ...]) -> Loop:
    """A loop, with axes that lie together in every view taken as one, and a long one last."""
    axes = [_Axis(size, tuple(v.strides[n] for v in views)) for n, size in enumerate(shape)]
    if code not in ("gather", "scatter"):
        axes = _joined([axis for axis in axes if axis.size != 1] or axes[:1])
        if len(axes) > 1 and axes[-1].size < SHORT:
            axes = [*axes[1:], axes[0]]
    kept = tuple(v._replace(strides=tuple(axis.strides[k] for axis in axes)) for k, v in enumerate(views))
    return Loop(section, code, tuple(axis.size for axis in axes), kept, numbers)


class _Axis(NamedTuple):
    """Size of an axis, and the stride of each view along it."""

    size: int
    strides: tuple[int, ...]


def _joined(axes: Sequence[_Axis]) -> list[_Axis]:
    found = [*axes[:1]]
    for axis in axes[1:]:
        if found[-1].strides == tuple(axis.size * stride for stride in axis.strides):
            found[-1] = _Axis(found[-1].size * axis.size, axis.strides)
        else:
            found.append(axis)
    return found


def tensors_in(arguments: Iterable[Any]) -> Iterator[Tensor]:
    """Tensors among arguments, in lists of them, too."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from tensors_in(argument)


def writes(name: str) -> bool:
    """Whether an operator writes to an argument."""
    base, _, overload = name.removeprefix("aten.").partition(".")
    return base.endswith("_") or overload == "out" or overload.endswith("_out")
