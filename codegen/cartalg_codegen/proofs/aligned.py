"""Proofs about edge-aligned convolutions: frames and messages by themselves, and the rule that the whole is held to.

frame     g z = n and g g = 1, matrices by the coupling with a vector, in v, q = 1/|v| and h = 1/(1 + |n_z|), on both
          sides of the plane across z; derivatives of splines and of tau in the frame as it is
message   matrices with random rationals in the place of the frame; features, tangents and cotangents free
whole     `convolutions`, where the rule is a sum over paths that knows no frame
"""

import random
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np
from flint import fmpq

from cartalg.symbolic.aligned import paths_of_diagonals
from cartalg.symbolic.basis import squared_norms
from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.rotation import generator
from cartalg_codegen.proofs.arrays import INDEX, LANE, REAL, Array
from cartalg_codegen.proofs.closed import entries, harmonic, norm_squared, rational, zeros
from cartalg_codegen.proofs.convolutions import Convolution, Path, numbers
from cartalg_codegen.proofs.dialect import NUMBA
from cartalg_codegen.proofs.exact import Sources, require_reached
from cartalg_codegen.proofs.graphs import EDGE, SPLINES, splines
from cartalg_codegen.proofs.identities import Space, Sparse, exact, require, same
from cartalg_codegen.proofs.parts import on_chunk
from cartalg_codegen.proofs.tensors import Torch
from cartalg_codegen.specs import AlignedMessageSpec, FrameSpec

Read = Callable[[str], str]
#: Places of x, y, z in a packed vector.
ORDER = (1, 2, 0)


class AlignedRule(Convolution):
    """All paths, those of an output added, with a weight for each (l1, l3, |m|) [docs/theory.md, eqs. 35, 53, 54]."""

    #: In others polynomials are long. They are its derivatives, as `prove_frame` and `Message` prove for every frame;
    #: here they are run at many vectors.
    in_vector = ("forward",)
    sides = (True, False)

    def __init__(self, hidden: int, edge: int) -> None:
        self.harmonics_rank = hidden + edge
        self.left, self.outputs = Irreps.natural(hidden), Irreps.natural(edge)
        harmonics = Irreps.natural(hidden + edge)
        self.listed = [
            (l1, l3, m)
            for m in range(min(hidden, edge) + 1)
            for l3 in range(m, edge + 1)
            for l1 in range(m, hidden + 1)
        ]
        paths, terms = [], []
        for left in self.left.irreps:
            for out in self.outputs.irreps:
                require_basis(left.l, out.l)
                for l2, coefficients in paths_of_diagonals(left.l, out.l).items():
                    rows = tuple(range(out.l**2, (out.l + 1) ** 2))
                    place, edge_irrep = self.left.slice_of(left), harmonics.irreps[l2]
                    paths.append(Path(left, edge_irrep, out, place, slice(l2**2, (l2 + 1) ** 2), rows))
                    at = [self.listed.index((left.l, out.l, m)) for m in range(len(coefficients))]
                    terms.append(tuple((n, exact(c)) for n, c in zip(at, coefficients, strict=True) if c))
        self.paths, self._terms = tuple(paths), tuple(terms)

    @property
    def weights(self) -> int:
        """Columns of the table."""
        return len(self.listed)

    def terms(self, path: int) -> tuple[tuple[int, fmpq], ...]:
        """The radial weight of a path: columns of the table with their coefficients."""
        return self._terms[path]


@cache
def require_basis(l1: int, l3: int) -> None:
    """Raise Disproved unless paths with the weights of a diagonal make that diagonal, and nothing off it."""
    for m, _ in enumerate(next(iter(paths_of_diagonals(l1, l3).values()))):
        total: dict[tuple[int, int], fmpq] = {}
        for l2, coefficients in paths_of_diagonals(l1, l3).items():
            z = harmonic(l2, [fmpq(0), fmpq(0), fmpq(1)])
            for k, a, b, c in entries(l1, l2, l3):
                at = k - l3, a - l1
                total[at] = total.get(at, fmpq(0)) + c * z[b] * exact(coefficients[m])
        wanted = {(m, m): 1, (-m, -m): 1}
        require({at: c for at, c in total.items() if c} == wanted, f"paths ({l1}, {l3}) do not make the weight of {m}")


def columns(rank: int, hidden: int) -> range:
    """Columns of a frame's matrix that are there: components that second derivatives of messages reach."""
    reach = min(rank, hidden + 2)
    return range(rank - reach, rank + reach + 1)


