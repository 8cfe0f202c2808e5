"""Proofs about what convolutions are made of, and about their Torch source and channel mixing.

edge splines and harmonics, identities in v, q = 1/|v|, the knot and knots per length, all free message one path on a
few edges, everything free; at any place in the arrays of a convolution Torch `forward` and `apply` of a convolution,
geometry included, on the graphs of `convolutions` linear a matrix product for each irrep, for many numbers of rows
and channels
"""

import random
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
from flint import fmpq

from cartalg_codegen.lowering.edges import CHUNK
from cartalg_codegen.proofs.arrays import INDEX, LANE, REAL, UNSET, Array
from cartalg_codegen.proofs.closed import couple, harmonic
from cartalg_codegen.proofs.convolutions import Convolution, Reference, numbers
from cartalg_codegen.proofs.dialect import NUMBA
from cartalg_codegen.proofs.exact import Loaded, Sources, WithRoots, require_reached
from cartalg_codegen.proofs.graphs import EDGE, SPLINES, Graph, crowded, single, sparse, splines
from cartalg_codegen.proofs.identities import Space, Sparse, gradient, require, same, tangent
from cartalg_codegen.proofs.tensors import Torch
from cartalg_codegen.specs import EdgeSpec, MessageSpec

Read = Callable[[str], str]


