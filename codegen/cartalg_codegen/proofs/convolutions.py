"""Proofs about emitted edge convolutions: every stage is run on graphs, and compared with a slow sum over edges.

    crowded   free variables for features and cotangents of every atom in one channel, then for every entry of the table
    single    a free edge vector v, with q = 1/|v| and q^2 (v . v) = 1
    sparse    random rationals, other sizes, channels one and two at a time

What is not free is a random rational. So three identities are proved: in features and cotangents, in the table, and
in the vector of an edge, each for random values of the others. Source: docs/theory.md, section 7.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from flint import fmpq

from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.proofs.arrays import INDEX, LANE, REAL, Array, from_lanes, to_lanes
from cartalg_codegen.proofs.closed import couple, couplings, entries, irreps_of, zeros
from cartalg_codegen.proofs.exact import Rational, Sources, require_reached
from cartalg_codegen.proofs.graphs import EDGE, SPLINES, Graph, Jet, crowded, jets, single, sparse
from cartalg_codegen.proofs.identities import Disproved, Space, Sparse, number, require, same, tangent
from cartalg_codegen.proofs.rows import random_rational, turn
from cartalg_codegen.specs import EdgeSumSpec


@dataclass(frozen=True)
class Path:
    """One path of a convolution, and where it reads and writes."""

    left: Irrep
    edge: Irrep
    out: Irrep
    x: slice
    y: slice
    rows: tuple[int, ...]


class Convolution:
    """An edge convolution, from its ranks [docs/theory.md, eq. 35]: rows of an output irrep are [component, path].

    Attributes:
        in_vector: Stages that are proved as identities in the vector of an edge.
        sides: Where that edge points: above the plane across z, and below it where that makes a difference.
    """

    sides: tuple[bool, ...] = (True,)

    in_vector: tuple[str, ...] = (
        "forward",
        "forward_tangent",
        "backward",
        "backward_tangent",
        "backward_table",
        "backward_tangent_table",
    )

    def __init__(self, parity: str, hidden: int, edge: int) -> None:
        self.harmonics_rank = edge
        self.left, harmonics = irreps_of(parity, hidden), Irreps.natural(edge)
        triples = [
            (left, harmonic, out)
            for out in irreps_of(parity, edge).irreps
            for left in self.left.irreps
            for harmonic in harmonics.irreps
            if out in couplings(left, harmonic)
        ]
        self.outputs = Irreps(
            (sum(t[2] == out for t in triples), out) for out in dict.fromkeys(triple[2] for triple in triples)
        )
        starts = dict(zip(self.outputs.irreps, self.outputs.slices, strict=True))
        seen = dict.fromkeys(self.outputs.irreps, 0)
        paths = []
        for left, harmonic, out in triples:
            first, count = starts[out].start + seen[out], self.outputs.count(out)
            rows = tuple(first + k * count for k in range(out.dim))
            x, y = self.left.slice_of(left), slice(harmonic.l**2, (harmonic.l + 1) ** 2)
            paths.append(Path(left, harmonic, out, x, y, rows))
            seen[out] += 1
        self.paths = tuple(paths)

    @property
    def weights(self) -> int:
        """Columns of the table."""
        return len(self.paths)

    def terms(self, path: int) -> tuple[tuple[int, fmpq], ...]:
        """The radial weight of a path: columns of the table with their coefficients."""
        return ((path, fmpq(1)),)

    def prove_equivariant(self) -> None:
        """Turning features and harmonics by a generator turns every path; parities multiply."""
        for path in self.paths:
            require(path.out.p == path.left.p * path.edge.p, "a path of the wrong parity")
            _equivariant(path.left.l, path.edge.l, path.out.l)


@cache
def _equivariant(l1: int, l2: int, l3: int) -> None:
    space = Space()
    kinds = {"x": Irreps([Irrep.of_natural(l1)]), "y": Irreps([Irrep.of_natural(l2)])}
    slots = {name: space.variables(kind.dim) for name, kind in kinds.items()}
    out = couple((l1, l2, l3), slots["x"], slots["y"])
    for axis in range(3):
        moves = {name: turn(kinds[name], values, axis) for name, values in slots.items()}
        turned = turn(Irreps([Irrep.of_natural(l3)]), out, axis)
        require(same(tangent(out, slots, moves), turned), f"not equivariant about axis {axis}")


#: Stage -> what it writes.
STAGES = {
    "forward": ("out",),
    "forward_tangent": ("t_out",),
    "backward": ("d_x", "d_vectors"),
    "backward_tangent": ("t_d_x", "t_d_vectors"),
    "backward_table": ("d_x", "d_table"),
    "backward_tangent_table": ("t_d_x", "t_d_table"),
}


class Reference:
    """Every stage as sums over edges, paths and channels.

    With m = C y contracted with the harmonics, h_a = sum_k g_k m_ka and w = sum_s B_s table_s, the message of a path is
    (m x) w, and all stages are its derivatives by x, v and the table, where a tangent moves x and v.
    """

    def __init__(self, rule: Convolution, graph: Graph, values: dict[str, np.ndarray]) -> None:
        self.rule, self.graph, self.values = rule, graph, values
        self.channels = values["x"].shape[-1]

    def __call__(self, stage: str, start: int, stop: int) -> dict[str, np.ndarray]:
        """What a stage gives for rows start..stop of all, zero elsewhere, by the name of the array."""
        graph, values = self.graph, self.values
        shapes = {
            "out": (graph.receivers, self.rule.outputs.dim, self.channels),
            "x": values["x"].shape,
            "vectors": graph.vectors.shape,
            "table": values["table"].shape,
        }
        results = {name: zeros(*shapes[name.split("_")[-1]]) for name in STAGES[stage]}
        ends = graph.receiver if stage.startswith("forward") else graph.sender
        for e, end in enumerate(ends):
            if start <= end < stop and graph.within(e):
                for p, path in enumerate(self.rule.paths):
                    for c in range(self.channels):
                        self._message(stage, e, p, path, c, results)
        return results

    def of_weights(self, weights: np.ndarray) -> np.ndarray:
        """`forward` with the radial weights of every edge given, whatever its length but zero."""
        graph, x = self.graph, self.values["x"]
        out = zeros(graph.receivers, self.rule.outputs.dim, self.channels)
        for e, length in enumerate(graph.lengths):
            for p, path in enumerate(self.rule.paths):
                for c in range(self.channels if length else 0):
                    i, j = graph.receiver[e], graph.sender[e]
                    message = _rows(self._matrix(e, p), path, x[j, path.x, c], lambda m: m.value)
                    weight = _dot((weights[e, q, c] for q, _ in self.rule.terms(p)), (a for _, a in self.rule.terms(p)))
                    out[i, list(path.rows), c] += message * weight
        return out

    def entries(self, path: Path) -> Iterable[tuple[int, int, int, fmpq]]:
        """(k, a, b, C[k, a, b]) of a path."""
        return entries(path.left.l, path.edge.l, path.out.l)

    @cache  # noqa: B019
    def _matrix(self, e: int, p: int) -> list[tuple[int, int, Jet]]:
        """(k, a, m_ka) of a path on an edge."""
        path = self.rule.paths[p]
        _, y = self._jets(e)
        y = y[path.y]
        found: dict[tuple[int, int], Jet] = {}
        for k, a, b, c in self.entries(path):
            term = _scaled(y[b], c)
            found[k, a] = _added(found[k, a], term) if (k, a) in found else term
        return [(k, a, jet) for (k, a), jet in found.items()]

    def _jets(self, e: int) -> tuple[list[Jet], list[Jet]]:
        graph = self.graph
        return jets(self.rule.harmonics_rank, tuple(graph.vectors[e]), graph.knot(e), graph.step)

    def _message(self, stage: str, e: int, p: int, path: Path, c: int, results: dict[str, np.ndarray]) -> None:
        graph, values = self.graph, self.values
        i, j, row = graph.receiver[e], graph.sender[e], graph.row(e)
        rows, here = list(path.rows), slice(row, row + SPLINES)
        x, terms = values["x"][j, path.x, c], self.rule.terms(p)
        table = sum((values["table"][here, q, c] * a for q, a in terms), zeros(SPLINES))
        splines, matrix = self._jets(e)[0], self._matrix(e, p)
        moving = "tangent" in stage
        if moving:
            t_x, t_v = values["t_x"][j, path.x, c], values["t_vectors"][e]
        w = _dot((b.value for b in splines), table)
        t_w = _dot((b.along(t_v) for b in splines), table) if moving else None
        if stage == "forward":
            results["out"][i, rows, c] += _rows(matrix, path, x, lambda m: m.value) * w
            return
        if stage == "forward_tangent":
            out = (
                _rows(matrix, path, t_x, lambda m: m.value) * w
                + _rows(matrix, path, x, lambda m: m.along(t_v)) * w
                + _rows(matrix, path, x, lambda m: m.value) * t_w
            )
            results["t_out"][i, rows, c] += out
            return
        g = values["g"][i, rows, c]

        def h(number: Callable[[Jet], Any]) -> np.ndarray:
            return _columns(matrix, path, g, number)

        plain = h(lambda m: m.value)
        moved = h(lambda m: m.along(t_v)) if moving else None
        if moving:
            results["t_d_x"][j, path.x, c] += moved * w + plain * t_w
        else:
            results["d_x"][j, path.x, c] += plain * w
        if stage == "backward_table":
            for q, a in terms:
                results["d_table"][here, q, c] += _each(splines, lambda b: b.value, _dot(plain, x)) * a
        elif stage == "backward_tangent_table":
            along = _columns(matrix, path, values["t_g"][i, rows, c], lambda m: m.value)
            results["t_d_x"][j, path.x, c] += along * w
            first = _dot(plain, t_x) + _dot(moved, x) + _dot(along, x)
            gradient = _each(splines, lambda b: b.value, first) + _each(splines, lambda b: b.along(t_v), _dot(plain, x))
            for q, a in terms:
                results["t_d_table"][here, q, c] += gradient * a
        elif stage == "backward":
            for n in range(3):
                w_n, h_n = _dot((b.first[n] for b in splines), table), h(lambda m, n=n: m.first[n])  # type: ignore[misc]
                results["d_vectors"][e, n] += _dot(h_n, x) * w + _dot(plain, x) * w_n
        else:
            for n in range(3):
                w_n, h_n = _dot((b.first[n] for b in splines), table), h(lambda m, n=n: m.first[n])  # type: ignore[misc]
                t_w_n = _dot((b.first_along(n, t_v) for b in splines), table)
                t_h_n = h(lambda m, n=n: m.first_along(n, t_v))  # type: ignore[misc]
                results["t_d_vectors"][e, n] += (
                    _dot(h_n, t_x) * w
                    + _dot(plain, t_x) * w_n
                    + _dot(t_h_n, x) * w
                    + _dot(h_n, x) * t_w
                    + _dot(moved, x) * w_n
                    + _dot(plain, x) * t_w_n
                )


def _dot(a: Any, b: Any) -> Any:
    total: Any = fmpq(0)
    for p, q in zip(a, b, strict=True):
        total = total + p * q
    return total


def _rows(matrix: list[tuple[int, int, Jet]], path: Path, x: np.ndarray, number: Callable[[Jet], Any]) -> np.ndarray:
    """sum_a m_ka x_a."""
    out = zeros(path.out.dim)
    for k, a, jet in matrix:
        out[k] = out[k] + x[a] * number(jet)
    return out


def _columns(matrix: list[tuple[int, int, Jet]], path: Path, g: np.ndarray, number: Callable[[Jet], Any]) -> np.ndarray:
    """sum_k g_k m_ka."""
    out = zeros(path.left.dim)
    for k, a, jet in matrix:
        out[a] = out[a] + g[k] * number(jet)
    return out


def _each(splines: list[Jet], number: Callable[[Jet], Any], value: Any) -> np.ndarray:
    out = zeros(SPLINES)
    out[:] = [value * number(b) for b in splines]
    return out


def _scaled(jet: Jet, c: Any) -> Jet:
    return Jet(jet.value * c, tuple(f * c for f in jet.first), tuple(tuple(s * c for s in row) for row in jet.second))


def _added(a: Jet, b: Jet) -> Jet:
    first = tuple(p + q for p, q in zip(a.first, b.first, strict=True))
    second = tuple(tuple(p + q for p, q in zip(r, s, strict=True)) for r, s in zip(a.second, b.second, strict=True))
    return Jet(a.value + b.value, first, second)


class NearVector(Rational):
    """Arithmetic where the vector of an edge is free: roots of v . v, and comparisons at the vector's own numbers."""

    def __init__(self, vector: np.ndarray, length: fmpq) -> None:
        side = -1 if vector[2] < 0 else 1
        self._at = dict(enumerate([*vector, 1 / length]))
        self._at[number(EDGE.half)] = 1 / (1 + side * vector[2] / length)
        self._length = EDGE.q * EDGE.square
        self._middle = Sparse.of(1) + EDGE.q * EDGE.v[2] * side

    def sqrt(self, x: Any) -> Any:
        """|v| = q v . v."""
        if type(x) is Sparse:
            require(EDGE.reduced(x) == EDGE.square, "the square root of something other than v . v")
            return self._length
        return super().sqrt(x)

    def quotient(self, a: Any, b: Any) -> Any:
        """a q for a / |v|, a h for a / (1 + |v_z| q)."""
        if type(b) is Sparse and b == self._length:
            return a * EDGE.q
        if type(b) is Sparse and b == self._middle:
            return a * EDGE.half
        return super().quotient(a, b)

    def value(self, a: Any) -> Any:
        """At the vector's own numbers; tangents of it play no part in comparisons."""
        return super().value(a.at(self._at) if type(a) is Sparse else a)


