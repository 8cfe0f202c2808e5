r"""Cartesian tensors of any rank and index symmetry, taken apart into irreducible parts, exactly.

Vectors are coupled one after the other, 1 x 1 x .. x 1; each sequence of ranks is a path to an irreducible part, and
all paths together are an orthogonal basis of the tensors of rank n. An index symmetry mixes paths of one rank l and
nothing else: its projector on the paths is a rational matrix, whose image is orthogonalised over Q [docs/theory.md,
section 6].
Source: Coope, Snider & McCourt 1965; the index formulas are those of e3nn's ReducedTensorProducts.
"""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from math import lcm

import numpy as np
import sympy as sp

from cartalg.symbolic.basis import full_tensor_matrix, squared_norms, to_sympy
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.irreps import Irrep

MAX_TENSOR_RANK = 8
#: A permutation of indices and its sign.
Signed = tuple[tuple[int, ...], int]


def parse_formula(formula: str) -> tuple[int, tuple[Signed, ...]]:
    """Rank and the group of signed permutations that an index formula like ``"ijkl=jikl=klij"`` or ``"ij=-ji"`` means.

    Returns:
        n and every (p, s) with T[i_0, ..] = s T[i_p0, i_p1, ..].
    Raises:
        ValueError: If the formula is malformed, or its symmetries leave nothing but zero.
    """
    parts = [part.strip() for part in formula.split("=")]
    if not all(re.fullmatch(r"-?[a-z]+", part) for part in parts) or parts[0].startswith("-"):
        raise ValueError(
            f"index formula {formula!r} is malformed: write letters joined by '=', like 'ij=ji' or 'ij=-ji'"
        )
    first = parts[0]
    if len(set(first)) != len(first) or len(first) > MAX_TENSOR_RANK:
        raise ValueError(f"index formula {formula!r}: {first!r} must be at most {MAX_TENSOR_RANK} different letters")
    generators = []
    for part in parts[1:]:
        letters, sign = part.removeprefix("-"), -1 if part.startswith("-") else 1
        if sorted(letters) != sorted(first):
            raise ValueError(f"index formula {formula!r}: {letters!r} is not a permutation of {first!r}")
        generators.append((tuple(first.index(letter) for letter in letters), sign))
    identity = tuple(range(len(first)))
    group, new = {identity: 1}, [(identity, 1)]
    while new:
        found = []
        for p, s in new:
            for q, t in generators:
                product = tuple(p[i] for i in q)
                if product not in group:
                    group[product] = s * t
                    found.append((product, s * t))
                elif group[product] != s * t:
                    raise ValueError(f"index formula {formula!r} contradicts itself: only the zero tensor has it")
        new = found
    return len(first), tuple(sorted(group.items()))


@dataclass(frozen=True)
class Part:
    """One irreducible part of a tensor.

    Attributes:
        rank: l.
        embedding: Integer array [3, .., 3, 2l+1]; over `denominator` it is the tensor of each packed component.
        squared_norm: Rational g such that component m embeds with squared norm g N_lm.
        paths: The part in terms of coupling sequences, {(l_1 = 1, l_2, .., l_n = l): coefficient}.
    """

    rank: int
    embedding: np.ndarray
    denominator: int
    squared_norm: sp.Rational
    paths: dict[tuple[int, ...], sp.Rational]

    def unpacking(self) -> sp.Matrix:
        """Exact map from 2l+1 packed components to the tensor (row-major): shape [3^n, 2l+1]."""
        flat = self.embedding.reshape(-1, 2 * self.rank + 1)
        return sp.Matrix(*flat.shape, [sp.Rational(int(v), self.denominator) for v in flat.reshape(-1)])

    def packing(self) -> sp.Matrix:
        """Exact map from any tensor (row-major) to the packed components of this part: shape [2l+1, 3^n]."""
        norms = [1 / (self.squared_norm * to_sympy(n)) for n in squared_norms(self.rank)]
        return sp.diag(*norms) * self.unpacking().T

    def projector(self) -> sp.Matrix:
        """Exact orthogonal projector onto this part: shape [3^n, 3^n]."""
        return self.unpacking() * self.packing()


