"""Sparse polynomials over Q in many variables: numbers to run emitted source on, so that its results are identities.

Kernels have hundreds of variables and short terms, so a monomial is the sorted tuple of its variables.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from flint import fmpq

Monomial = tuple[int, ...]


class Sparse:
    """A polynomial: {monomial: coefficient}, no zero coefficients."""

    __slots__ = ("terms",)

    def __init__(self, terms: dict[Monomial, fmpq]) -> None:
        self.terms = terms

    @staticmethod
    def of(value: Any) -> "Sparse":
        """A number as a constant polynomial; a polynomial as itself."""
        if isinstance(value, Sparse):
            return value
        if isinstance(value, Fraction):
            value = fmpq(value.numerator, value.denominator)
        elif not isinstance(value, fmpq):
            value = fmpq(int(value))
        return Sparse({(): value} if value else {})

    def __add__(self, other: Any) -> "Sparse":
        small, large = sorted((self.terms, Sparse.of(other).terms), key=len)
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
        second = Sparse.of(other).terms
        if not second or not self.terms:
            return Sparse({})
        if len(second) == 1 and () in second:
            factor = second[()]
            return Sparse({m: c * factor for m, c in self.terms.items()})
        total: dict[Monomial, fmpq] = {}
        for m, c in self.terms.items():
            for n, d in second.items():
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


class Space:
    """Makes variables, slot by slot, and differentiates with respect to them."""

    def __init__(self) -> None:
        self.count = 0

    def variables(self, *shape: int) -> np.ndarray:
        """An array of new variables."""
        size = int(np.prod(shape, dtype=int))
        flat = np.empty(size, dtype=object)
        for i in range(size):
            flat[i] = Sparse({(self.count + i,): fmpq(1)})
        self.count += size
        return flat.reshape(shape)


def number(variable: Sparse) -> int:
    """The number of a variable."""
    ((index,),) = variable.terms
    return index


def gradient(functions: np.ndarray, weights: np.ndarray, slots: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """d/d(slot) of sum_k weights_k functions_k, for every slot, in one pass over the terms.

    A variable of no slot is a constant.
    """
    place = {number(v): (name, i) for name, array in slots.items() for i, v in enumerate(array.reshape(-1))}
    parts: dict[tuple[str, int], dict[Monomial, fmpq]] = {}
    for f, w in zip(functions.reshape(-1), weights.reshape(-1), strict=True):
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
        for i in range(array.size):
            flat[i] = Sparse({m: c for m, c in parts.get((name, i), {}).items() if c})
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
