"""Arrays of exact numbers as compiled code sees them: every index is in its range, nothing is read before it is set.

Three kinds, as in a call of a Numba kernel: *real* arrays, *lane* arrays, whose last axis is channels, and *index*
arrays of whole numbers. Where channels are taken `width` at a time, a lane array holds `Lanes`; lanes become one real
number by being summed, as `cartalg.ops` compiles it.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from flint import fmpq

from cartalg_codegen.proofs.identities import Disproved, Sparse, exact, require

REAL, LANE, INDEX = "real", "lane", "index"


class Unset:
    """A number that has not been set: it can be kept, and nothing else."""

    def __repr__(self) -> str:
        return "a number that was never set"


UNSET = Unset()


class Lanes:
    """Exact numbers side by side, added and multiplied element by element."""

    __slots__ = ("values",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values

    def _pairs(self, other: Any) -> Iterator[tuple[Any, Any]]:
        if type(other) is Lanes:
            return zip(self.values, other.values, strict=True)
        value = number(other)
        return ((v, value) for v in self.values)

    def __add__(self, other: Any) -> "Lanes":
        return Lanes(tuple(a + b for a, b in self._pairs(other)))

    def __mul__(self, other: Any) -> "Lanes":
        return Lanes(tuple(a * b for a, b in self._pairs(other)))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> "Lanes":
        return Lanes(tuple(-a for a in self.values))

    def __sub__(self, other: Any) -> "Lanes":
        return Lanes(tuple(a - b for a, b in self._pairs(other)))

    def __rsub__(self, other: Any) -> "Lanes":
        return Lanes(tuple(b - a for a, b in self._pairs(other)))


def number(value: Any) -> Any:
    """A number that an array of real numbers may hold. Raises TypeError for others."""
    kind = type(value)
    return value if kind is fmpq or kind is Sparse else exact(value)


class DType:
    """What `array.dtype` is: its `type` turns a value into one that the array holds."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def type(self, value: Any) -> Any:
        """As the element type of a compiled array: whole numbers stay whole, lanes are summed for a real number."""
        if self.kind == INDEX:
            require(type(value) is int, f"{value!r} is cut to a whole number")
            return value
        if type(value) is Lanes:
            return value if self.kind == LANE else sum(value.values[1:], value.values[0])
        return number(value)


class Array:
    """Cells in a box.

    Args:
        name: For messages.
        cells: Values, or UNSET.
        kind: REAL, LANE or INDEX.
        writable: False for what a kernel only reads.
    """

    __slots__ = ("_cells", "dtype", "name", "shape", "width", "writable")

    def __init__(self, name: str, cells: np.ndarray, kind: str, writable: bool = True, width: int = 0) -> None:
        self.name, self.writable, self.width = name, writable, width
        self.shape, self.dtype = tuple(map(int, cells.shape)), DType(kind)
        self._cells = {at: cells[at] for at in product(*map(range, self.shape))}

    def _wrong(self, at: Any, what: str) -> Disproved:
        return Disproved(
            f"{what} {self.name}{list(at) if isinstance(at, tuple) else [at]}, of shape {list(self.shape)}"
        )

    def __getitem__(self, at: Any) -> Any:
        if type(at) is not tuple:
            at = (at,)
        elif type(at[-1]) is slice:
            return self._row(at)
        for i in at:
            if type(i) is not int:
                raise self._wrong(at, "no whole number is the index of")
        try:
            value = self._cells[at]
        except KeyError:
            raise self._wrong(at, "there is no") from None
        if value is UNSET:
            raise self._wrong(at, "reads before it is set")
        return value

    def _row(self, at: tuple[Any, ...]) -> "RowOf":
        first, last = at[-1].start, at[-1].stop
        fine = at[-1].step is None and all(type(i) is int for i in (*at[:-1], first, last))
        if not fine or len(at) != len(self.shape) or not 0 <= first <= last <= self.shape[-1]:
            raise self._wrong(at, "there is no slice")
        return RowOf(self, at[:-1], first, last - first)

    def __setitem__(self, at: Any, value: Any) -> None:
        if type(at) is not tuple:
            at = (at,)
        for i in at:
            if type(i) is not int:
                raise self._wrong(at, "no whole number is the index of")
        if at not in self._cells:
            raise self._wrong(at, "there is no")
        if not self.writable:
            raise self._wrong(at, "writes to")
        if type(value) is not Sparse:
            value = self.dtype.type(value)
            if self.width and self.dtype.kind == LANE and type(value) is not Lanes:
                value = Lanes((value,) * self.width)
        elif self.dtype.kind == INDEX:
            raise self._wrong(at, "sets to a real number")
        self._cells[at] = value

    @property
    def cells(self) -> np.ndarray:
        """All values."""
        found = np.empty(self.shape, dtype=object)
        for at, value in self._cells.items():
            found[at] = value
        return found


class RowOf:
    """A part of a row of an array: the same numbers, seen from another place."""

    __slots__ = ("_array", "_before", "_start", "dtype", "shape")

    def __init__(self, array: Array, before: tuple[int, ...], start: int, count: int) -> None:
        self._array, self._before, self._start = array, before, start
        self.shape, self.dtype = (count,), array.dtype

    def _at(self, at: Any) -> tuple[int, ...]:
        require(type(at) is int and 0 <= at < self.shape[0], f"there is no {at} in a row of {self._array.name}")
        return (*self._before, self._start + at)

    def __getitem__(self, at: Any) -> Any:
        return self._array[self._at(at)]

    def __setitem__(self, at: Any, value: Any) -> None:
        self._array[self._at(at)] = value


class NumPy:
    """The part of NumPy that emitted code uses."""

    int64 = DType(INDEX)

    def __init__(self, sqrt: Callable[[Any], Any], width: int = 0) -> None:
        self.sqrt, self._width = sqrt, width

    def empty(self, shape: Any, dtype: DType) -> Array:
        """An array of which nothing is set."""
        sizes = shape if type(shape) is tuple else (shape,)
        require(all(type(n) is int and n >= 0 for n in sizes), f"an array of shape {shape}")
        return Array("scratch", np.full(sizes, UNSET, dtype=object), dtype.kind, True, self._width)


def to_lanes(cells: np.ndarray, width: int) -> np.ndarray:
    """[.., channels] -> [.., channels / width] of lanes."""
    found = np.empty((*cells.shape[:-1], cells.shape[-1] // width), dtype=object)
    for at in np.ndindex(found.shape):
        found[at] = Lanes(tuple(cells[(*at[:-1], at[-1] * width + i)] for i in range(width)))
    return found


def from_lanes(cells: np.ndarray, width: int) -> np.ndarray:
    """The inverse of `to_lanes`."""
    found = np.empty((*cells.shape[:-1], cells.shape[-1] * width), dtype=object)
    for at in np.ndindex(cells.shape):
        lanes: Lanes = cells[at]  # type: ignore[assignment]
        for i, value in enumerate(lanes.values):
            found[(*at[:-1], at[-1] * width + i)] = value
    return found