@dataclass(frozen=True)
class Decomposition:
    """A space of Cartesian tensors as an orthogonal sum of irreducible parts.

    Attributes:
        formula: The index formula; its first term names the indices.
        order: Tensor rank n.
        parts: Ordered by rank l; parts of one rank in the order of their coupling sequences.
    """

    formula: str
    order: int
    parts: tuple[Part, ...]

    @property
    def irreps(self) -> tuple[Irrep, ...]:
        """The irrep of each part, in order, of a tensor made of vectors: p = (-1)^n, whatever l."""
        return tuple(Irrep(part.rank, (-1) ** self.order) for part in self.parts)

    @property
    def dimension(self) -> int:
        """Independent components."""
        return sum(2 * part.rank + 1 for part in self.parts)

    @cached_property
    def unpacking(self) -> sp.Matrix:
        """Exact map from all packed components to the tensor, row-major: shape [3^n, dimension]."""
        return sp.Matrix.hstack(*[part.unpacking() for part in self.parts])

    @cached_property
    def packing(self) -> sp.Matrix:
        """Exact map from a tensor to its packed components; what breaks the symmetry is dropped: [dimension, 3^n]."""
        return sp.Matrix.vstack(*[part.packing() for part in self.parts])

    def __str__(self) -> str:
        """Like 2x0 + 2x2 + 1x4: multiplicity x rank."""
        ranks = [part.rank for part in self.parts]
        return " + ".join(f"{ranks.count(rank)}x{rank}" for rank in sorted(set(ranks)))


@cache
def _sequences(order: int) -> tuple[tuple[int, ...], ...]:
    """Every (l_1 = 1, .., l_n) that couplings with vectors allow; rank 0 for no index at all."""
    if order <= 1:
        return ((1,) if order else (0,),)
    return tuple((*path, rank) for path in _sequences(order - 1) for rank in range(abs(path[-1] - 1), path[-1] + 2))


@cache
def _embedding(path: tuple[int, ...]) -> tuple[np.ndarray, int, sp.Rational]:
    """Tensors [3, .., 3, 2l+1] of a path's components as integers over a denominator, and their squared norm g."""
    if len(path) == 1:
        matrix = full_tensor_matrix(path[0])
        whole, denominator = integers(np.array(matrix.tolist(), dtype=object))
        return whole.reshape((3,) * path[0] + (-1,)), denominator, sp.Integer(1)
    before, below, squared = _embedding(path[:-1])
    rank, out = path[-2], path[-1]
    rule = coupling(rank, 1, out)
    n_in, n_one, n_out = (squared_norms(r) for r in (rank, 1, out))
    # the adjoint of the coupling in the metric of the norms sends component k to a tensor of (rank, 1)
    adjoint = np.full((2 * rank + 1, 3, 2 * out + 1), sp.Integer(0), dtype=object)
    for (k, a, b), c in rule.entries.items():
        adjoint[a, b, k] = to_sympy(c * n_out[k] / (n_in[a] * n_one[b]))
    weights, over = integers(adjoint)
    vector, _, _ = _embedding((1,))
    joined = np.einsum("...a,abk->...bk", before, weights)
    joined = np.moveaxis(np.einsum("...bk,ib->...ki", joined, vector), -1, -2)
    # C C^T = 1/q in the metric, so the adjoint scales squared norms by 1/q
    return *_reduced(joined, below * over), squared / to_sympy(rule.orthonormal_squared)


def _reduced(tensor: np.ndarray, denominator: int) -> tuple[np.ndarray, int]:
    """Integers over a denominator in lowest terms."""
    common = int(np.gcd.reduce(np.append(tensor.reshape(-1), denominator)))
    return tensor // common, denominator // common


