"""Graphs to run emitted convolutions on, and what one edge contributes with first and second derivatives.

Lengths of edges are rational, so that square roots are: directions come from quadruples a^2 + b^2 + c^2 = d^2.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from flint import fmpq

from cartalg_codegen.proofs.closed import harmonic, zeros
from cartalg_codegen.proofs.identities import Monomial, Space, Sparse, number

#: (a, b, c, d) with a^2 + b^2 + c^2 = d^2.
QUADRUPLES = (
    (1, 2, 2, 3), (2, 3, 6, 7), (1, 4, 8, 9), (4, 4, 7, 9), (2, 6, 9, 11), (6, 6, 7, 11), (3, 4, 12, 13),
    (2, 5, 14, 15),
    (2, 10, 11, 15), (1, 12, 12, 17), (8, 9, 12, 17), (1, 6, 18, 19), (6, 6, 17, 19), (4, 5, 20, 21), (4, 8, 19, 21),
    (0, 3, 4, 5), (3, 14, 18, 23), (6, 13, 18, 23), (9, 12, 20, 25), (12, 15, 16, 25),
)  # fmt: skip
#: Number of B-splines on a knot interval, and their degree.
SPLINES, DEGREE = 4, 3


@dataclass(frozen=True)
class Graph:
    """Directed edges i <- j in the two orders that kernels read, senders and receivers counted apart.

    Attributes:
        lengths: In knots: the knot interval is the whole part.
        vectors: Edge vectors, shape [edges, 3].
        step: Distance of knots.
        intervals: Of a table; an edge whose length is not below that many knots is beyond the cutoff.
        blocks: Number of tables, one after the other.
        block: The table of each edge.
    """

    senders: int
    receivers: int
    sender: tuple[int, ...]
    receiver: tuple[int, ...]
    lengths: tuple[fmpq, ...]
    vectors: np.ndarray
    step: fmpq
    intervals: int
    blocks: int
    block: tuple[int, ...]
    col_edge: tuple[int, ...]

    @property
    def row_ptr(self) -> list[int]:
        """Edges of receiver i are row_ptr[i] .. row_ptr[i + 1] - 1."""
        return [sum(r < i for r in self.receiver) for i in range(self.receivers + 1)]

    @property
    def col_ptr(self) -> list[int]:
        """Edges of sender j are col_edge[col_ptr[j]] .. col_edge[col_ptr[j + 1] - 1]."""
        return [sum(s < j for s in self.sender) for j in range(self.senders + 1)]

    def within(self, edge: int) -> bool:
        """Whether an edge counts: longer than zero, shorter than the table."""
        return bool(0 < self.lengths[edge] < self.intervals)

    def knot(self, edge: int) -> int:
        """The knot below the length of an edge."""
        return int(self.lengths[edge].p) // int(self.lengths[edge].q)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return self.blocks * (self.intervals + DEGREE)

    def row(self, edge: int) -> int:
        """First row that an edge reads."""
        return self.block[edge] * (self.intervals + DEGREE) + self.knot(edge)


def graph(
    rng: random.Random,
    pairs: Sequence[tuple[int, int, Any]],
    senders: int,
    receivers: int,
    step: fmpq,
    intervals: int,
    blocks: int,
) -> Graph:
    """A graph of (receiver, sender, length in knots); directions are drawn, no two the same.

    Args:
        rng: Chooses directions, the order of each sender's edges, and tables.
        pairs: Sorted by receiver here.
    """
    ordered = sorted(pairs, key=lambda pair: pair[0])
    vectors = np.empty((len(ordered), 3), dtype=object)
    directions = rng.sample(QUADRUPLES, len(QUADRUPLES))
    for e, (_, _, length) in enumerate(ordered):
        *parts, d = directions[e % len(directions)]
        rng.shuffle(parts)
        vectors[e] = [fmpq(rng.choice((-1, 1)) * p, d) * length * step for p in parts]
    by_sender = sorted(range(len(ordered)), key=lambda e: (ordered[e][1], rng.random()))
    return Graph(
        senders,
        receivers,
        tuple(pair[1] for pair in ordered),
        tuple(pair[0] for pair in ordered),
        tuple(fmpq(pair[2]) for pair in ordered),
        vectors,
        step,
        intervals,
        blocks,
        tuple(rng.randrange(blocks) for _ in ordered),
        tuple(by_sender),
    )


@cache
def crowded() -> Graph:
    """Receiver 1 and sender 2 have more edges than a chunk of 16 holds, receiver 2 and sender 4 none.

    Lengths lie in every interval, on knots, on and around the cutoff, and at zero.
    """
    rng, intervals, step = random.Random(1), 4, fmpq(5, 7)

    def inside(interval: int) -> fmpq:
        return interval + fmpq(rng.randint(1, 15), 16)

    pairs: list[tuple[int, int, Any]] = [(1, 2, inside(n % intervals)) for n in range(11)]
    pairs += [(1, 2, 0), (1, 2, fmpq(1)), (1, 2, fmpq(3)), (1, 2, intervals), (1, 2, fmpq(4 * 64 + 1, 64))]
    pairs += [(1, 0, inside(3)), (1, 1, inside(2)), (1, 3, inside(1)), (1, 5, inside(0)), (1, 5, 9), (1, 3, 0)]
    pairs += [(3, 2, inside(0)), (3, 2, inside(3)), (3, 1, inside(1)), (3, 3, fmpq(51, 10))]
    pairs += [(0, 2, inside(2)), (0, 2, fmpq(255, 64)), (0, 1, inside(3)), (4, 2, inside(1)), (4, 5, inside(2))]
    return graph(rng, pairs, 6, 5, step, intervals, 2)


@cache
def sparse() -> Graph:
    """A few edges, two of them along z and against it, and other sizes."""
    rng, intervals, step = random.Random(2), 7, fmpq(3, 11)
    lengths = [fmpq(1, 9), fmpq(61, 9), 0, fmpq(20, 7), fmpq(13, 3), 8, fmpq(45, 8)]
    ends = [(2, 0), (0, 3), (2, 1), (1, 3), (2, 3), (0, 0), (0, 1)]
    found = graph(rng, [(i, j, r) for (i, j), r in zip(ends, lengths, strict=True)], 4, 3, step, intervals, 3)
    inside = [e for e in range(len(ends)) if found.within(e)]
    for e, sign in zip(inside, (1, -1), strict=False):
        found.vectors[e] = [fmpq(0), fmpq(0), sign * found.lengths[e] * step]
    return found


@cache
def single(up: bool = True) -> Graph:
    """One edge, above the plane across z or below it."""
    found = graph(random.Random(3), [(0, 0, fmpq(17, 8))], 1, 1, fmpq(2, 3), 4, 1)
    if (found.vectors[0, 2] > 0) != up:
        found.vectors[0, 2] = -found.vectors[0, 2]
    return found


@dataclass(frozen=True)
class Jet:
    """A number that depends on an edge vector, with its first and second derivatives."""

    value: Any
    first: tuple[Any, ...]
    second: tuple[tuple[Any, ...], ...]

    def along(self, move: Any) -> Any:
        """The derivative along a move of the vector."""
        return sum((self.first[i] * move[i] for i in range(1, 3)), self.first[0] * move[0])

    def first_along(self, i: int, move: Any) -> Any:
        """The derivative of the derivative by component i along a move."""
        return sum((self.second[i][j] * move[j] for j in range(1, 3)), self.second[i][0] * move[0])


class Edge:
    """Splines and harmonics of an edge as polynomials in its vector v and q = 1/|v|, where q^2 (v . v) = 1.

    Derivatives use dq/dv_i = -q^3 v_i [docs/theory.md, eq. 39].
    """

    def __init__(self) -> None:
        space = Space()
        self.space, self.v, (self.q,) = space, space.variables(3), space.variables(1)
        self.knot, self.per_knot = space.variable(), space.variable()
        #: h = 1/(1 + |v_z| q), of frames.
        self.half = space.variable()
        v, q = self.v, self.q
        self.square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
        self._moves = [-1 * q * q * q * v[i] for i in range(3)]

    def slope(self, f: Sparse, i: int) -> Sparse:
        """df/dv_i."""
        by_v, by_q = _derivative(f, i), _derivative(f, 3)
        return by_v + by_q * self._moves[i]

    def jet(self, f: Sparse) -> Jet:
        """A polynomial with its derivatives."""
        first = tuple(self.slope(f, i) for i in range(3))
        second: list[list[Any]] = [[None] * 3 for _ in range(3)]
        for i in range(3):
            for j in range(i + 1):
                second[i][j] = second[j][i] = self.reduced(self.slope(first[i], j))
        return Jet(self.reduced(f), tuple(map(self.reduced, first)), tuple(map(tuple, second)))

    def reduced(self, f: Sparse, side: int = 1) -> Sparse:
        """The one polynomial of its class modulo q^2 (v . v) = 1 that has no q^2 v_2^2.

        With h, of an edge on one `side` of the plane across z, modulo h (1 + side q v_2) = 1 as well: none has h q v_2,
        nor h v_1^2, for h (v_0^2 + v_1^2) = (1 - side q v_2) v . v; these three are a Groebner basis.
        """
        h = number(self.half)
        while True:
            kept: dict[Monomial, fmpq] = {}
            changed = Sparse({})
            for monomial, c in f.terms.items():
                if monomial.count(3) >= 2 and monomial.count(2) >= 2:
                    rest = _without(monomial, (2, 2, 3, 3))
                    others = {rest: c, **{_with(rest, (i, i, 3, 3)): -c for i in (0, 1)}}
                    changed = changed + Sparse(others)
                elif h in monomial and 3 in monomial and 2 in monomial:
                    rest = _without(monomial, (2, 3))
                    changed = changed + Sparse({_without(rest, (h,)): c * side, rest: -c * side})
                elif h in monomial and monomial.count(1) >= 2:
                    rest = _without(monomial, (1, 1, h))
                    others = {_with(rest, (0, 0, h)): -c}
                    for i in range(3):
                        others[_with(rest, (i, i))] = c
                        others[_with(rest, (i, i, 2, 3))] = -c * side
                    changed = changed + Sparse(others)
                else:
                    kept[monomial] = c
            if not changed.terms:
                return f
            f = Sparse(kept) + changed


def _without(monomial: Monomial, variables: Monomial) -> Monomial:
    rest = list(monomial)
    for variable in variables:
        rest.remove(variable)
    return tuple(rest)


def _with(monomial: Monomial, variables: Monomial) -> Monomial:
    return tuple(sorted((*monomial, *variables)))


def _derivative(f: Sparse, variable: int) -> Sparse:
    total: dict[Monomial, fmpq] = {}
    for monomial, c in f.terms.items():
        power = monomial.count(variable)
        if power:
            rest = list(monomial)
            rest.remove(variable)
            total[tuple(rest)] = c * power
    return Sparse(total)


EDGE = Edge()


def splines() -> np.ndarray:
    """The B-splines of degree 3 on one knot interval, in f = u - k from 0 to 1, by the recursion of Cox and de Boor."""
    f = EDGE.per_knot * EDGE.q * EDGE.square - EDGE.knot
    pieces: list[Any] = [Sparse.of(1)]
    for n in range(1, DEGREE + 1):
        # piece s is the spline whose support begins n - s knots below the interval's
        before = [Sparse({}), *pieces, Sparse({})]
        pieces = [((f + (n - s)) * before[s] + ((s + 1) - f) * before[s + 1]) * fmpq(1, n) for s in range(n + 1)]
    return np.array(pieces, dtype=object)


@cache
def symbolic(rank: int) -> tuple[tuple[Jet, ...], tuple[Jet, ...]]:
    """Splines, and harmonics to a rank, in v, q, the knot and knots per length."""
    unit = [EDGE.q * EDGE.v[i] for i in range(3)]
    harmonics = [f for r in range(rank + 1) for f in harmonic(r, unit)]
    return tuple(map(EDGE.jet, splines())), tuple(EDGE.jet(Sparse.of(f)) for f in harmonics)


@cache
def jets(rank: int, vector: tuple[Any, ...], knot: int, step: fmpq) -> tuple[list[Jet], list[Jet]]:
    """`symbolic` for one edge, whose vector may hold the variables of `EDGE` itself."""
    length = fmpq(0)
    if type(vector[0]) is Sparse:
        at: dict[int, Any] = dict(enumerate([*EDGE.v, EDGE.q]))
    else:
        squared = sum((c * c for c in vector), length)
        from cartalg_codegen.proofs.exact import Rational

        at = dict(enumerate([*vector, 1 / Rational().sqrt(squared)]))
    at |= {4: fmpq(knot), 5: 1 / step}

    def numbers(f: Sparse) -> Any:
        return f.at(at)

    return tuple(  # type: ignore[return-value]
        [
            Jet(
                numbers(jet.value),
                tuple(map(numbers, jet.first)),
                tuple(tuple(map(numbers, row)) for row in jet.second),
            )
            for jet in group
        ]
        for group in symbolic(rank)
    )


__all__ = ["EDGE", "SPLINES", "Graph", "Jet", "crowded", "jets", "single", "sparse", "zeros"]
