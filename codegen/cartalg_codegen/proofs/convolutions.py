"""Proofs about emitted edge convolutions, by composition.

What an edge contributes, `edge` and `matrices` with their derivatives, are straight-line functions: identities between
polynomials in the edge vector v, q = 1/|v|, the knot k and knots per angstrom s. The functions with loops are then run
on one edge with `edge` replaced by free variables, so that their results are identities between polynomials as well;
that they hand the right v, q, k, s to `edge` is checked at a rational point, for the square root and the choice of a
knot interval are no polynomials. Source: docs/theory.md, section 7.
"""

from fractions import Fraction
from typing import Any

import numpy as np

from cartalg_codegen.forms import SPLINES, offsets, size, spline_pieces
from cartalg_codegen.proofs import exact
from cartalg_codegen.proofs.identities import Space, Sparse, gradient, tangent
from cartalg_codegen.proofs.rows import couple, harmonic, require, same, turn

#: One edge of length 1 and knots 2 angstrom apart, so that it lies in the only interval of the table.
VECTOR = (Fraction(2, 3), Fraction(1, 3), Fraction(-2, 3))
STEP = Fraction(2)


class EdgeKernel:
    """The functions of one emitted convolution, and the variables they are run on."""

    def __init__(self, facts: dict[str, Any], text: str, name: str) -> None:
        self.facts, self.functions, self.space = facts, exact.load(text, name), Space()
        self.left = tuple(map(tuple, facts["left"]))
        self.paths = facts["paths"]
        new = self.space.variables
        self.v, self.q, self.k, self.s = new(3), new(1), new(1), new(1)
        self.z, self.t_z = new(facts["edge_size"]), new(facts["edge_size"])
        self.x, self.t_x = new(size(self.left)), new(size(self.left))
        self.table = new(SPLINES, len(self.paths))
        self.g = new(sum(2 * p["out"][0] + 1 for p in self.paths))
        self.z[SPLINES] = Sparse.of(1)  # the harmonic of rank 0
        self.t_z[SPLINES] = Sparse.of(0)

    def prove(self) -> None:
        """Everything. Raises Disproved with what fails."""
        self._edge()
        out = self._closed_form()
        slots = {"x": self.x, "z": self._free(self.z), "table": self.table}
        self._equivariant(out)
        require(same(self._forward("forward"), out), "forward is not the closed form")
        moves = {"x": self.t_x, "z": self._free(self.t_z)}
        moved = tangent(out, slots, moves)
        require(same(self._forward("forward_tangent"), moved), "forward_tangent is not the derivative of forward")
        first = gradient(out, self.g, slots)
        second = {s: tangent(f, slots, moves) for s, f in first.items()}
        for stage, names in (("backward", ("x", "z")), ("backward_table", ("x", "table"))):
            for suffix, expected in (("", first), ("_tangent", second)):
                full = stage.replace("backward", f"backward{suffix}")
                found = self._backward(full)
                if "value" in found:
                    require(same(found["value"], first["z"]), f"{full} hands a wrong gradient to edge_gradient_tangent")
                for slot in names:
                    require(
                        same(found[slot].reshape(-1), expected[slot].reshape(-1)),
                        f"{full} is not the gradient{' of the tangent' * bool(suffix)} of forward to {slot}",
                    )

    @staticmethod
    def _free(z: np.ndarray) -> np.ndarray:
        """Without the harmonic of rank 0, which is a constant."""
        return np.delete(z, SPLINES)

    def _edge(self) -> None:
        """edge is splines and harmonics; its derivatives use dq/dv = -q^3 v [docs/theory.md, eq. 24]."""
        v, q, k, s = self.v, self.q, self.k, self.s
        z = self._edge_form()
        require(same(self._call("edge", (v, q, k), (s[0],), len(z))[0], z), "edge is not splines and harmonics")
        new = self.space.variables
        t_v, d_z, t_d_z = new(3), new(len(z)), new(len(z))

        def along_v(functions: np.ndarray, more: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
            move_q = -q[0] * q[0] * q[0] * (v[0] * t_v[0] + v[1] * t_v[1] + v[2] * t_v[2])
            slots = {"v": v, "q": q, **{name: pair[0] for name, pair in more.items()}}
            moves = {"v": t_v, "q": np.array([move_q], dtype=object), **{n: pair[1] for n, pair in more.items()}}
            return tangent(functions, slots, moves)

        t_z, again = self._call("edge_tangent", (v, q, k), (s[0], t_v), len(z), len(z))
        require(same(t_z, along_v(z, {})) and same(again, z), "edge_tangent is not the derivative of edge")
        parts = gradient(z, d_z, {"v": v, "q": q})
        inner = parts["q"][0] * q[0] * q[0] * q[0]
        d_v = np.array([parts["v"][i] - inner * v[i] for i in range(3)], dtype=object)
        (found,) = self._call("edge_gradient", (v, q, k), (s[0], d_z), 3)
        require(same(found, d_v), "edge_gradient is not the gradient of edge")
        (found,) = self._call("edge_gradient_tangent", (v, q, k), (s[0], d_z, t_v, t_d_z), 3)
        require(same(found, along_v(d_v, {"d_z": (d_z, t_d_z)})), "edge_gradient_tangent is no derivative")

    def _edge_form(self) -> np.ndarray:
        """Splines of the length r = q v.v in units of knots, and harmonics of the direction q v."""
        v, q, k, s = self.v, self.q, self.k, self.s
        square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
        f = s[0] * q[0] * square - k[0]
        powers = [Sparse.of(1), f, f * f, f * f * f]
        splines = [sum((c * p for c, p in zip(piece, powers, strict=True)), Sparse({})) for piece in spline_pieces()]
        n = v * q[0]
        ranks = range(self.facts["edge"] + 1)
        return np.concatenate([np.array(splines, dtype=object), *(harmonic(rank, n) for rank in ranks)])

    def _call(self, name: str, columns: tuple[np.ndarray, ...], others: tuple[Any, ...], *sizes: int) -> list[Any]:
        """A straight-line function on one edge; arrays there are [component, edge]."""
        shaped = [o.reshape(-1, 1) if isinstance(o, np.ndarray) else o for o in (*columns, *others)]
        outputs = [np.full((n, 1), 0, dtype=object) for n in sizes]
        self.functions[name](1, *shaped, *outputs)
        return [o[:, 0] for o in outputs]

    def _closed_form(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Rows of the output for one edge, from couplings, in the layout [irrep, component, path]."""
        starts = offsets(self.left)  # type: ignore[arg-type]
        blocks: dict[tuple[int, int], list[np.ndarray]] = {}
        for number, path in enumerate(self.paths):
            (l1, p1), (l2, _), out = tuple(path["left"]), path["edge"], tuple(path["out"])
            if weights is None:
                w = sum((self.z[i] * self.table[i, number] for i in range(SPLINES)), Sparse({}))
            else:
                w = weights[number]
            x = self.x[starts[l1, p1] : starts[l1, p1] + 2 * l1 + 1]
            y = self.z[SPLINES + l2 * l2 : SPLINES + (l2 + 1) ** 2]
            blocks.setdefault(out, []).append(couple((l1, l2, out[0]), x, y) * w)
        order = [tuple(irrep) for irrep in self.facts["outputs"]]
        return np.concatenate([np.stack(blocks[o], axis=1).reshape(-1) for o in order])

    def _equivariant(self, out: np.ndarray) -> None:
        """Turning features and harmonics by a generator turns every path; parities multiply."""
        harmonics = self.z[SPLINES:]
        edge_irreps = tuple((rank, (-1) ** rank) for rank in range(self.facts["edge"] + 1))
        for path in self.paths:
            require(path["out"][1] == path["left"][1] * path["edge"][1], "a path of the wrong parity")
        for axis in range(3):
            moves = {"x": turn(self.left, self.x, axis), "z": turn(edge_irreps, harmonics, axis)[1:]}  # type: ignore
            turned = tangent(out, {"x": self.x, "z": harmonics[1:]}, moves)
            start = 0
            for irrep in map(tuple, self.facts["outputs"]):
                count = sum(tuple(p["out"]) == irrep for p in self.paths)
                length = count * (2 * irrep[0] + 1)
                block, after = (a[start : start + length].reshape(-1, count) for a in (out, turned))
                for p in range(count):
                    require(same(after[:, p], turn((irrep,), block[:, p], axis)), f"not equivariant about axis {axis}")  # type: ignore
                start += length

    def _patched(self) -> dict[str, Any]:
        """The file's functions with `edge` and its derivatives replaced; what they are handed is kept or checked."""
        captured: dict[str, Any] = {}

        def handed(count: int, v: np.ndarray, q: np.ndarray, k: np.ndarray, s: Any) -> None:
            right = count == 1 and tuple(v[:, 0]) == VECTOR and (q[0, 0], k[0, 0], s) == (1, 0, 1 / STEP)
            require(right, "edge is not handed the vector, its inverse length, the knot and the knots per angstrom")

        def edge(count: int, v: Any, q: Any, k: Any, s: Any, z: np.ndarray) -> None:
            handed(count, v, q, k, s)
            z[:, 0] = self.z

        def edge_tangent(count: int, v: Any, q: Any, k: Any, s: Any, t_v: Any, t_z: np.ndarray, z: np.ndarray) -> None:
            handed(count, v, q, k, s)
            require(tuple(t_v[:, 0]) == VECTOR, "edge_tangent is not handed the tangent of the vector")
            t_z[:, 0], z[:, 0] = self.t_z, self.z

        def edge_gradient(count: int, v: Any, q: Any, k: Any, s: Any, d_z: np.ndarray, d_v: np.ndarray) -> None:
            handed(count, v, q, k, s)
            captured["z"], d_v[:, 0] = d_z[:, 0].copy(), VECTOR

        def edge_gradient_tangent(count, v, q, k, s, d_z, t_v, t_d_z, t_d_v) -> None:  # type: ignore[no-untyped-def]
            handed(count, v, q, k, s)
            captured["value"], captured["z"], t_d_v[:, 0] = d_z[:, 0].copy(), t_d_z[:, 0].copy(), VECTOR

        self.functions.update(
            edge=edge,
            edge_tangent=edge_tangent,
            edge_gradient=edge_gradient,
            edge_gradient_tangent=edge_gradient_tangent,
        )
        return captured

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        vectors = np.array([VECTOR], dtype=object)
        return self.x.reshape(-1, 1), vectors, self.table.reshape(SPLINES, -1, 1)

    def _forward(self, stage: str) -> np.ndarray:
        self._patched()
        out = np.full((len(self.g), 1), 0, dtype=object)
        moves = [self.t_x.reshape(-1, 1), np.array([VECTOR], dtype=object)] if "tangent" in stage else []
        row_ptr, sender = np.array([0, 1]), np.array([0])
        self.functions[stage](0, 1, 0, STEP, row_ptr, sender, *self._arrays(), *moves, out)
        return out[:, 0]

    def _backward(self, stage: str) -> dict[str, np.ndarray]:
        captured = self._patched()
        result = {"x": np.full((len(self.x), 1), 0, dtype=object)}
        if stage.endswith("table"):
            result["table"] = np.full((1, SPLINES, len(self.paths), 1), 0, dtype=object)
            scratch = []
        else:
            result["vectors"] = np.full((1, 3), 0, dtype=object)
            scratch = [np.full((self.facts["chunk"], 2 * self.facts["edge_size"]), 0, dtype=object)]
        moves = [self.t_x.reshape(-1, 1), np.array([VECTOR], dtype=object)] if "tangent" in stage else []
        index = (np.array([0, 1]), np.array([0]), np.array([0]))
        self.functions[stage](
            0, 1, 0, STEP, *index, *self._arrays(), self.g.reshape(-1, 1), *moves, *result.values(), *scratch
        )
        if "vectors" in result:
            require(tuple(result["vectors"][0]) == VECTOR, f"{stage} drops the gradient to the edge vector")
            result |= {name: self._free(array) for name, array in captured.items()}
        return result


class TorchEdgeKernel(EdgeKernel):
    """The Torch source of a convolution: `edge`, and `messages` on one edge. Its derivatives are autograd's."""

    def prove(self) -> None:
        """Edge and forward. Raises Disproved with what fails."""
        z = self._edge_form()
        found = self.functions["edge"](*(a.reshape(1, -1) for a in (self.v, self.q, self.k, self.s)))
        require(same(np.asarray(found)[0], z), "edge is not splines and harmonics")
        w = self.space.variables(len(self.paths))
        out = self._closed_form(w)
        self._equivariant(out)
        arrays = [a.reshape(1, -1, 1).view(exact.ExactTensor) for a in (self.x, w)]
        rows = np.full((1, len(self.g), 1), 0, dtype=object).view(exact.ExactTensor)
        start = np.array([0])
        found = self.functions["messages"](
            start, start, arrays[0], self.z.reshape(1, -1).view(exact.ExactTensor), arrays[1], rows
        )
        require(same(np.asarray(found).reshape(-1), out), "messages are not the closed form")
