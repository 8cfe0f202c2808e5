r"""Irreducible parts of an expression with indices, as formulas in its own letters.

The projector on a part of tensors of n indices is an isotropic tensor of 2n indices, so a combination of products of
deltas; put in front of the expression and simplified it is a formula. The part as a tensor of its own rank is the
contraction with the isotropic tensor of n + l indices that embeds it.
Source: docs/theory.md, section 6; Coope, Snider & McCourt 1965.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import permutations, product

import numpy as np
import sympy as sp

from cartalg.symbolic.basis import full_tensor_matrix, squared_norms, to_sympy
from cartalg.symbolic.indexed import ALPHABET, DELTA, EPSILON, Expression, Symmetries, Term
from cartalg.symbolic.isotropic import of_array
from cartalg.symbolic.reducible import Part, Signed, decomposed, integers

#: Free indices of an expression that is taken apart: projectors have twice as many.
MAX_FREE = 4


@dataclass(frozen=True)
class IrreduciblePart:
    """A part of an expression.

    Attributes:
        rank: l.
        paths: Coefficients by the ranks through which indices are coupled one after the other: (1, 2, 1) for
            1 x 1 -> 2, 2 x 1 -> 1.
        embedded: The part as a tensor with the indices of the expression; all parts add up to it.
        own: The part as a symmetric traceless tensor of rank l, with the first of the indices of the expression; its
            factor is such that coefficients are whole and coprime.
    """

    rank: int
    paths: dict[tuple[int, ...], sp.Rational]
    embedded: Expression
    own: Expression


def irreducible_parts(expression: Expression, symmetries: Symmetries | None = None) -> tuple[IrreduciblePart, ...]:
    """Every irreducible part that does not vanish.

    Args:
        expression: With at most four free indices.
        symmetries: Of its tensors, by `symmetries_of`.
    Raises:
        ValueError: If there are more free indices.
    """
    order = len(expression.free)
    if order > MAX_FREE:
        raise ValueError(f"an expression is taken apart to {MAX_FREE} free indices, got {expression.free!r}")
    simple = expression.simplified(symmetries)
    if not order:
        return (IrreduciblePart(0, {}, simple, simple.primitive),)
    spare = [i for i in ALPHABET if i not in expression.letters]
    inside = expression.renamed(dict(zip(expression.free, spare[:order], strict=True)))
    found = []
    group = _symmetry_of(simple, symmetries)
    for number, part in enumerate(_parts(group)):
        names = dict(zip(ALPHABET, expression.free + "".join(spare[:order]), strict=False))
        projector = _projector(group, number).renamed(names)
        embedded = (projector * inside).simplified(symmetries)
        if embedded.terms and not vanishes(embedded, symmetries):
            own = (expression.free + "".join(spare[order:]))[: part.rank]
            names = dict(zip(ALPHABET, own + "".join(spare[:order]), strict=False))
            embedding = _embedding(group, number).renamed(names)
            tensor = (embedding * inside).simplified(symmetries).primitive
            found.append(IrreduciblePart(part.rank, part.paths, embedded, tensor))
    return tuple(found)


def _symmetry_of(expression: Expression, symmetries: Symmetries | None) -> tuple[Signed, ...]:
    """Signed permutations of the free indices that leave a simplified expression alone."""
    found = []
    for p in permutations(range(len(expression.free))):
        names = {own: expression.free[k] for own, k in zip(expression.free, p, strict=True)}
        moved = Expression(expression.renamed(names).terms, expression.free).simplified(symmetries)
        found += [(p, sign) for sign in (1, -1) if moved.terms and moved == (sign * expression)]
    return tuple(found) or ((tuple(range(len(expression.free))), 1),)


@cache
def _parts(group: tuple[Signed, ...]) -> tuple[Part, ...]:
    order = len(group[0][0])
    return decomposed(ALPHABET[:order], order, group, len(group)).parts


@cache
def _projector(group: tuple[Signed, ...], number: int) -> Expression:
    """The projector on a part of the tensors with a symmetry, 2n indices: the outer ones first."""
    part, order = _parts(group)[number], len(group[0][0])
    flat = part.embedding.reshape(3**order, -1)
    weights, below = integers(np.array([1 / (part.squared_norm * to_sympy(n)) for n in squared_norms(part.rank)]))
    array = (flat * weights[None, :]) @ flat.T
    return of_array(array.reshape((3,) * 2 * order), part.denominator**2 * below, ALPHABET[: 2 * order])


@cache
def _embedding(group: tuple[Signed, ...], number: int) -> Expression:
    """The map from tensors of n indices to the part's own tensor: l outer indices, then n."""
    part, order = _parts(group)[number], len(group[0][0])
    flat = part.embedding.reshape(3**order, -1)
    weights, below = integers(np.array([1 / (part.squared_norm * to_sympy(n)) for n in squared_norms(part.rank)]))
    full, over = integers(np.array(full_tensor_matrix(part.rank).tolist(), dtype=object))
    array = (full * weights[None, :]) @ flat.T
    shape = (3,) * (part.rank + order)
    return of_array(array.reshape(shape), part.denominator * below * over, ALPHABET[: part.rank + order])