class Frame:
    """The frame of an edge on one side of the plane across z, in v, q and h."""

    def __init__(self, side: int) -> None:
        self.side = side
        n = [EDGE.q * EDGE.v[i] for i in range(3)]
        u = [n[0], n[1], n[2] + side]
        g = [[self.reduced((u[i] * u[j] * EDGE.half - int(i == j)) * side) for j in range(3)] for i in range(3)]
        for i in range(3):
            require(self.reduced(g[i][2] - n[i]) == Sparse.of(0), "the frame does not take z to the edge")
            for j in range(3):
                square = sum((g[i][k] * g[k][j] for k in range(1, 3)), g[i][0] * g[0][j])
                require(self.reduced(square) == Sparse.of(int(i == j)), "the frame is not its own inverse")
        self.g = g
        self._matrices = {1: np.array([[g[i][j] for j in ORDER] for i in ORDER], dtype=object)}

    def reduced(self, f: Any) -> Sparse:
        """Modulo q^2 (v . v) = 1 and h (1 + side q v_z) = 1."""
        return EDGE.reduced(Sparse.of(f), self.side)

    def matrix(self, rank: int) -> np.ndarray:
        """D_l = C (D_{l-1} x D_1) C+ [docs/theory.md, eq. 31]."""
        if rank not in self._matrices:
            before, first = self.matrix(rank - 1), self._matrices[1]
            irreps = [Irreps.natural(rank).irreps[r] for r in (rank - 1, 1, rank)]
            q = exact(norm_squared(*irreps))
            norms = [[rational(n) for n in squared_norms(r)] for r in (rank - 1, 1, rank)]
            found = zeros(2 * rank + 1, 2 * rank + 1)
            for row, a, b, c in entries(rank - 1, 1, rank):
                for column, above, vector, d in entries(rank - 1, 1, rank):
                    scale = q * c * d * norms[2][column] / (norms[0][above] * norms[1][vector])
                    found[row, column] = found[row, column] + before[a, above] * first[b, vector] * scale
            for at in np.ndindex(found.shape):
                found[at] = self.reduced(found[at])
            self._matrices[rank] = found
        return self._matrices[rank]

    def entries(self, hidden: int, edge: int) -> np.ndarray:
        """All that is kept, rank after rank, row after row."""
        ranks = range(1, max(hidden, edge) + 1)
        listed = [self.matrix(r)[k, a] for r in ranks for k in range(2 * r + 1) for a in columns(r, hidden)]
        return np.array(listed, dtype=object)


