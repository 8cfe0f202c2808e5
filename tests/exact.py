"""Emitted source over the rationals and over dual numbers, for tests."""

from fractions import Fraction

import numpy as np

from cartalg.files import shipped_folder
from cartalg_codegen.proofs import exact


def load(backend, name, folder=None, source=None):
    """The functions of an emitted file as plain Python over Q or over dual numbers."""
    path = (folder or shipped_folder()) / f"{backend}_kernels" / f"{name}.py"
    return exact.load(source or path.read_text(), name, square_root)


def fractions(rng, *shape):
    """Small random rationals."""
    flat = [Fraction(rng.randint(-12, 12), rng.randint(1, 5)) for _ in range(int(np.prod(shape, dtype=int)))]
    return np.array(flat, dtype=object).reshape(shape)


def zeros(*shape):
    return np.array([Fraction(0)] * int(np.prod(shape, dtype=int)), dtype=object).reshape(shape)


class Dual:
    """value + slope * epsilon with epsilon^2 = 0, over Q: run a function on dual numbers, read off its derivative."""

    def __init__(self, value, slope=0):
        self.value, self.slope = Fraction(value), Fraction(slope)

    @staticmethod
    def of(x):
        return x if isinstance(x, Dual) else Dual(x)

    def __add__(self, other):
        other = Dual.of(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        other = Dual.of(other)
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def __neg__(self):
        return Dual(-self.value, -self.slope)

    def __sub__(self, other):
        return self + -Dual.of(other)

    def __rsub__(self, other):
        return Dual.of(other) + -self

    def __truediv__(self, other):
        other = Dual.of(other)
        return Dual(self.value / other.value, self.slope / other.value - self.value * other.slope / other.value**2)

    def __rtruediv__(self, other):
        return Dual.of(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other):
        return self.value < Dual.of(other).value

    def __int__(self):
        return int(self.value)


def square_root(x):
    """The root of a square of a rational, or of a dual number whose value is one."""
    if isinstance(x, Dual):
        root = square_root(x.value)
        return Dual(root, x.slope / (2 * root))
    return exact.square_root(x)


def along(theta, move):
    """theta + epsilon * move, entry by entry."""
    pairs = zip(theta.reshape(-1), move.reshape(-1), strict=True)
    return np.array([Dual(t, m) for t, m in pairs], dtype=object).reshape(theta.shape)


def slopes(array):
    """The derivative that an array of dual numbers holds."""
    return np.array([Dual.of(x).slope for x in array.reshape(-1)], dtype=object).reshape(array.shape)
