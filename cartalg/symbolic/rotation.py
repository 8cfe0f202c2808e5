"""Rotations and reflections of packed tensors, exact for rational orthogonal matrices."""

from fractions import Fraction

import sympy as sp
from sympy import QQ

from cartalg.symbolic.basis import basis_polynomials, squared_norms, to_sympy
from cartalg.symbolic.polynomials import AXES, RING, X, Y, Z, contraction
from cartalg.symbolic.ranks import check_rank


def rational_rotation(quaternion: tuple[int, int, int, int], inversion: bool = False) -> sp.Matrix:
    """A rational orthogonal 3x3 matrix from an integer quaternion; times -1 with `inversion`.

    Raises:
        ValueError: If the quaternion is zero.
    Source: docs/theory.md, eq. 13.
    """
    w, x, y, z = quaternion
    norm = w * w + x * x + y * y + z * z
    if norm == 0:
        raise ValueError("a rotation needs a quaternion other than zero")
    rows = [
        [norm - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), norm - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), norm - 2 * (x * x + y * y)],
    ]
    sign = -1 if inversion else 1
    return sp.Matrix([[sp.Rational(sign * entry, norm) for entry in row] for row in rows])


def packed_rotation(rank: int, matrix: sp.Matrix, parity: int | None = None) -> sp.Matrix:
    """The matrix D that turns packed components when space is turned by a rational orthogonal matrix.

    Args:
        rank: l.
        matrix: Orthogonal, rational, shape [3, 3]; determinant -1 for a reflection.
        parity: +1 or -1; by default (-1)^l, a natural (polar) tensor.
    Returns:
        Shape [2l+1, 2l+1]; D(R S) = D(R) D(S).
    Raises:
        ValueError: If the matrix is not orthogonal.
    Source: docs/theory.md, eq. 12.
    """
    check_rank(rank)
    if matrix * matrix.T != sp.eye(3):
        raise ValueError("the matrix is not orthogonal")
    rational = [[QQ(int(e.p), int(e.q)) for e in matrix.row(i)] for i in range(3)]
    turned = [sum((rational[j][i] * AXES[j] for j in range(3)), RING(0)) for i in range(3)]  # R^T x
    columns = [p.compose([(X, turned[0]), (Y, turned[1]), (Z, turned[2])]) for p in basis_polynomials(rank)]
    basis, norms = basis_polynomials(rank), squared_norms(rank)
    sign = 1
    if parity is not None and parity != (-1) ** rank and matrix.det() < 0:
        sign = -1
    return sp.Matrix(
        [[sign * to_sympy(contraction(b, c) / n) for c in columns] for b, n in zip(basis, norms, strict=True)]
    )


def generator(rank: int, axis: int) -> list[list[Fraction]]:
    """The so(3) generator J about one axis on packed components: d/d(angle) of `packed_rotation` at angle 0.

    On polynomials it is -(x cross nabla), for a tensor turns by p(R^T x). [J_x, J_y] = J_z, J^2 = -l(l+1).
    """
    u, v = AXES[(axis + 1) % 3], AXES[(axis + 2) % 3]
    basis, norms = basis_polynomials(check_rank(rank)), squared_norms(rank)
    images = [v * p.diff(u) - u * p.diff(v) for p in basis]
    values = [[contraction(b, i) / n for i in images] for b, n in zip(basis, norms, strict=True)]
    return [[Fraction(int(c.numerator), int(c.denominator)) for c in row] for row in values]
