"""What generators of so(3) and a reflection do to polynomials, to full tensors and to packed components, exactly.

J_axis is d/d(angle) of the rotation about an axis at angle 0. The reflection is z -> -z: with rotations it makes O(3).
"""

from fractions import Fraction

import numpy as np
import sympy as sp

from cartalg.symbolic.basis import basis_polynomials
from cartalg.symbolic.irreps import Irrep
from cartalg.symbolic.polynomials import AXES, RING, Polynomial, Rational, rational
from cartalg.symbolic.reducible import integers
from cartalg.symbolic.rotation import generator, packed_rotation

Matrix = list[list[Fraction]]
MIRROR = sp.diag(1, 1, -1)


def moved(p: Polynomial, axis: int) -> Polynomial:
    """J_axis on a polynomial: d/d(angle) of p(R^T x), which is -(x cross nabla)_axis p."""
    u, v = AXES[(axis + 1) % 3], AXES[(axis + 2) % 3]
    return v * p.diff(u) - u * p.diff(v)


def mirrored(p: Polynomial) -> Polynomial:
    """p(x, y, -z)."""
    return RING({e: c if e[2] % 2 == 0 else -c for e, c in p.items()})


def turned_tensor(tensor: np.ndarray, axis: int) -> np.ndarray:
    """J_axis on a tensor of n vector indices (x, y, z) and one index more, which is left alone: [3, .., 3, any]."""
    u, v = (axis + 1) % 3, (axis + 2) % 3
    total = np.zeros_like(tensor)
    for place in range(tensor.ndim - 1):
        into, source = np.moveaxis(total, place, 0), np.moveaxis(tensor, place, 0)
        into[u] -= source[v]
        into[v] += source[u]
    return total


def mirrored_tensor(tensor: np.ndarray) -> np.ndarray:
    """The reflection on a tensor of polar vector indices and one index more."""
    result = tensor.copy()
    for place in range(tensor.ndim - 1):
        np.moveaxis(result, place, 0)[2] *= -1
    return result


def packed_mirror(irrep: Irrep) -> Matrix:
    """The reflection on packed components of an irrep."""
    matrix = packed_rotation(irrep.l, MIRROR, irrep.p)
    return [[rational(v) for v in matrix.row(i)] for i in range(irrep.dim)]


def generators(rank: int) -> list[Matrix]:
    """The three generators on packed components."""
    return [generator(rank, axis) for axis in range(3)]


def combined(rank: int, column: list[Fraction]) -> Polynomial:
    """The polynomial with these packed components."""
    return sum((to_field(c) * p for c, p in zip(column, basis_polynomials(rank), strict=True)), RING(0))


def to_field(value: Fraction) -> Rational:
    """A Fraction as an element of the ring's field."""
    return RING.domain(value.numerator, value.denominator)


def product(left: Matrix, right: Matrix) -> Matrix:
    """A product of square matrices, most of whose entries are zero."""
    size = range(len(left))
    result = [[Fraction(0)] * len(left) for _ in size]
    for i in size:
        for j in size:
            if left[i][j]:
                for k in size:
                    result[i][k] += left[i][j] * right[j][k]
    return result


def times(tensor: np.ndarray, matrix: Matrix) -> tuple[np.ndarray, int]:
    """tensor [.., d] times a matrix [d, d], as integers over a denominator; the tensor holds integers."""
    scaled, denominator = integers(np.array(matrix, dtype=object))
    result = np.zeros_like(tensor)
    for row, column in zip(*np.nonzero(scaled), strict=True):
        result[..., column] += tensor[..., row] * scaled[row, column]
    return result, denominator


def is_image(moved_tensor: np.ndarray, tensor: np.ndarray, matrix: Matrix) -> bool:
    """Whether a moved tensor is the tensor times a matrix."""
    image, denominator = times(tensor, matrix)
    return bool((moved_tensor * denominator == image).all())