def integers(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Rationals as Python integers over a common denominator."""
    flat = [sp.Rational(v) for v in values.reshape(-1)]
    denominator = lcm(*(int(v.q) for v in flat))
    result = np.array([int(v.p) * (denominator // int(v.q)) for v in flat], dtype=object)
    return result.reshape(values.shape), denominator


def decompose(formula: str) -> Decomposition:
    """Take the tensors with an index symmetry apart into irreducible parts, exactly and orthogonally.

    Args:
        formula: Indices and what they may be exchanged for: ``"ij"`` any matrix, ``"ij=ji"`` symmetric, ``"ijk=-jik"``,
            ``"ijkl=jikl=klij"`` the elastic tensor. Up to eight indices.
    Raises:
        ValueError: If the formula is malformed or contradicts itself.
    Source: docs/theory.md, section 6.
    """
    return _decompose("=".join(part.strip() for part in formula.split("=")))


@cache
def _decompose(formula: str) -> Decomposition:
    order, group = parse_formula(formula)
    return decomposed(formula, order, group, len(group))


def decomposed(name: str, order: int, projector: tuple[Signed, ...], below: int) -> Decomposition:
    """Irreducible parts of the image of an orthogonal projector: a sum of weighted permutations over a denominator.

    Args:
        name: What the tensors are called, as the decomposition's `formula`.
        order: Tensor rank n.
        projector: Permutations with whole weights; signs, for the mean over a group.
        below: The denominator.
    """
    by_rank: dict[int, list[tuple[int, ...]]] = {}
    for path in _sequences(order):
        by_rank.setdefault(path[-1], []).append(path)
    parts: list[Part] = []
    for rank in sorted(by_rank):
        parts += _symmetric_parts(rank, by_rank[rank], projector, below)
    return Decomposition(name, order, tuple(parts))


def _symmetric_parts(rank: int, members: list[tuple[int, ...]], projector: tuple[Signed, ...], over: int) -> list[Part]:
    """Orthogonal parts of one rank in the image of a projector, orthogonalised over Q."""
    embedded = [_embedding(path) for path in members]
    gram = [squared for _, _, squared in embedded]
    images: list[list[sp.Rational]] = []
    norm = to_sympy(squared_norms(rank)[rank])
    for tensor, denominator, _ in embedded:
        # by Schur's lemma one component says how permutations mix the paths
        component = tensor[..., rank]
        total = sum((s * component.transpose(p) for p, s in projector), np.zeros_like(component))
        row = []
        for (other, below, _), g in zip(embedded, gram, strict=True):
            overlap = int((other[..., rank] * total).sum())
            row.append(sp.Rational(overlap, denominator * below * over) / (g * norm))
        images.append(row)
    kept: list[tuple[list[sp.Rational], sp.Rational]] = []
    for row in images:  # Gram-Schmidt in the metric of the paths
        for basis, squared in kept:
            share = sum(r * b * g for r, b, g in zip(row, basis, gram, strict=True)) / squared
            row = [r - share * b for r, b in zip(row, basis, strict=True)]
        if not any(row):
            continue
        lead = next(r for r in row if r)
        row = [r / lead for r in row]
        squared = sum(r * r * g for r, g in zip(row, gram, strict=True))
        kept.append((row, squared))
    return [_combine(rank, members, embedded, row, squared) for row, squared in kept]


def _combine(
    rank: int,
    members: list[tuple[int, ...]],
    embedded: list[tuple[np.ndarray, int, sp.Rational]],
    row: list[sp.Rational],
    squared: sp.Rational,
) -> Part:
    """The part that is this combination of paths."""
    used = [(path, e, c) for path, e, c in zip(members, embedded, row, strict=True) if c]
    denominator = lcm(*(e[1] * int(c.q) for _, e, c in used))
    total = np.sum([e[0] * (int(c.p) * denominator // (e[1] * int(c.q))) for _, e, c in used], axis=0)
    return Part(rank, *_reduced(total, denominator), squared, {path: c for path, _, c in used})
