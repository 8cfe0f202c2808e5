"""Expressions with indices as SymPy's own tensors: for `canon_bp`, substitutions, and arrays of theirs."""

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.combinatorics import Permutation, PermutationGroup
from sympy.tensor.tensor import TensExpr, TensorHead, TensorIndexType, TensorSymmetry, tensor_indices

from cartalg.symbolic.indexed import DELTA, EPSILON, Expression, Symmetries
from cartalg.symbolic.reducible import Signed

#: Space of three dimensions; its metric is the delta.
SPACE = TensorIndexType("R3", dummy_name="s", dim=3, eps_dim=3)


def sympy_tensor(expression: Expression, symmetries: Symmetries | None = None) -> TensExpr:
    """A sum of products of SymPy's tensors; of a summed pair one index is up and one down, free ones are up.

    Args:
        expression: Delta is the metric of `SPACE`, epsilon its Levi-Civita tensor.
        symmetries: Of the tensors, by `cartalg.symbolic.indexed.symmetries_of`.
    """
    heads: dict[str, Any] = {DELTA: SPACE.metric, EPSILON: SPACE.epsilon}
    for name, rank in expression.tensors.items():
        group = (symmetries or {}).get(name, ())
        symmetry = _symmetry(group, rank) if len(group) > 1 else TensorSymmetry.no_symmetry(rank)
        heads[name] = TensorHead(name, [SPACE] * rank, symmetry)
    total = sp.Integer(0)
    for term, c in expression.terms:
        total += _product(term, heads) * sp.Rational(c.numerator, c.denominator)
    return total


def _product(term: tuple[tuple[str, str], ...], heads: Mapping[str, Any]) -> Any:
    value: Any = sp.Integer(1)
    seen: set[str] = set()
    for name, letters in term:
        indices = []
        for letter in letters:
            index = tensor_indices(letter, SPACE)
            indices.append(-index if letter in seen else index)
            seen.add(letter)
        value *= heads[name](*indices) if indices else sp.Symbol(name)
    return value


def _symmetry(group: tuple[Signed, ...], rank: int) -> TensorSymmetry:
    """A strong generating set, signs as an exchange of two points more."""
    ends = {1: (rank, rank + 1), -1: (rank + 1, rank)}
    found = PermutationGroup([Permutation([*p, *ends[sign]]) for p, sign in group])
    base, generators = found.schreier_sims_incremental()
    return TensorSymmetry([b for b in base if b < rank], generators)