def components(expression: Expression, symmetries: Symmetries | None = None) -> sp.ImmutableDenseNDimArray:
    """Every component in symbols like a12 of the tensors' own, axes counted from 1: shape [3] * free indices.

    A scalar is an array of shape [1]. Of components that are equal by symmetry the first one's symbol is taken.
    """
    known: dict[tuple[str, tuple[int, ...]], sp.Expr] = {}

    def symbol(name: str, at: tuple[int, ...]) -> sp.Expr:
        if (name, at) not in known:
            known[name, at] = _symbol(name, at, (symmetries or {}).get(name, ()))
        return known[name, at]

    flat = _evaluated(expression, symbol)
    return sp.ImmutableDenseNDimArray(flat, (3,) * len(expression.free) or (1,))


def vanishes(expression: Expression, symmetries: Symmetries | None = None) -> bool:
    """Whether every component is zero, by identities of three dimensions too, which simplification does not know.

    Whole numbers for the symbols tell it from what is not zero; what seems to be is multiplied out.
    """
    array = components(expression, symmetries)
    source = random.Random(0)
    at = {s: sp.Integer(source.randint(-99, 99)) for s in sorted(array.free_symbols, key=str)}
    flat = list(array.reshape(3 ** len(expression.free)))
    return all(entry.xreplace(at) == 0 for entry in flat) and all(sp.expand(entry) == 0 for entry in flat)


def _symbol(name: str, at: tuple[int, ...], group: tuple[Signed, ...]) -> sp.Expr:
    images = [(tuple(at[p] for p in permutation), sign) for permutation, sign in group] or [(at, 1)]
    least, sign = min(images)
    if (least, -sign) in images:
        return sp.Integer(0)
    return sign * sp.Symbol(name + "".join(str(axis + 1) for axis in least))


def _evaluated(expression: Expression, symbol: Callable[[str, tuple[int, ...]], sp.Expr]) -> list[sp.Expr]:
    flat = []
    for at in product(range(3), repeat=len(expression.free)):
        fixed = dict(zip(expression.free, at, strict=True))
        flat.append(sp.Add(*(v for term, c in expression.terms for v in _values(term, c, fixed, symbol))))
    return flat


def _values(
    term: Term, c: Fraction, fixed: dict[str, int], symbol: Callable[[str, tuple[int, ...]], sp.Expr]
) -> Iterator[sp.Expr]:
    """The products that a term is the sum of, deltas and epsilons first: most are zero."""
    summed = sorted({i for _, indices in term for i in indices} - set(fixed))
    for at in product(range(3), repeat=len(summed)):
        axes = fixed | dict(zip(summed, at, strict=True))
        number = c
        for name, indices in term:
            if name == DELTA:
                number *= int(axes[indices[0]] == axes[indices[1]])
            elif name == EPSILON:
                number *= int(sp.LeviCivita(*(axes[i] for i in indices)))
        if number:
            factors = [symbol(n, tuple(axes[i] for i in indices)) for n, indices in term if n not in (DELTA, EPSILON)]
            yield sp.Mul(sp.Rational(number.numerator, number.denominator), *factors)
