r"""Every irreducible part of the tensors of a rank, one at a time, in whole numbers of 64 bits.

`cartalg.symbolic.reducible` keeps all parts of a tensor, 9^n numbers for n indices: 387 million for nine. Here the
paths are walked depth first, and each part follows from the one before by one sparse product,

.. math:: U_{k, i_1 .. i_n} = \sum_a U'_{a, i_1 .. i_{n-1}} \left( C^+/q \right)_{a i_n, k}

over a common denominator in lowest terms. So no more is held than a part of each rank on the way, n 3^n (2l+1) numbers.
What a product can come to is known before it is made; should 64 bits be too few, Python's integers go on.
Source: docs/theory.md, section 6.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy as sp

from cartalg.symbolic.basis import squared_norms, to_sympy
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.ranks import check_rank
from cartalg.symbolic.reducible import integers

_LIMIT = 2**62


@dataclass(frozen=True)
class StreamedPart:
    """A part of the tensors of a rank.

    Attributes:
        path: Ranks through which indices are coupled, (1, l_2, .., l_n = l).
        numbers: Whole numbers [2l+1, 3, .., 3]: over `denominator` the tensor of each packed component.
        squared_norm: g such that component m has squared norm g N_lm.
    """

    path: tuple[int, ...]
    numbers: np.ndarray
    denominator: int
    squared_norm: sp.Rational


def streamed_parts(order: int) -> Iterator[StreamedPart]:
    """Every irreducible part of the tensors of a rank n, orthogonal and complete, paths depth first.

    The array of a part must be copied if it is to be kept: it is a view with its axes in reverse.

    Raises:
        ValueError: If the rank is not a positive integer.
    """
    if not check_rank(order):
        raise ValueError("a tensor of rank 0 is its only part")
    vector = np.zeros((3, 3), dtype=np.int64)  # packed vectors are (y, z, x)
    vector[0, 1] = vector[1, 2] = vector[2, 0] = 1
    yield from _walk((1,), vector, 1, sp.Integer(1), order)


def _walk(
    path: tuple[int, ...], flat: np.ndarray, denominator: int, squared: sp.Rational, order: int
) -> Iterator[StreamedPart]:
    """Parts below one of fewer indices; `flat` is [2l+1, 3^n], the last index running slowest."""
    if len(path) == order:
        axes = (0, *range(order, 0, -1))
        yield StreamedPart(path, flat.reshape(-1, *(3,) * order).transpose(axes), denominator, squared)
        return
    rank = path[-1]
    for out in range(abs(rank - 1), rank + 2):
        weights, over, norm = _step(rank, out)
        bound = int(np.abs(flat).max()) * max(sum(abs(w) for _, w in terms) for terms in weights.values())
        source = flat.astype(object) if bound > _LIMIT and flat.dtype != object else flat
        joined = np.zeros((2 * out + 1, 3, flat.shape[1]), dtype=source.dtype)
        for (k, axis), terms in weights.items():
            for a, weight in terms:
                joined[k, axis] += weight * source[a]
        below = denominator * over
        common = int(np.gcd.reduce(np.append(joined.reshape(-1), below)))
        if common > 1:
            joined //= common
        yield from _walk((*path, out), joined.reshape(2 * out + 1, -1), below // common, squared * norm, order)


@cache
def _step(rank: int, out: int) -> tuple[dict[tuple[int, int], list[tuple[int, int]]], int, sp.Rational]:
    """The adjoint of the coupling (l, 1) -> out: {(k, axis): [(a, weight)]} over a denominator, and 1/q."""
    rule = coupling(rank, 1, out)
    n_in, n_out = squared_norms(rank), squared_norms(out)
    values = [to_sympy(c * n_out[k] / n_in[a]) for (k, a, _), c in rule.entries.items()]
    whole, denominator = integers(np.array(values, dtype=object))
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (k, a, b), weight in zip(rule.entries, whole, strict=True):
        found.setdefault((k, (1, 2, 0)[b]), []).append((a, int(weight)))
    return found, denominator, 1 / to_sympy(rule.orthonormal_squared)
