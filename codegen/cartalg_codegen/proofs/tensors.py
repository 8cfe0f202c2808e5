"""The part of Torch that emitted code uses, on arrays of exact numbers; anything else fails.

A division by zero fails as well: Torch would go on with infinity, and lose the gradient of every other edge.
"""

from typing import Any

import numpy as np
from flint import fmpq

from cartalg_codegen.proofs.identities import Disproved, Sparse, require

INT64 = "int64"
_REAL, _BOOL = "real", "bool"


class Tensor:
    """An array of exact numbers, of whole numbers, or of truth values.

    Attributes:
        values: As an array of NumPy's, of objects or of int64 or bool.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: np.ndarray, arithmetic: Any) -> None:
        self.values, self._arithmetic = values, arithmetic

    def _new(self, values: Any) -> "Tensor":
        return Tensor(np.asarray(values), self._arithmetic)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return self.values.shape

    @property
    def dtype(self) -> str:
        """real, int64 or bool."""
        return {"O": _REAL, "i": INT64, "b": _BOOL}[self.values.dtype.kind]

    def _other(self, other: Any) -> Any:
        if isinstance(other, Tensor):
            return other.values
        if type(other) is int:
            return other
        if type(other) in (fmpq, Sparse):
            # in an array, for NumPy to leave it alone
            found = np.empty((), dtype=object)
            found[()] = other
            return found
        raise TypeError(f"{other!r} is no exact number but of type {type(other).__name__}")

    def _operate(self, other: Any, operation: Any) -> "Tensor":
        kinds = {self.dtype, other.dtype if isinstance(other, Tensor) else INT64}
        require(_BOOL not in kinds, "arithmetic with truth values")
        return self._new(operation(self.values, self._other(other)))

    def __add__(self, other: Any) -> "Tensor":
        return self._operate(other, np.add)

    def __mul__(self, other: Any) -> "Tensor":
        return self._operate(other, np.multiply)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other: Any) -> "Tensor":
        return self._operate(other, np.subtract)

    def __rsub__(self, other: Any) -> "Tensor":
        return self._operate(other, lambda a, b: np.subtract(b, a))

    def __neg__(self) -> "Tensor":
        return self._new(-self.values)

    def __getitem__(self, at: Any) -> "Tensor":
        parts = at if type(at) is tuple else (at,)
        return self._new(self.values[tuple(_index(part) for part in parts)])

    def detach(self) -> "Tensor":
        """The same values."""
        return self

    def floor(self) -> "Tensor":
        """The whole number below each; no number here is negative."""
        require(all(self._arithmetic.value(v) >= 0 for v in self.values.reshape(-1)), "the floor of a negative number")
        return self._new(_each(lambda v: fmpq(self._arithmetic.whole(v)), self.values))

    def clamp(self, min: Any = None, max: Any = None) -> "Tensor":
        """Not below `min`, not above `max`."""
        value = self._arithmetic.value

        def one(v: Any) -> Any:
            if min is not None and value(v) < value(min):
                v = fmpq(min)
            return fmpq(max) if max is not None and value(max) < value(v) else v

        return self._new(_each(one, self.values))

    def to(self, dtype: str) -> "Tensor":
        """As numbers of another kind; whole numbers only from whole numbers."""
        if dtype == self.dtype:
            return self
        if dtype == _REAL:
            return self._new(_each(lambda v: fmpq(int(v)), self.values))
        require(dtype == INT64 and self.dtype == _REAL, f"{self.dtype} as {dtype}")
        whole = [self._arithmetic.value(v) for v in self.values.reshape(-1)]
        require(all(v.q == 1 for v in whole), "a number that is not whole, cut")
        return self._new(np.array([int(v.p) for v in whole], dtype=np.int64).reshape(self.shape))

    def sum(self, dim: int, keepdim: bool = False) -> "Tensor":
        """Along one axis."""
        return self._new(self.values.sum(dim, keepdims=keepdim))

    def unbind(self, dim: int) -> list["Tensor"]:
        """The parts along an axis."""
        return [self._new(part) for part in np.moveaxis(self.values, dim, 0)]

    def index_select(self, dim: int, index: "Tensor") -> "Tensor":
        """Rows, by number."""
        require(index.dtype == INT64, "rows are not chosen by whole numbers")
        return self._new(np.take(self.values, index.values, axis=dim))

    def index_add(self, dim: int, index: "Tensor", source: "Tensor") -> "Tensor":
        """Rows added to rows, by number, along the first axis."""
        require(dim == 0 and index.dtype == INT64, "rows are not added by whole numbers along axis 0")
        require(
            self.shape[1:] == source.shape[1:] and index.shape == source.shape[:1], "rows of other shapes are added"
        )
        result = self.values.copy()
        for n, row in enumerate(index.values):
            require(0 <= row < len(result), "adds to a row that is not there")
            result[row] = result[row] + source.values[n]
        return self._new(result)


def _index(part: Any) -> Any:
    if isinstance(part, Tensor):
        require(part.dtype == INT64, "an index of something other than whole numbers")
        return part.values
    whole = type(part) is slice and part.step is None
    if part is None or part is Ellipsis or type(part) is int or whole:
        return part
    raise Disproved(f"{part!r} as an index")


def _each(function: Any, values: np.ndarray) -> np.ndarray:
    found = np.empty(values.shape, dtype=object)
    flat = found.reshape(-1)
    flat[:] = [function(v) for v in values.reshape(-1)]
    return flat.reshape(values.shape)


class Torch:
    """The module `torch`, as far as emitted code uses it."""

    int64 = INT64

    def __init__(self, arithmetic: Any) -> None:
        self._arithmetic = arithmetic

    def tensor(self, values: np.ndarray) -> Tensor:
        """An array as a tensor."""
        return Tensor(values, self._arithmetic)

    def stack(self, parts: Any, dim: int = 0) -> Tensor:
        """Parts along a new axis."""
        return self.tensor(np.stack([p.values for p in _tensors(parts)], axis=dim))

    def sqrt(self, of: Tensor) -> Tensor:
        """The root of each; none is of zero, where it has no derivative."""
        require(all(self._arithmetic.value(v) != 0 for v in of.values.reshape(-1)), "the square root of zero")
        return self.tensor(_each(self._arithmetic.sqrt, of.values))

    def zeros_like(self, like: Tensor) -> Tensor:
        """Zeros."""
        return self.full_like(like, 0)

    def ones_like(self, like: Tensor) -> Tensor:
        """Ones."""
        return self.full_like(like, 1)

    def full_like(self, like: Tensor, value: Any) -> Tensor:
        """One value everywhere."""
        number = value if type(value) in (fmpq, Sparse) else fmpq(value)
        return self.tensor(_each(lambda _: number, like.values))

    def where(self, condition: Tensor, yes: Any, no: Any) -> Tensor:
        """Element by element."""
        require(condition.dtype == _BOOL, "a choice by something other than truth values")
        values = [v.values if isinstance(v, Tensor) else self.full_like(condition, v).values for v in (yes, no)]
        return self.tensor(np.where(condition.values, *values))

    def less(self, site: int, a: Any, b: Any) -> Tensor:
        """a < b, element by element."""
        x, y = np.broadcast_arrays(*(v.values if isinstance(v, Tensor) else np.array(v, dtype=object) for v in (a, b)))
        value = self._arithmetic.value
        flat = [value(p) < value(q) for p, q in zip(x.reshape(-1), y.reshape(-1), strict=True)]
        return self.tensor(np.array(flat, dtype=bool).reshape(x.shape))

    def quotient(self, a: Any, b: Any) -> Any:
        """a / b, element by element; b is nowhere zero."""

        def one(p: Any, q: Any) -> Any:
            found = self._arithmetic.quotient(p, q)
            require(type(found) in (fmpq, Sparse), "divides by zero")
            return found

        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            return one(a, b)
        x, y = np.broadcast_arrays(*(v.values if isinstance(v, Tensor) else np.array(v, dtype=object) for v in (a, b)))
        flat = np.empty(x.size, dtype=object)
        flat[:] = [one(p, q) for p, q in zip(x.reshape(-1), y.reshape(-1), strict=True)]
        return self.tensor(flat.reshape(x.shape))


def _tensors(parts: Any) -> list[Tensor]:
    found = list(parts)
    require(bool(found) and all(isinstance(p, Tensor) for p in found), "something other than tensors is put together")
    return found
