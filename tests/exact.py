"""Run emitted source over the rationals: integers divided stay exact, arrays hold Fractions."""

import ast
import math
import types
from fractions import Fraction
from pathlib import Path

import numpy as np

from cartalg.ops.kernels import shipped_folder


class _ExactConstants(ast.NodeTransformer):
    """Turn every quotient of two integer literals into a Fraction."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if isinstance(node.op, ast.Div):
            left, right = node.left, node.right
            both = isinstance(left, ast.Constant) and isinstance(right, ast.Constant)
            name = ast.Name("Fraction", ast.Load())
            args = (
                [left, right] if both else [ast.BinOp(left, ast.Mult(), ast.Call(name, [ast.Constant(1)], [])), right]
            )
            if both:
                return ast.Call(name, args, [])
        return node


class ExactTensor(np.ndarray):
    """The few tensor methods that emitted Torch code of row kernels uses, on arrays of Fractions."""

    def index_add(self, dim, index, source):
        assert dim == 0
        result = self.copy()
        np.add.at(result, index, source)
        return result


def exact_torch():
    def stack(parts, dim):
        return np.stack([np.asarray(p, dtype=object) for p in parts], axis=dim).view(ExactTensor)

    def zeros_like(array):
        return (np.asarray(array, dtype=object) * 0).view(ExactTensor)

    return types.SimpleNamespace(stack=stack, zeros_like=zeros_like)


def _identity_njit(**_options):
    return lambda function: function


def load(backend, name, folder=None, source=None):
    """The functions of an emitted file as plain Python over Q."""
    folder = Path(folder or shipped_folder())
    text = source or (folder / f"{backend}_kernels" / f"{name}.py").read_text()
    tree = ast.parse(text)
    exact_numpy = types.SimpleNamespace(empty=np.empty, int64=np.int64, sqrt=square_root)
    namespace = {"Fraction": Fraction, "np": exact_numpy, "torch": exact_torch(), "njit": _identity_njit}
    body = []
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            body.append(node)
    tree.body = body
    exec(compile(ast.fix_missing_locations(_ExactConstants().visit(tree)), name, "exec"), namespace)
    return namespace


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
    root = Fraction(math.isqrt(Fraction(x).numerator), math.isqrt(Fraction(x).denominator))
    assert root * root == x, f"{x} is no square of a rational"
    return root


def along(theta, move):
    """theta + epsilon * move, entry by entry."""
    pairs = zip(theta.reshape(-1), move.reshape(-1), strict=True)
    return np.array([Dual(t, m) for t, m in pairs], dtype=object).reshape(theta.shape)


def slopes(array):
    """The derivative that an array of dual numbers holds."""
    return np.array([Dual.of(x).slope for x in array.reshape(-1)], dtype=object).reshape(array.shape)