def prove_edge(spec: EdgeSpec, read: Read, path: str, backend: str) -> None:
    """Splines and harmonics, and their derivatives by dq/dv = -q^3 v [docs/theory.md, eq. 39]."""
    sources = Sources(backend, read)
    loaded = sources.load(path)
    unit = [EDGE.q * EDGE.v[i] for i in range(3)]
    s = splines()
    y = np.concatenate([harmonic(rank, unit) for rank in range(spec.edge + 1)])
    given: dict[str, Any] = {"v": EDGE.v, "inverse": [EDGE.q], "below": [EDGE.knot], "per_knot": EDGE.per_knot}
    if backend != NUMBA:
        loaded.require_functions(("edge",))
        torch = Torch(sources.arithmetic)
        columns = [np.array([v if name != "per_knot" else [v]], dtype=object) for name, v in given.items()]
        found = loaded["edge"](*(torch.tensor(c.reshape(1, -1)) for c in columns))
        for name, ours, wanted in zip("sy", found, (s, y), strict=True):
            require(same(ours.values, wanted[None]), f"edge: {name} is not the closed form")
        require_reached([sources], path)
        return
    stages = spec.stages()
    loaded.require_functions(stages)
    space = Space()
    space.count = EDGE.space.count
    t_v, d_s, d_y = space.variables(3), space.variables(len(s)), space.variables(len(y))
    t_d_s, t_d_y = space.variables(len(s)), space.variables(len(y))
    given |= {"t_v": t_v, "d_s": d_s, "d_y": d_y, "t_d_s": t_d_s, "t_d_y": t_d_y}

    def along(functions: np.ndarray, more: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        move_q = -1 * EDGE.q * EDGE.q * EDGE.q * sum((EDGE.v[i] * t_v[i] for i in range(1, 3)), EDGE.v[0] * t_v[0])
        slots = {"v": EDGE.v, "q": np.array([EDGE.q]), **{name: pair[0] for name, pair in more.items()}}
        moves = {"v": t_v, "q": np.array([move_q]), **{name: pair[1] for name, pair in more.items()}}
        return tangent(functions, slots, moves)

    both, weights = np.concatenate([s, y]), np.concatenate([d_s, d_y])
    d_v = np.array([EDGE.reduced(_inner(weights, [EDGE.slope(Sparse.of(f), i) for f in both])) for i in range(3)])
    stage_results: dict[str, dict[str, np.ndarray]] = {
        "edge": {"s": s, "y": y},
        "edge_tangent": {"t_s": along(s, {}), "t_y": along(y, {}), "s": s, "y": y},
        "edge_gradient": {"d_v": d_v},
        "edge_gradient_tangent": {"t_d_v": along(d_v, {"d_s": (d_s, t_d_s), "d_y": (d_y, t_d_y)})},
    }
    for stage, results in stage_results.items():
        for name, found in on_chunk(loaded, stage, given, {name: len(v) for name, v in results.items()}).items():
            ours = [EDGE.reduced(Sparse.of(v)) for v in found]
            closed = [EDGE.reduced(Sparse.of(v)) for v in results[name]]
            require(same(np.array(ours), np.array(closed)), f"{stage}: {name}")
    require_reached([sources], path)


def on_chunk(loaded: Any, stage: str, given: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """What a function gives for one edge among numbers, those of a whole chunk, by the names and sizes of results.

    Raises Disproved if it leaves out an edge.
    """
    rng, arrays = random.Random(stage), {}
    for name, values in given.items():
        if name == "per_knot":
            arrays[name] = values
            continue
        cells = numbers(rng, len(values), CHUNK)
        cells[:, 1] = values
        arrays[name] = Array(name, cells, REAL, False)
    for name, size in sizes.items():
        arrays[name] = Array(name, np.full((size, CHUNK), UNSET, dtype=object), REAL)
    loaded[stage](*(arrays[name] for name in loaded.arguments[stage]))
    for name in sizes:
        require(all(v is not UNSET for v in arrays[name].cells.flat), f"{stage} leaves out an edge")
    return {name: arrays[name].cells[:, 1] for name in sizes}


def _inner(a: Any, b: Any) -> Any:
    total: Any = fmpq(0)
    for p, q in zip(a, b, strict=True):
        total = total + p * q
    return Sparse.of(total)


class Message:
    """One path on edges at column 0 and 1 of a chunk, in arrays of a larger convolution; all that is read is free."""

    COUNT, PATHS, PATH, THREAD, CHANNELS = 2, 4, 1, 2, 3

    def __init__(self, spec: MessageSpec, read: Read, path: str, backend: str) -> None:
        self.spec, self.path, self.ranks = spec, path, spec.ranks
        self.sources = Sources(backend, read)
        self.loaded = self.sources.load(path)
        self.space = Space()
        l1, l2, l3 = self.ranks
        self.x_at, self.out_at, self.own = 2, 4, {True: 7, False: 6}
        rows = {"x": self.x_at + 2 * l1 + 2, "out": self.out_at + 2 * l3 * self.PATHS + 2}
        new, c = self.space.variables, self.CHANNELS
        edges = self.COUNT
        self.knot, self.other = [1, 0], {True: [3, 12], False: [2, 9]}
        self.y0 = l2 * l2
        self.values = {
            "x": new(15 + rows["x"], c), "t_x": new(15 + rows["x"], c), "g": new(15 + rows["out"], c),
            "t_g": new(15 + rows["out"], c), "table": new(SPLINES + 1, self.PATHS, c), "s": new(SPLINES, edges),
            "y": new(self.y0 + 2 * l2 + 1, edges), "t_s": new(SPLINES, edges), "t_y": new(self.y0 + 2 * l2 + 1, edges),
        }  # fmt: skip
        if not l2:  # the harmonic of rank 0 is 1
            self.values["y"][0], self.values["t_y"][0] = [Sparse.of(1)] * edges, [Sparse.of(0)] * edges
        self.rows = rows

    def prove_torch(self) -> None:
        """`forward` of one edge and channel."""
        self.loaded.require_functions(("forward",))
        l1, l2, _ = self.ranks
        torch, space = Torch(self.sources.arithmetic), Space()
        x, y, w = space.variables(2, 2 * l1 + 1, 2), space.variables(2, 2 * l2 + 1), space.variables(2, 1, 2)
        if not l2:
            y[:] = Sparse.of(1)
        out = self.loaded["forward"](*map(torch.tensor, (x, y, w))).values
        for e, c in product(range(2), range(2)):
            require(same(out[e, :, c], couple(self.ranks, x[e, :, c], y[e]) * w[e, 0, c]), "forward is no closed form")
        require_reached([self.sources], self.path)

    def _slices(self, n: int, c: int, forward: bool) -> dict[str, tuple[Any, ...]]:
        """Where edge n and channel c find their numbers in each array."""
        l1, l2, l3 = self.ranks
        own, other = self.own[forward], self.other[forward][n]
        x = (other if forward else own) + self.x_at
        out = (own if forward else other) + self.out_at
        return {
            "x": (slice(x, x + 2 * l1 + 1), c),
            "out": (slice(out, out + 2 * l3 * self.PATHS + 1, self.PATHS), c),
            "table": (slice(self.knot[n], self.knot[n] + SPLINES), self.PATH, c),
            "s": (slice(0, SPLINES), n),
            "y": (slice(self.y0, self.y0 + 2 * l2 + 1), n),
        }

    def prove(self) -> None:
        """Every stage adds, for every edge and channel, the derivative of (C x y)(sum_p s_p table_p)."""
        stages = self.spec.stages()
        self.loaded.require_functions(stages)
        for stage in stages:
            self._check(stage)
        require_reached([self.sources], self.path)

    def _check(self, stage: str) -> None:
        forward, moving = stage.startswith("forward"), "tangent" in stage
        filled = Space()
        filled.count = self.space.count
        sizes = {"out": (15 + self.rows["out"], self.CHANNELS), "x": self.values["x"].shape}
        edge_rows = SPLINES + len(self.values["y"])
        results: dict[str, np.ndarray] = {}
        for name in self.loaded.arguments[stage]:
            if name.startswith(("d_", "t_d_")) or name in ("out", "t_out"):
                base = name.split("_")[-1]
                shape = sizes.get(base, (self.COUNT + 1, edge_rows))
                shape = (4, *self.values["table"].shape) if base == "table" else shape
                results[name] = filled.variables(*shape)
        wanted = {name: array.copy() for name, array in results.items()}
        for n, c in product(range(self.COUNT), range(self.CHANNELS)):
            self._add(stage, forward, moving, n, c, wanted)
        given: dict[str, Any] = {
            "count": self.COUNT, "own": self.own[forward], "x_at": self.x_at, "out_at": self.out_at,
            "paths": self.PATHS, "path": self.PATH, "thread": self.THREAD,
            "knot": Array("knot", np.array([*self.knot, 0], dtype=object), INDEX, False),
            "other": Array("other", np.array([*self.other[forward], 0], dtype=object), INDEX, False),
        }  # fmt: skip
        for name in ("m", "t_m"):
            given[name] = Array(name, np.full((100, self.COUNT + 1), UNSET, dtype=object), REAL)
        for name, values in self.values.items():
            lanes = name in ("x", "t_x", "g", "t_g", "table")
            given[name] = Array(name, values, LANE if lanes else REAL, False)
        given |= {name: Array(name, array, LANE) for name, array in results.items()}
        self.loaded[stage](*(given[name] for name in self.loaded.arguments[stage]))
        for name, array in wanted.items():
            require(same(given[name].cells, array), f"{stage} does not add the derivative that it should to {name}")

    def _add(self, stage: str, forward: bool, moving: bool, n: int, c: int, wanted: dict[str, np.ndarray]) -> None:
        at = self._slices(n, c, forward)
        theta = {name: self.values[name][at[name]] for name in ("x", "s", "y", "table")}
        w = _inner(theta["s"], theta["table"])
        out = couple(self.ranks, theta["x"], theta["y"]) * w
        free = {name: values for name, values in theta.items() if name != "y" or self.ranks[1]}
        moves = {name: self.values[f"t_{name}"][at[name]] for name in free if name != "table"}
        if forward:
            value = tangent(out, free, moves) if moving else out
            name = "t_out" if moving else "out"
            wanted[name][at["out"]] += value
            return
        first = gradient(out, self.values["g"][at["out"]], free)
        second = {slot: tangent(values, free, moves) for slot, values in first.items()}
        if "t_g" in self.loaded.arguments[stage]:
            along = gradient(out, self.values["t_g"][at["out"]], free)
            second = {slot: values + along[slot] for slot, values in second.items()}
        for name in wanted:
            values = second if name.startswith("t_") else first
            base = name.split("_")[-1]
            if base == "edge":
                row = wanted[name][n]
                row[:SPLINES] += values["s"]
                if self.ranks[1]:
                    row[SPLINES + self.y0 :] += values["y"]
            elif base == "table":
                wanted[name][(self.THREAD, *at["table"])] += values["table"]
            else:
                wanted[name][at["x"]] += values["x"]


def prove_torch_convolution(rule: Convolution, read: Read, path: str) -> None:
    """`forward` and `apply` are sums over edges within the cutoff, and of any length, of what the rule says."""
    rule.prove_equivariant()
    rng, runs = random.Random(path), []
    for graph, channels, free in ((crowded(), 2, True), (sparse(), 3, False), (single(), 1, False)):
        sources = Sources("torch", read, WithRoots())
        loaded = sources.load(path)
        runs.append(sources)
        require({"forward", "apply"} <= set(loaded.own), f"{path}.py has no function forward or apply")
        _torch_run(rule, loaded, sources, graph, channels, rng, free)
    require_reached(runs, path)


def _torch_run(
    rule: Convolution, loaded: Loaded, sources: Sources, graph: Graph, channels: int, rng: random.Random, free: bool
) -> None:
    space, torch = Space(), Torch(sources.arithmetic)
    values: dict[str, np.ndarray] = {
        "x": (space.variables if free else lambda *s: numbers(rng, *s))(graph.senders, rule.left.dim, channels),
        "table": numbers(rng, graph.rows, rule.weights, channels),
    }
    shape = (graph.receivers, rule.outputs.dim, channels)
    before, weights = space.variables(*shape), numbers(rng, len(graph.sender), rule.weights, channels)
    block, sender, receiver = (torch.tensor(np.array(of)) for of in (graph.block, graph.sender, graph.receiver))
    x, vectors = torch.tensor(values["x"].copy()), torch.tensor(graph.vectors.copy())
    table, out = torch.tensor(values["table"].copy()), torch.tensor(before.copy())
    found = loaded["forward"](graph.step, graph.intervals, block, sender, receiver, x, vectors, table, out)
    reference = Reference(rule, graph, values)
    wanted = before + reference("forward", 0, graph.receivers)["out"]
    require(same(found.values, wanted), "forward is not the closed form")
    found = loaded["apply"](sender, receiver, x, vectors, torch.tensor(weights.copy()), torch.tensor(before.copy()))
    wanted = before + reference.of_weights(weights)
    require(same(found.values, wanted), "apply is not the closed form")


def prove_linear(read: Read, path: str) -> None:
    """A matrix product for every irrep, for rows and channels that fill tiles and that do not, set or added to.

    The gradient to its matrices is the product of the other two.
    """
    runs = []
    for rows, channels in ((1, 1), (2, 3), (3, 2), (5, 5), (9, 1), (11, 4), (17, 2)):
        for start, thread, add, free in ((0, 0, 0, True), (1, 1, 1, False)):
            sources = Sources(NUMBA, read)
            runs.append(sources)
            sources.load(path).require_functions(("forward", "backward_weight"))
            _mix(sources.load(path), rows + start, start, channels, thread, add, free and rows == 3)
    require_reached(runs, path)


def _mix(loaded: Loaded, rows: int, start: int, channels: int, thread: int, add: int, free: bool) -> None:
    """A scalar from two paths and a vector from one, between numbers of other irreps; rows start.. of one more."""
    rng, space = random.Random(rows * channels), Space()
    new = space.variables if free else lambda *shape: numbers(rng, *shape)
    depth = {1: 2 * channels, 3: channels}
    columns = 2 + depth[1] + 3 * depth[3]
    x, weight = new(rows + 1, columns), new(1 + sum(depth.values()), channels)
    layout = [
        [1, 1, depth[1], depth[1], 1, 1, 6, add],
        [3, 1 + depth[1], depth[3], depth[3], 1 + depth[1], 2, 6, add],
    ]
    before = Space().variables((rows + 1) * 6, channels) if not free else new((rows + 1) * 6, channels)
    out = Array("out", before, LANE)
    loaded["forward"](
        start,
        rows,
        thread,
        Array("layout", np.array(layout, dtype=object), INDEX, False),
        Array("x", x, REAL, False),
        Array("weight", weight, LANE, False),
        out,
    )
    wanted = before.copy()
    for n in range(start, rows):
        for size, x_at, step, length, w_at, out_at, out_rows, _ in layout:
            for k in range(size):
                values = x[n, x_at + k * step : x_at + k * step + length]
                for c in range(channels):
                    total = _inner(values, weight[w_at : w_at + length, c])
                    row = n * out_rows + out_at + k
                    wanted[row, c] = before[row, c] + total if add else total
    require(same(out.cells, wanted), f"forward is not a matrix product for {rows - start} rows, {channels} channels")
    g, parts = new((rows + 1) * 6, channels), new(2, len(weight), channels)
    found = Array("d_weight", parts.copy(), LANE)
    loaded["backward_weight"](
        start,
        rows,
        thread,
        Array("layout", np.array(layout, dtype=object), INDEX, False),
        Array("x", x, REAL, False),
        Array("g", g, LANE, False),
        found,
    )
    for size, x_at, step, length, w_at, out_at, out_rows, _ in layout:
        for q, c in np.ndindex(length, channels):
            pairs = [(n, k) for n in range(start, rows) for k in range(size)]
            left = np.array([x[n, x_at + k * step + q] for n, k in pairs], dtype=object)
            right = np.array([g[n * out_rows + out_at + k, c] for n, k in pairs], dtype=object)
            parts[thread, w_at + q, c] += _inner(left, right)
    require(same(found.cells, parts), f"backward_weight is not a sum over {rows - start} rows, {channels} channels")