def prove_frame(spec: FrameSpec, read: Read, path: str, backend: str) -> None:
    """Splines, frames, and derivatives of splines and of tau_a = q (g e_a) . v, g at rest [docs/theory.md, eq. 56]."""
    sources = Sources(backend, read)
    loaded = sources.load(path)
    for side in (1, -1):
        frame, s = Frame(side), splines()
        turn = frame.entries(spec.hidden, spec.edge)
        given: dict[str, Any] = {
            "v": EDGE.v,
            "inverse": [EDGE.q],
            "below": [EDGE.knot],
            "per_knot": EDGE.per_knot,
            "side": [fmpq(side)],
            "half": [EDGE.half],
        }
        if backend != NUMBA:
            loaded.require_functions(("edge",))
            torch = Torch(sources.arithmetic)
            cells = [np.array([v if name != "per_knot" else [v]], dtype=object) for name, v in given.items()]
            found = loaded["edge"](*(torch.tensor(c.reshape(1, -1)) for c in cells))
            for name, ours, wanted in zip(("s", "turn"), found, (s, turn), strict=True):
                differences = [frame.reduced(a - b) for a, b in zip(ours.values[0], wanted, strict=True)]
                require(not any(d.terms for d in differences), f"edge: {name} is not the closed form")
            continue
        loaded.require_functions(spec.stages())
        space = Space()
        space.count = EDGE.space.count
        t_v, d_s, d_tau = space.variables(3), space.variables(len(s)), space.variables(2)
        t_d_s, t_d_tau = space.variables(len(s)), space.variables(2)
        given |= {"turn": turn, "t_v": t_v, "d_s": d_s, "d_tau": d_tau, "t_d_s": t_d_s, "t_d_tau": t_d_tau}
        axes = [[frame.g[i][a] for i in range(3)] for a in range(2)]
        along = _dot(EDGE.v, t_v) * EDGE.q * EDGE.q * EDGE.q * -1  # of q
        unit_first = [[axes[a][i] * EDGE.q for i in range(3)] for a in range(2)]  # flat: (g e_a) . v = 0
        s_first = [[EDGE.slope(Sparse.of(f), i) for i in range(3)] for f in s]
        t_tau = [_dot(unit_first[a], t_v) for a in range(2)]
        t_s = [_dot(slopes, t_v) for slopes in s_first]
        d_v = [_dot(d_s, [f[i] for f in s_first]) + _dot(d_tau, [u[i] for u in unit_first]) for i in range(3)]
        t_d_v = []
        for i in range(3):
            second = [_dot([EDGE.slope(f[i], j) for j in range(3)], t_v) for f in s_first]
            # d^2 (q (e . v)) = dq_i e_j + dq_j e_i + (e . v) d^2 q, the last zero
            moved = [
                along * axes[a][i] + EDGE.q * EDGE.q * EDGE.q * EDGE.v[i] * _dot(axes[a], t_v) * -1 for a in range(2)
            ]
            total = _dot(t_d_s, [f[i] for f in s_first]) + _dot(t_d_tau, [u[i] for u in unit_first])
            t_d_v.append(total + _dot(d_s, second) + _dot(d_tau, moved))
        wanted_of: dict[str, dict[str, Any]] = {
            "edge": {"s": s, "turn": turn},
            "edge_tangent": {"t_s": t_s, "t_tau": t_tau, "s": s, "turn": turn},
            "edge_gradient": {"d_v": d_v},
            "edge_gradient_tangent": {"t_d_v": t_d_v},
        }
        for stage, results in wanted_of.items():
            for name, found in on_chunk(loaded, stage, given, {name: len(v) for name, v in results.items()}).items():
                differences = [frame.reduced(Sparse.of(a) - b) for a, b in zip(found, results[name], strict=True)]
                require(not any(d.terms for d in differences), f"{stage}: {name} is not what it should be")
    require_reached([sources], path)


def _dot(a: Any, b: Any) -> Any:
    total: Any = fmpq(0)
    for p, q in zip(a, b, strict=True):
        total = total + p * q
    return total


