"""Sparse polynomials over Q in many variables: numbers to run emitted source on, so that its results are identities.

Kernels have hundreds of variables and short terms, so a monomial is the sorted tuple of its variables. Only exact
numbers enter: int, Fraction, fmpq and polynomials. A float, a truth value or a number of NumPy raises TypeError.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from flint import fmpq

Monomial = tuple[int, ...]


class Disproved(AssertionError):
    """An emitted file that is not what its rule says."""


def require(condition: bool, what: str) -> None:
    """Raise Disproved unless the condition holds."""
    if not condition:
        raise Disproved(what)


def exact(value: object) -> fmpq:
    """A rational number of an exact type.

    Raises:
        TypeError: If it is of any other type: 2.9, True and numpy.int64(2) are.
    """
    kind = type(value)
    if kind is fmpq:
        return value
    if kind is int:
        return fmpq(value)
    if kind is Fraction:
        return fmpq(value.numerator, value.denominator)  # type: ignore[attr-defined]
    raise TypeError(f"{value!r} is no exact number but of type {kind.__name__}")


class Sparse:
    """A polynomial: {monomial: coefficient}, no zero coefficients.

    Long sums are added up when they are looked at, so that a sum of n terms costs n steps in whatever order it is made.
    """

    __slots__ = ("_parts", "_terms")

    def __init__(self, terms: dict[Monomial, fmpq] | None, parts: "tuple[Sparse, Sparse] | None" = None) -> None:
        self._terms, self._parts = terms, parts

    @property
    def terms(self) -> dict[Monomial, fmpq]:
        """{monomial: coefficient}: not to be changed."""
        if self._terms is None:
            total: dict[Monomial, fmpq] = {}
            waiting: list[Sparse] = [self]
            while waiting:
                part = waiting.pop()
                if part._terms is None:
                    waiting += part._parts  # type: ignore[arg-type]
                    continue
                for monomial, c in part._terms.items():
                    total[monomial] = total[monomial] + c if monomial in total else c
            self._terms, self._parts = {m: c for m, c in total.items() if c}, None
        return self._terms

    @staticmethod
    def of(value: Any) -> "Sparse":
        """A number as a constant polynomial; a polynomial as itself. Raises TypeError for what is not exact."""
        if type(value) is Sparse:
            return value
        number = exact(value)
        return Sparse({(): number} if number else {})

    def __add__(self, other: Any) -> "Sparse":
        second = Sparse.of(other)
        if self._terms is None or second._terms is None or len(self._terms) + len(second._terms) > 24:
            return Sparse(None, (self, second))
        small, large = self._terms, second._terms
        if len(small) > len(large):
            small, large = large, small
        total = dict(large)
        for monomial, c in small.items():
            value = total.get(monomial)
            if value is None:
                total[monomial] = c
            elif value + c:
                total[monomial] = value + c
            else:
                del total[monomial]
        return Sparse(total)

    def __mul__(self, other: Any) -> "Sparse":
        if type(other) is not Sparse:
            factor = exact(other)
            return Sparse({m: c * factor for m, c in self.terms.items()} if factor else {})
        first, second = self.terms, other.terms
        if len(first) < len(second):
            first, second = second, first
        if len(second) == 1:
            ((n, d),) = second.items()
            if not n:
                return Sparse({m: c * d for m, c in first.items()})
            return Sparse({tuple(sorted(m + n)): c * d for m, c in first.items()})
        total: dict[Monomial, fmpq] = {}
        for n, d in second.items():
            for m, c in first.items():
                key = tuple(sorted(m + n))
                total[key] = total[key] + c * d if key in total else c * d
        return Sparse({m: c for m, c in total.items() if c})

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> "Sparse":
        return Sparse({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Any) -> "Sparse":
        return self + -Sparse.of(other)

    def __rsub__(self, other: Any) -> "Sparse":
        return Sparse.of(other) + -self

    def __eq__(self, other: object) -> bool:
        return self.terms == Sparse.of(other).terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __bool__(self) -> bool:
        raise TypeError("a polynomial is neither true nor false")

    def at(self, values: dict[int, fmpq]) -> Any:
        """The polynomial with numbers (or polynomials) in the place of variables; every variable must have one."""
        total: Any = fmpq(0)
        for monomial, c in self.terms.items():
            for variable in monomial:
                c = values[variable] * c
            total = total + c
        return total


class Space:
    """Makes variables, slot by slot."""

    def __init__(self) -> None:
        self.count = 0

    def variable(self) -> Sparse:
        """A new variable."""
        self.count += 1
        return Sparse({(self.count - 1,): fmpq(1)})

    def variables(self, *shape: int) -> np.ndarray:
        """An array of new variables."""
        flat = np.empty(int(np.prod(shape, dtype=int)), dtype=object)
        flat[:] = [self.variable() for _ in range(flat.size)]
        return flat.reshape(shape)


def number(variable: Sparse) -> int:
    """The number of a variable."""
    ((index,),) = variable.terms
    return index


def gradient(functions: Iterable[Any], weights: Iterable[Any], slots: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """d/d(slot) of sum_k weights_k functions_k, for every slot, in one pass over the terms.

    A variable of no slot is a constant.
    """
    place = {number(v): (name, i) for name, array in slots.items() for i, v in enumerate(array.reshape(-1))}
    parts: dict[tuple[str, int], dict[Monomial, fmpq]] = {}
    for f, w in zip(functions, weights, strict=True):
        for factor, d in Sparse.of(w).terms.items():
            for monomial, c in Sparse.of(f).terms.items():
                for position, variable in enumerate(monomial):
                    if variable in place:
                        key = tuple(sorted((*monomial[:position], *monomial[position + 1 :], *factor)))
                        part = parts.setdefault(place[variable], {})
                        part[key] = part[key] + c * d if key in part else c * d
    result = {}
    for name, array in slots.items():
        flat = np.empty(array.size, dtype=object)
        flat[:] = [Sparse({m: c for m, c in parts.get((name, i), {}).items() if c}) for i in range(array.size)]
        result[name] = flat.reshape(array.shape)
    return result


def tangent(functions: np.ndarray, slots: dict[str, np.ndarray], moves: dict[str, np.ndarray]) -> np.ndarray:
    """The directional derivative of every function when the variables of the slots move by `moves`."""
    direction = {}
    for name, array in slots.items():
        if name in moves:
            pairs = zip(array.reshape(-1), moves[name].reshape(-1), strict=True)
            direction.update({number(v): Sparse.of(m).terms for v, m in pairs})
    flat = np.empty(functions.size, dtype=object)
    for k, f in enumerate(functions.reshape(-1)):
        total: dict[Monomial, fmpq] = {}
        for monomial, c in Sparse.of(f).terms.items():
            for position, variable in enumerate(monomial):
                for factor, d in direction.get(variable, {}).items():
                    key = tuple(sorted((*monomial[:position], *monomial[position + 1 :], *factor)))
                    total[key] = total[key] + c * d if key in total else c * d
        flat[k] = Sparse({m: c for m, c in total.items() if c})
    return flat.reshape(functions.shape)


def same(ours: np.ndarray, reference: np.ndarray) -> bool:
    """Whether two arrays hold the same polynomials."""
    return ours.shape == reference.shape and all(
        Sparse.of(a) == Sparse.of(b) for a, b in zip(ours.reshape(-1), reference.reshape(-1), strict=True)
    )
