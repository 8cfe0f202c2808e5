"""Arrays of one shape, side by side, in bases of their axes, and second moments along these: by the `linear` kernel.

The kernel takes rows of one array times matrices that are rows of another, so an axis is rotated where it is. It runs
at the peak of a core; Torch's batched products run at two fifths of it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor

from cartalg.ops import bind, open_kernels
from cartalg_codegen.specs import LinearSpec

Call = Callable[[], object]
#: A result of the kernel is as wide as lanes, or a multiple of that; others are slow, which matters for moments alone.
LANES = 16
#: Multiply-adds that another thread is worth its waiting for: some 8 us of a core.
PER_THREAD = 1_000_000


class Stack:
    """Gradients [count, ..], the same in rotated coordinates, and moves, which are rotated back.

    Args:
        axes: Those that are rotated, of 1, 2, ..
        given, numbers, moves: The arrays, of one shape, contiguous.
    """

    def __init__(self, axes: Sequence[int], given: Tensor, numbers: Tensor, moves: Tensor) -> None:
        self.axes, self.given, self.numbers, self.moves = list(axes), given, numbers, moves
        # bases for one way and the other: [count, size, size] as matrices or, as rows, [size, count, size]
        self._there, self._back = self._bases(), self._bases()
        self._rotate = [*self._chain(given, numbers, self._there, self.axes[::-1])]
        self._rotate_back = [*self._chain(numbers, moves, self._back, self.axes)]

    def no_moments(self) -> list[Tensor]:
        """Zeros [count, size, size] for each axis that is rotated."""
        return [self.given.new_zeros(len(self.given), size, size) for size in self._sizes]

    def take(self, bases: Sequence[Tensor]) -> None:
        """Rotate with these from now on, [count, size, size] for each axis: columns are directions."""
        for axis, basis, there, back in zip(self.axes, bases, self._there, self._back, strict=True):
            turned = (0, 1, 2) if self._is_last(axis) else (2, 0, 1)
            there.copy_(basis.permute(turned))
            back.copy_(basis.mT.permute(turned))

    def rotate(self) -> None:
        """Gradients into rotated coordinates."""
        for call in self._rotate:
            call()

    def rotate_back(self) -> None:
        """Numbers in rotated coordinates, into moves."""
        for call in self._rotate_back:
            call()

    def moments(self, moments: Sequence[Tensor], decay: float) -> list[Call]:
        """Calls that let the second moments of gradients along each axis go on, once."""
        calls: list[Call] = []
        for axis, moment in zip(self.axes, moments, strict=True):
            calls += self._moment(self._around(self.given, axis), moment, decay)
        return calls

    @property
    def _sizes(self) -> list[int]:
        return [self.given.shape[axis] for axis in self.axes]

    def _is_last(self, axis: int) -> bool:
        return axis == self.given.ndim - 1

    def _bases(self) -> list[Tensor]:
        count = len(self.given)
        return [
            self.given.new_empty((count, size, size) if self._is_last(axis) else (size, count, size))
            for axis, size in zip(self.axes, self._sizes, strict=True)
        ]

    @staticmethod
    def _around(array: Tensor, axis: int) -> Tensor:
        """The array as [count, before, size, after] of an axis."""
        before, after = prod(array.shape[1:axis]), prod(array.shape[axis + 1 :])
        return array.view(len(array), before, array.shape[axis], after)

    def _chain(self, source: Tensor, goal: Tensor, bases: Sequence[Tensor], axes: Sequence[int]) -> Iterable[Call]:
        """Calls that rotate axes, one after the other."""
        by_axis = dict(zip(self.axes, bases, strict=True))
        if not axes:
            yield partial(goal.copy_, source)
        for axis in axes:
            target = goal if axis == axes[-1] else torch.empty_like(goal)
            count, before, size, after = self._around(source, axis).shape
            if self._is_last(axis):
                # rows of all arrays beside each other: [before, count, size]
                rows = source.view(count, before, size).transpose(0, 1)
                x = rows.contiguous()
                if x.data_ptr() != rows.data_ptr():
                    yield partial(x.copy_, rows)
                lines = [[1, c * size, 0, size, c * size, c * before, 1, 0] for c in range(count)]
                yield _product(x.view(before, -1), by_axis[axis].view(-1, size), target.view(-1, size), lines)
            else:
                x = by_axis[axis]
                lines = [[1, n // before * size, 0, size, n * size, n * size, 1, 0] for n in range(count * before)]
                yield _product(x.view(size, -1), source.view(-1, after), target.view(-1, after), lines)
            source = target

    @staticmethod
    def _moment(array: Tensor, moment: Tensor, decay: float) -> Iterable[Call]:
        """Calls that let a moment [count, size, size] go on, of an array [count, before, size, after]."""
        count, before, size, after = array.shape
        if size % LANES:
            rows = array.transpose(1, 2).reshape(count, size, -1)
            again = rows.view(count, size, before, after)
            if again.data_ptr() != array.data_ptr():
                yield partial(again.copy_, array.transpose(1, 2))
            yield partial(moment.baddbmm_, rows, rows.mT, beta=decay, alpha=1 - decay)
            return
        depth = before * after
        rows, columns = array.new_empty(size, count, before, after), array.transpose(2, 3)
        yield partial(torch.mul, array.permute(2, 0, 1, 3), 1 - decay, out=rows)
        matrix = columns.contiguous()
        if matrix.data_ptr() != array.data_ptr():
            yield partial(matrix.copy_, columns)
        yield partial(moment.mul_, decay)
        lines = [[1, c * depth, 0, depth, c * depth, c * size, 1, 1] for c in range(count)]
        yield _product(rows.view(size, -1), matrix.view(-1, size), moment.view(-1, size), lines)


def _product(x: Tensor, weight: Tensor, out: Tensor, lines: Sequence[Sequence[int]]) -> Call:
    """A call of the kernel: lines are what it reads, its rows are shared out to threads if there is work for them."""
    layout = torch.tensor(lines, dtype=torch.int64)
    tensors = {"x": x, "weight": weight, "out": out[None]}
    work = len(x) * weight.shape[-1] * int(layout[:, 3].sum())
    threads = max(1, min(torch.get_num_threads(), work // PER_THREAD))
    return bind(open_kernels(None), LinearSpec(), "forward", {"layout": layout}, tensors, threads)