@dataclass(frozen=True)
class Sizes:
    """Of one run."""

    channels: int
    thread: int
    threads: int
    width: int = 0


class ConvolutionKernel:
    """The Numba source of a convolution and its rule: loops of its own, functions of edges and messages imported."""

    def __init__(self, spec: EdgeSumSpec, rule: Convolution, read: Callable[[str], str], path: str) -> None:
        self.spec, self.rule, self._read, self.path = spec, rule, read, path

    def prove(self) -> None:
        """Every stage on every graph. Raises Disproved with what fails."""
        self.rule.prove_equivariant()
        stages = self.spec.stages()
        require({n: s.writes for n, s in stages.items()} == STAGES, "the stages are not those of a convolution")
        rng = random.Random(self.path)
        # the thread is not the last one, nor any other number of a run
        runs = [
            _Run(self, crowded(), Sizes(2, 1, 3), rng, free=("x", "g", "t_x", "t_g")),
            _Run(self, crowded(), Sizes(2, 1, 3), rng, free=("table",)),
            _Run(self, sparse(), Sizes(3, 0, 2), rng),
            _Run(self, sparse(), Sizes(4, 2, 5, width=2), rng),
            *(_Run(self, single(up), Sizes(1, 0, 1), rng, free_vector=True) for up in self.rule.sides),
        ]
        for run in runs:
            run.loaded.require_functions(STAGES)
            for stage in self.rule.in_vector if run.free_vector else STAGES:
                run.check(stage)
        require_reached([run.sources for run in runs], self.path)


