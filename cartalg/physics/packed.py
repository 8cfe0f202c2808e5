"""Arithmetic of packed tensors whose components are numbers, SymPy expressions or polynomials: lists of 2l+1."""

from collections.abc import Sequence
from typing import Any

from sympy.polys.rings import PolyElement

from cartalg.symbolic.basis import harmonic_polynomials, squared_norms, to_sympy
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.polynomials import Rational

Packed = list[Any]


def rank_of(components: Sequence[Any]) -> int:
    """l of 2l+1 components. Raises ValueError if there are not so many."""
    if len(components) % 2 == 0:
        raise ValueError(f"a packed tensor has 2l+1 components, got {len(components)}")
    return len(components) // 2


def couple(a: Sequence[Any], b: Sequence[Any], rank: int) -> Packed:
    """The coupling of two packed tensors to a rank, harmonic normalisation. Raises ValueError as `coupling`."""
    result: Packed = [0] * (2 * rank + 1)
    for (k, i, j), c in coupling(rank_of(a), rank_of(b), rank).entries.items():
        result[k] += times(c, a[i] * b[j])
    return result


def dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Full contraction of two packed tensors of one rank. Raises ValueError if the ranks differ."""
    norms = squared_norms(rank_of(a))
    return sum(times(n, x * y) for n, x, y in zip(norms, a, b, strict=True))


def times(number: Rational, value: Any) -> Any:
    """A rational times a polynomial of the project's ring, or times a number or expression."""
    return value * number if isinstance(value, PolyElement) else to_sympy(number) * value


def harmonic(rank: int, vector: Sequence[Any]) -> Packed:
    """T_l(v), homogeneous of degree l, at a vector (x, y, z) of numbers, expressions or polynomials."""
    powers = [[v**0] for v in vector]
    for row, v in zip(powers, vector, strict=True):
        for _ in range(rank):
            row.append(row[-1] * v)
    return [
        sum(times(c, powers[0][a] * powers[1][b] * powers[2][e]) for (a, b, e), c in p.items())
        for p in harmonic_polynomials(rank)
    ]


def packed_vector(vector: Sequence[Any]) -> Packed:
    """A vector (x, y, z) as packed components (y, z, x)."""
    x, y, z = vector
    return [y, z, x]
