r"""Isotropic tensors: products of deltas, with one epsilon for odd rank, a basis of them, and invariants of irreps.

Every isotropic tensor is a combination of such products. From rank 5 on (with epsilon; from 8 on without) these depend
on one another in three dimensions; which do is read off their Gram matrix, powers of 3 by counting loops. The first
ones, in the order of their letters, that are independent are the basis, and everything is written in it: canonical.

.. math:: 1, 0, 1, 1, 3, 6, 15, 36, 91 \text{ independent ones for rank } 0..8

Source: Weyl, The Classical Groups, 1946; Kearsley & Fong, J. Res. Natl. Bur. Stand. 79B, 49 (1975).
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

from cartalg.symbolic.indexed import ALPHABET, DELTA, EPSILON, Expression, Term

MAX_ISOTROPIC_RANK = 8


def pairings(indices: str) -> Iterator[Term]:
    """All products of deltas with these indices, and one epsilon if their number is odd."""
    if len(indices) % 2:
        for three in combinations(indices, 3):
            left = "".join(i for i in indices if i not in three)
            yield from ((*deltas, (EPSILON, "".join(three))) for deltas in pairings(left))
        return
    if not indices:
        yield ()
        return
    first, others = indices[0], indices[1:]
    for n, partner in enumerate(others):
        for rest in pairings(others[:n] + others[n + 1 :]):
            yield ((DELTA, first + partner), *rest)


def _overlap(a: Term, b: Term, free: str) -> Fraction:
    """Full contraction of two products."""
    joined = Expression.of({a: Fraction(1)}, free) * Expression.of({b: Fraction(1)}, free)
    return sum((c for _, c in joined.simplified().terms), Fraction(0))


@cache
def _system(rank: int) -> tuple[tuple[Term, ...], tuple[int, ...], DomainMatrix, DomainMatrix]:
    """Products, numbers of the basis among them, the inverse Gram matrix of it, and all products in terms of it."""
    if rank > MAX_ISOTROPIC_RANK:
        raise ValueError(f"isotropic tensors are reduced to rank {MAX_ISOTROPIC_RANK}, got {rank}")
    free = ALPHABET[:rank]
    terms = tuple(pairings(free))
    if not terms:
        raise ValueError("there is no isotropic tensor of rank 1")
    rows = [[QQ(0)] * len(terms) for _ in terms]
    for i, a in enumerate(terms):
        for j in range(i + 1):
            value = _overlap(a, terms[j], free)
            rows[i][j] = rows[j][i] = QQ(value.numerator, value.denominator)
    reduced, pivots = DomainMatrix(rows, (len(terms), len(terms)), QQ).rref()
    gram = DomainMatrix([[rows[i][j] for j in pivots] for i in pivots], (len(pivots), len(pivots)), QQ)
    return terms, tuple(pivots), gram.inv(), reduced


def isotropic_basis(indices: str) -> tuple[Expression, ...]:
    """Independent isotropic tensors with these indices.

    Raises:
        ValueError: If there are more than eight; none exists for one index.
    """
    if len(indices) == 1:
        return ()
    terms, pivots, _, _ = _system(len(indices))
    names = dict(zip(ALPHABET, indices, strict=False))
    return tuple(_in_letters({terms[p]: Fraction(1)}, indices, names) for p in pivots)


def _in_letters(terms: dict[Term, Fraction], indices: str, names: dict[str, str]) -> Expression:
    table = str.maketrans(names)
    return Expression.of({tuple((n, i.translate(table)) for n, i in t): c for t, c in terms.items()}, indices)


def canonical(expression: Expression) -> Expression:
    """An isotropic expression in the basis: equal tensors have equal expressions.

    Raises:
        ValueError: If it holds other tensors, or has more than eight free indices.
    """
    if expression.tensors:
        raise ValueError(f"{', '.join(expression.tensors)}: only expressions in delta and epsilon are isotropic")
    flat, free = expression.simplified(), "".join(sorted(expression.free))
    if not flat.terms or not free:
        return flat
    names = dict(zip(ALPHABET, free, strict=False))
    back = str.maketrans({v: k for k, v in names.items()})
    terms, pivots, _, reduced = _system(len(free))
    place = {tuple(sorted(t)): n for n, t in enumerate(terms)}
    found: dict[Term, Fraction] = {}
    entries = reduced.to_dok()
    for term, c in flat.terms:
        column = place[tuple(sorted((n, i.translate(back)) for n, i in term))]
        for row, pivot in enumerate(pivots):
            value = entries.get((row, column))
            if value:
                found[terms[pivot]] = found.get(terms[pivot], Fraction(0)) + c * Fraction(
                    int(value.numerator), int(value.denominator)
                )
    return Expression(_in_letters(found, free, names).simplified().terms, expression.free)


def of_array(array: np.ndarray, denominator: int, indices: str) -> Expression:
    """An isotropic tensor, given by whole numbers [3, .., 3] over a denominator, as deltas and epsilons.

    Raises:
        ValueError: If the array is not isotropic, or has more than eight indices.
    """
    rank = array.ndim
    if rank == 0:
        return Expression.of({(): Fraction(int(array), denominator)}, "")
    terms, pivots, inverse, _ = _system(rank)
    overlaps = [QQ(int(_against(array, terms[p])), denominator) for p in pivots]
    solution = inverse * DomainMatrix([[v] for v in overlaps], (len(pivots), 1), QQ)
    values = {
        terms[p]: Fraction(int(v.numerator), int(v.denominator))
        for p, (v,) in zip(pivots, solution.to_list(), strict=True)
    }
    size = sum(
        (
            values[terms[p]] * Fraction(int(o.numerator), int(o.denominator))
            for p, o in zip(pivots, overlaps, strict=True)
        ),
        Fraction(0),
    )
    flat = array.reshape(-1)
    if size != Fraction(int((flat * flat).sum()), denominator**2):
        raise ValueError("the array is not isotropic")
    return _in_letters(values, indices, dict(zip(ALPHABET, indices, strict=False)))


def _against(array: np.ndarray, term: Term) -> int:
    """Full contraction of an array with a product: sums of its entries where deltas are 1."""
    groups = [i for _, i in term]
    letters = ALPHABET[: array.ndim]
    total = 0
    pairs = [g for g in groups if len(g) == 2]
    grid = np.indices((3,) * len(pairs)).reshape(len(pairs), 3 ** len(pairs))
    places = {letter: grid[n] for n, pair in enumerate(pairs) for letter in pair}
    odd = [g for g in groups if len(g) == 3]
    for order, sign in _EPSILON if odd else [((), 1)]:
        fixed = {
            letter: np.full(grid.shape[1], axis) for letter, axis in zip(odd[0] if odd else "", order, strict=True)
        }
        at = tuple((places | fixed)[letter] for letter in letters)
        total += sign * int(array[at].sum())
    return total


_EPSILON = [((0, 1, 2), 1), ((1, 2, 0), 1), ((2, 0, 1), 1), ((0, 2, 1), -1), ((2, 1, 0), -1), ((1, 0, 2), -1)]