class _Run:
    """One graph with values, and the source on it."""

    def __init__(
        self,
        kernel: ConvolutionKernel,
        graph: Graph,
        sizes: Sizes,
        rng: random.Random,
        free: tuple[str, ...] = (),
        free_vector: bool = False,
    ) -> None:
        self.kernel, self.sizes, self.free_vector = kernel, sizes, free_vector
        rule, arithmetic = kernel.rule, Rational()
        self.space = Space()
        self.space.count = EDGE.space.count
        t_vectors = numbers(rng, *graph.vectors.shape)
        if free_vector:
            arithmetic = NearVector(graph.vectors[0], graph.lengths[0] * graph.step)
            self.side = -1 if graph.vectors[0, 2] < 0 else 1
            symbols = np.array([EDGE.v], dtype=object)
            graph = Graph(**{**graph.__dict__, "vectors": symbols})
        self.graph = graph
        self.sources = Sources("numba", kernel._read, arithmetic, sizes.width)
        self.loaded = self.sources.load(kernel.path)
        channels, left = sizes.channels, rule.left.dim
        shapes = {
            "x": (graph.senders, left, channels),
            "table": (graph.rows, rule.weights, channels),
            "g": (graph.receivers, rule.outputs.dim, channels),
            "t_x": (graph.senders, left, channels),
            "t_g": (graph.receivers, rule.outputs.dim, channels),
        }
        self.values = {name: numbers(rng, *shape) for name, shape in shapes.items()}
        for name in free:
            self.values[name][..., 0] = self.space.variables(*shapes[name][:-1])
        self.values["t_vectors"] = t_vectors
        self.reference = Reference(rule, graph, self.values)
        self.inner = graph.receivers > 1

    def check(self, stage: str) -> None:
        """Raise Disproved unless a stage gives what it should, where it should."""
        graph, sizes = self.graph, self.sizes
        forward = stage.startswith("forward")
        rows = graph.receivers if forward else graph.senders
        start, stop = (1, rows - 1) if rows > 2 else (0, rows)
        if sizes.thread == 0:
            start, stop = 0, rows
        wanted = self.reference(stage, start, stop)
        filled = Space()
        filled.count = self.space.count
        before = {}
        for name, array in wanted.items():
            shape = (sizes.threads, *array.shape) if name.endswith("table") else array.shape
            before[name] = filled.variables(*shape)
        after = self._call(stage, start, stop, before)
        for name, array in wanted.items():
            expected = before[name].copy()
            if name.endswith("table"):
                expected[sizes.thread] = expected[sizes.thread] + array
            elif name.endswith("vectors"):
                for e in range(len(array)):
                    if start <= graph.sender[e] < stop:
                        expected[e] = array[e]
            else:
                expected[start:stop] = array[start:stop]
            for at in np.ndindex(expected.shape):
                difference = Sparse.of(after[name][at]) - expected[at]
                if self.free_vector:
                    difference = EDGE.reduced(difference, self.side)
                if difference.terms:
                    raise self._wrong(stage, name, at, expected[at] is before[name][at])

    def _wrong(self, stage: str, name: str, at: tuple[int, ...], untouched: bool) -> Disproved:
        width = f", channels {self.sizes.width} at a time" if self.sizes.width else ""
        if untouched:
            return Disproved(f"{stage} writes to {name}{list(at)}, which another atom or thread has{width}")
        what = "is not the closed form" if stage == "forward" else "is not the derivative of forward"
        return Disproved(f"{stage} {what}: {name}{list(at)}{width}")

    def _array(self, name: str, cells: np.ndarray, writable: bool) -> Array:
        """As a call passes it: atoms and components on one axis; all but vectors have channels."""
        base, width = name.split("_")[-1], self.sizes.width
        if base == "vectors":
            return Array(name, cells, REAL, writable)
        cells = to_lanes(cells, width) if width else cells
        cells = cells.reshape(self.kernel.spec.argument(name).shape(cells.shape))
        return Array(name, cells, LANE, writable, width)

    def _call(self, stage: str, start: int, stop: int, before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        graph, sizes, about = self.graph, self.sizes, self.kernel.spec.stages()[stage]
        names = ("block", "row_ptr", "col_ptr", "col_edge", "sender", "receiver")
        index = {name: getattr(graph, name) for name in names}
        given: dict[str, Any] = {"step": graph.step, "intervals": graph.intervals}
        given |= {name: Array(name, np.array(v, dtype=object), INDEX, False) for name, v in index.items()}
        values = {**self.values, "vectors": graph.vectors}
        given |= {name: self._array(name, values[name], False) for name in about.reads}
        results = {name: self._array(name, cells, True) for name, cells in before.items()}
        given |= results
        self.loaded[stage](start, stop, sizes.thread, *(given[name] for name in about.signature))
        after = {}
        for name, array in results.items():
            cells, shape = array.cells, before[name].shape
            if sizes.width and not name.endswith("vectors"):
                cells = from_lanes(cells.reshape(*shape[:-1], -1), sizes.width)
            after[name] = cells.reshape(shape)
        return after


def numbers(rng: random.Random, *shape: int) -> np.ndarray:
    """Random rationals."""
    array = np.empty(shape, dtype=object)
    for at in np.ndindex(shape):
        array[at] = random_rational(rng)
    return array