class Message:
    """A message on edges at column 0 and 1 of a chunk, with matrices of random rationals for frames.

    Out is a form in x, the splines, the table, and tau to second order: matrices for each radial weight and derivative
    by tau are all there is to know, and the rest are sums in which an argument is replaced.
    """

    COUNT, THREAD, THREADS, CHANNELS, OWN = 2, 2, 4, 2, 1
    #: Powers of tau: none, one of each, and the second derivatives.
    MOVES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 0), (0, 1), (1, 1))

    def __init__(self, spec: AlignedMessageSpec, read: Read, path: str, backend: str) -> None:
        self.path, self.rule = path, AlignedRule(spec.hidden, spec.edge)
        self.hidden, self.edge, self.stages = spec.hidden, spec.edge, spec.stages()
        self.sources = Sources(backend, read)
        self.loaded = self.sources.load(path)
        rng, c = random.Random(path), self.CHANNELS
        sizes = {"x": self.rule.left.dim, "out": self.rule.outputs.dim}
        self.sizes, atoms = sizes, 3
        ranks = range(1, max(spec.hidden, spec.edge) + 1)
        self.places = [(r, k, a) for r in ranks for k in range(2 * r + 1) for a in columns(r, spec.hidden)]
        shapes = {
            "x": (atoms, sizes["x"], c), "t_x": (atoms, sizes["x"], c),
            "g": (atoms, sizes["out"], c), "t_g": (atoms, sizes["out"], c),
            "table": (SPLINES + 1, self.rule.weights, c), "s": (SPLINES, self.COUNT), "t_s": (SPLINES, self.COUNT),
            "t_tau": (2, self.COUNT), "turn": (len(self.places), self.COUNT),
        }  # fmt: skip
        self.values = {name: numbers(rng, *shape) for name, shape in shapes.items()}
        self.space = Space()
        for name in ("x", "t_x", "g", "t_g"):
            self.values[name][..., 0] = self.space.variables(*shapes[name][:-1])
        self.knot, self.other = (1, 0), (2, 0)

    def prove_torch(self) -> None:
        """`forward` of given weights, the frame of every edge its own."""
        self.loaded.require_functions(("forward",))
        torch, n = Torch(self.sources.arithmetic), self.COUNT
        x, turn = self.values["x"][:n], self.values["turn"].T
        w = numbers(random.Random(0), n, self.rule.weights, self.CHANNELS)
        out = self.loaded["forward"](*map(torch.tensor, (x, turn, w))).values
        for e in range(n):
            for c in range(self.CHANNELS):
                wanted = sum(
                    (self._apply(e, p, (), x[e, :, c]) * v for p, v in enumerate(w[e, :, c])), zeros(out.shape[1])
                )
                require(same(out[e, :, c], wanted), "forward is no closed form")
        require_reached([self.sources], self.path)

    def prove(self) -> None:
        """Every stage adds, for every edge and channel, the derivative of the form that it should."""
        self.loaded.require_functions(self.stages)
        for stage in self.stages:
            self._check(stage)
        require_reached([self.sources], self.path)

    def _matrix(self, rank: int, n: int) -> np.ndarray:
        """The frame's matrix of an edge."""
        found = zeros(2 * rank + 1, 2 * rank + 1)
        if rank == 0:
            found[0, 0] = fmpq(1)
        for (r, k, a), value in zip(self.places, self.values["turn"][:, n], strict=True):
            if r == rank:
                found[k, a] = value
        return found

    @cached_property
    def _forms(self) -> list[list[dict[tuple[int, ...], tuple[int, int, np.ndarray]]]]:
        """For each edge, weight and derivative by tau: (l1, l3, matrix from components of l1 to those of l3)."""
        return [[self._form(n, *weight) for weight in self.rule.listed] for n in range(self.COUNT)]

    def _form(self, n: int, l1: int, l3: int, m: int) -> dict[tuple[int, ...], tuple[int, int, np.ndarray]]:
        middle = zeros(2 * l3 + 1, 2 * l1 + 1)
        for sign in {m, -m}:
            middle[l3 + sign, l1 + sign] = fmpq(1)
        a, b = _turns(l1, -1), _turns(l3, 1)
        found = {}
        for moves in self.MOVES:
            # derivatives at 0 of R(tau) W R(-tau), Leibniz: each move on one side or the other
            total = zeros(*middle.shape)
            for bits in range(2 ** len(moves)):
                left = tuple(t for i, t in enumerate(moves) if bits >> i & 1)
                right = tuple(t for i, t in enumerate(moves) if not bits >> i & 1)
                total = total + b[left] @ middle @ a[right]
            found[moves] = (l1, l3, self._matrix(l3, n) @ total @ self._matrix(l1, n))
        return found

    def _apply(self, n: int, p: int, moves: tuple[int, ...], x: np.ndarray) -> np.ndarray:
        """Rows of the output of one weight."""
        l1, l3, matrix = self._forms[n][p][moves]
        out = zeros(self.sizes["out"])
        out[l3**2 : (l3 + 1) ** 2] = matrix @ x[l1**2 : (l1 + 1) ** 2]
        return out

    def _back(self, n: int, p: int, moves: tuple[int, ...], g: np.ndarray) -> np.ndarray:
        l1, l3, matrix = self._forms[n][p][moves]
        out = zeros(self.sizes["x"])
        out[l1**2 : (l1 + 1) ** 2] = matrix.T @ g[l3**2 : (l3 + 1) ** 2]
        return out

    def _add(self, stage: str, n: int, c: int, results: dict[str, np.ndarray]) -> None:
        forward, moving = stage.startswith("forward"), "tangent" in stage
        own, other, v = self.OWN, self.other[n], self.values
        sender, receiver = (other, own) if forward else (own, other)
        knots = slice(self.knot[n], self.knot[n] + SPLINES)
        x, t_x, g = v["x"][sender, :, c], v["t_x"][sender, :, c], v["g"][receiver, :, c]
        s, t_s, t_tau = v["s"][:, n], v["t_s"][:, n], v["t_tau"][:, n]
        for p in range(self.rule.weights):
            table = v["table"][knots, p, c]
            w, t_w = _dot(s, table), _dot(t_s, table)
            if forward:
                if not moving:
                    results["out"][receiver, :, c] += self._apply(n, p, (), x) * w
                    continue
                out = self._apply(n, p, (), t_x) * w + self._apply(n, p, (), x) * t_w
                for a in range(2):
                    out = out + self._apply(n, p, (a,), x) * (w * t_tau[a])
                results["t_out"][receiver, :, c] += out
                continue
            plain, first = self._back(n, p, (), g), [self._back(n, p, (a,), g) for a in range(2)]
            turned = first[0] * t_tau[0] + first[1] * t_tau[1]
            of_x, of_t = _dot(plain, x), _dot(plain, t_x) + _dot(turned, x)
            if "t_g" in self.stages[stage].reads:
                along = self._back(n, p, (), v["t_g"][receiver, :, c])
                turned, of_t = turned + along, of_t + _dot(along, x)
            values: dict[str, Any] = {"d_x": plain * w, "t_d_x": plain * t_w + turned * w}
            for name in ("d_x", "t_d_x"):
                if name in results:
                    results[name][sender, :, c] += values[name]
            if "d_table" in results:
                results["d_table"][self.THREAD, knots, p, c] += s * of_x
            if "t_d_table" in results:
                results["t_d_table"][self.THREAD, knots, p, c] += s * of_t + t_s * of_x
            if "d_edge" in results:
                row = results["d_edge"][n]
                row[:SPLINES] += table * of_x
                for a in range(2):
                    row[SPLINES + a] += _dot(first[a], x) * w
            if "t_d_edge" in results:
                row = results["t_d_edge"][n]
                row[:SPLINES] += table * of_t
                for a in range(2):
                    second = [self._back(n, p, tuple(sorted((a, b))), g) for b in range(2)]
                    moved = _dot(second[0], x) * t_tau[0] + _dot(second[1], x) * t_tau[1]
                    row[SPLINES + a] += _dot(first[a], t_x) * w + _dot(first[a], x) * t_w + moved * w

    def _check(self, stage: str) -> None:
        atoms, c = self.values["x"].shape[0], self.CHANNELS
        filled = Space()
        filled.count = self.space.count
        shapes = {
            "out": (atoms, self.sizes["out"], c),
            "x": self.values["x"].shape,
            "edge": (self.COUNT + 1, SPLINES + 2),
            "table": (self.THREADS, *self.values["table"].shape),
        }
        home = next(f for f in (self.loaded, *self.loaded.siblings) if stage in f.arguments)  # a long one is divided
        arguments = home.arguments[stage]
        results = {
            name: filled.variables(*shapes[name.split("_")[-1]])
            for name in arguments
            if name.startswith(("d_", "t_d_")) or name in ("out", "t_out")
        }
        wanted = {name: array.copy() for name, array in results.items()}
        for n in range(self.COUNT):
            for channel in range(c):
                self._add(stage, n, channel, wanted)
        given: dict[str, Any] = {
            "count": self.COUNT, "own": self.OWN, "thread": self.THREAD,
            "knot": Array("knot", np.array([*self.knot, 0], dtype=object), INDEX, False),
            "other": Array("other", np.array([*self.other, 0], dtype=object), INDEX, False),
        }  # fmt: skip
        for name, values in {**self.values, **results}.items():
            writable, base = name in results, name.split("_")[-1]
            lanes = base in ("x", "g", "out", "table", "edge")
            cells = values
            if base in ("x", "g", "out", "table"):
                cells = values.reshape(-1, values.shape[-2] * c)
            given[name] = Array(name, cells, LANE if lanes else REAL, writable)
        self.loaded[stage](*(given[name] for name in arguments))
        for name, array in wanted.items():
            ours = given[name].cells.reshape(array.shape)
            require(same(ours, array), f"{stage} does not add the derivative that it should to {name}")


def _turns(rank: int, sign: int) -> dict[tuple[int, ...], np.ndarray]:
    """Derivatives at 0 of R(sign tau), R = exp(tau_1 J_y - tau_2 J_x)."""
    first = []
    for axis, direction in ((1, 1), (0, -1)):
        matrix = zeros(2 * rank + 1, 2 * rank + 1)
        for k, row in enumerate(generator(rank, axis)):
            matrix[k] = [exact(c) * sign * direction for c in row]
        first.append(matrix)
    one = zeros(2 * rank + 1, 2 * rank + 1)
    for k in range(2 * rank + 1):
        one[k, k] = fmpq(1)
    found = {(): one, (0,): first[0], (1,): first[1]}
    for a in range(2):
        for b in range(2):
            found[a, b] = (first[a] @ first[b] + first[b] @ first[a]) * fmpq(1, 2)
    return found
