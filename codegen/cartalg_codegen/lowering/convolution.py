"""The loops of a convolution: over atoms, over chunks of their edges, and over paths, whose messages are functions of
their own.

Forward functions run over receivers (CSR rows) and gradients over senders (the transposed CSR), so each row that is
written belongs to one thread. Every function sets its results, but for the gradient to the table, to which each
thread adds in a part of its own. An edge of no length, or at or beyond the end of the table, contributes nothing.
"""

from collections.abc import Iterator

from cartalg_codegen.lowering.edges import CHUNK, COUNT, FIRST, THREAD, C, N, message_parameters, uniform_sizes
from cartalg_codegen.specs.base import Stage
from cartalg_codegen.specs.convolution import ConvolutionSpec, Path
from cartalg_codegen.specs.edge import SPLINES
from cartalg_codegen.tree import (
    Apply,
    Array,
    Axis,
    Dim,
    Expr,
    Function,
    If,
    Import,
    Int,
    Invoke,
    Let,
    Loop,
    Module,
    Node,
    Scratch,
    Section,
    Var,
    While,
    arrays,
    names,
    real,
)

AT, LAST, E, RR, R, U, KNOTS, PER_KNOT, OWN, ROW, PART = names(
    "at last e rr inverse0 u intervals per_knot own row part"
)
ATOM = Var("atom")


def lower(spec: ConvolutionSpec) -> Module:
    """All stages, and the functions that they call."""
    drivers = [_Driver(spec, stage) for stage in spec.stages().values()]
    return Module(tuple(d.function() for d in drivers), tuple(dict.fromkeys(i for d in drivers for i in d.imports())))


class _Driver:
    """One stage of a convolution."""

    def __init__(self, spec: ConvolutionSpec, stage: Stage) -> None:
        self.spec, self.stage = spec, stage
        self.moving, self.senders = "t_x" in stage.reads, stage.over == "col_ptr"
        self.vectors = next((w for w in stage.writes if w.endswith("d_vectors")), None)
        self.programs = {p.message: next(q for q in p.message.programs if q.name == stage.name) for p in spec.paths}
        self.sizes = {"v": 3, "inverse": 1, "below": 1, "s": SPLINES, "y": spec.harmonics.components["y"]}
        for program in self.programs.values():
            for name, size in uniform_sizes(program).items():
                self.sizes[name] = max(self.sizes.get(name, 1), size)
        if self.moving:
            self.sizes |= {"t_v": 3, "t_s": self.sizes["s"], "t_y": self.sizes["y"]}
        for scratch in stage.scratch:
            prefix = scratch.removesuffix("edge")
            self.sizes |= {f"{prefix}s": self.sizes["s"], f"{prefix}y": self.sizes["y"], f"{prefix}v": 3}
        if self.moving:
            self.sizes.pop("d_v", None)

    def imports(self) -> Iterator[Import]:
        """Functions of other files."""
        of_edge = [self._edge("edge"), *([self._edge("edge_gradient")] if self.vectors else [])]
        for name in of_edge:
            yield Import("edge", self.spec.harmonics.name, name, name)
        for message in self.programs:
            yield Import("message", message.name, self.stage.name, self._alias(message.name))

    def _edge(self, name: str) -> str:
        return f"{name}_tangent" if self.moving else name

    def _alias(self, message: str) -> str:
        return self.stage.name + message.removeprefix("message")

    def function(self) -> Function:
        """Loops over atoms and chunks."""
        chunk: list[Node] = [
            *self._gather(),
            self._call(self._edge("edge"), ["v", "inverse", "below", "per_knot"], ["t_v", "t_s", "t_y", "s", "y"]),
            *self._clear(),
            *(Section(str(path), (self._message(path),)) for path in self.spec.paths),
            *self._finish(),
        ]
        own = self.spec.left.dim if self.senders else self.spec.outputs.dim
        pointer = Array(self.stage.over)
        atom: list[Node] = [
            Let(OWN, ATOM * own),
            Loop(Axis.COMPONENTS, ROW, Int(own), (Loop(Axis.LANES, C, Dim("x", 1), (self._reset(),)),)),
            Let(AT, pointer[ATOM]),
            Let(LAST, pointer[ATOM + 1]),
            While(AT < LAST, tuple(chunk)),
        ]
        setup: list[Node] = [
            Let(PER_KNOT, real(Int(1) / Var("step"))),
            Let(KNOTS, Dim("table", 0) - 3),
            *([Let(FIRST, THREAD * CHUNK)] if self.vectors else []),
            *(Scratch(name, (Int(CHUNK),), integers=True) for name in ("place", "knot", "other")),
            *(Scratch(name, (Int(size), Int(CHUNK))) for name, size in self.sizes.items()),
        ]
        atoms = Loop(Axis.ATOMS, ATOM, Var("stop"), tuple(atom), Var("start"))
        parameters = ("start", "stop", "thread", *self.stage.signature)
        return Function(self.stage.name, self._summary(), parameters, (*setup, atoms), "vectors")

    def _summary(self) -> str:
        name = self.stage.name
        if name == "forward":
            return "out[i] = sum over edges i <- j and paths of w(r) C y x[j]."
        along = "along (t_x, t_vectors), at rest in g"
        if self.moving:
            return f"Derivative of `{name.replace('_tangent', '')}` {along}."
        return f"Gradient of <g, out> to {' and '.join(w.removeprefix('d_') for w in self.stage.writes)}."

    def _reset(self) -> Let:
        return Let(Array(self.stage.writes[0])[OWN + ROW, C], real(0))

    def _gather(self) -> list[Node]:
        """The next edges of the atom that are within the cutoff, and have a length."""
        v, place, knot, other, below, inverse, t_v = arrays("v place knot other below inverse t_v")
        edge: Expr = Array("col_edge")[AT] if self.senders else AT
        atom = Array("receiver" if self.senders else "sender")[E]
        size = self.spec.outputs.dim if self.senders else self.spec.left.dim
        parts = names("v0 v1 v2")
        keep: list[Node] = [
            Let(place[COUNT], E),
            Let(knot[COUNT], Apply("int", (U,))),
            Let(other[COUNT], atom * size),
            Let(below[0, COUNT], real(knot[COUNT])),
            Let(inverse[0, COUNT], R),
            *(Let(v[i, COUNT], part) for i, part in enumerate(parts)),
            *(Let(t_v[i, COUNT], Array("t_vectors")[E, i]) for i in range(3) if self.moving),
            Let(COUNT, Int(1), add=True),
        ]
        length: list[Node] = [
            Let(R, real(1) / Apply("sqrt", (RR,))),
            Let(U, RR * R * PER_KNOT),
            If(U < KNOTS, tuple(keep)),
        ]
        body: list[Node] = [
            Let(E, edge),
            Let(AT, Int(1), add=True),
            *(Let(part, Array("vectors")[E, i]) for i, part in enumerate(parts)),
            *(Let(Array(self.vectors)[E, i], real(0)) for i in range(3) if self.vectors),
            Let(RR, parts[0] * parts[0] + parts[1] * parts[1] + parts[2] * parts[2]),
            If(real(0) < RR, tuple(length)),
        ]
        return [Let(COUNT, Int(0)), While((AT < LAST).both(COUNT < CHUNK), tuple(body))]

    def _call(self, function: str, first: list[str], rest: list[str]) -> Invoke:
        known = [name for name in rest if name in self.sizes]
        return Invoke(function, (COUNT, *(Var(name) for name in (*first, *known))))

    def _clear(self) -> list[Node]:
        """Sums over channels start at zero."""
        size = self.sizes["s"] + self.sizes["y"]
        sums = tuple(Let(Array(name)[FIRST + N, PART], real(0)) for name in self.stage.scratch)
        return [Loop(Axis.EDGES, N, COUNT, (Loop(Axis.COMPONENTS, PART, Int(size), sums),))] if sums else []

    def _message(self, path: Path) -> Invoke:
        places = {"x_at": path.left_offset, "out_at": path.out_offset, "paths": path.out_stride, "path": path.index}
        parameters = message_parameters(self.programs[path.message])
        arguments = tuple(Int(places[name]) if name in places else Var(name) for name in parameters)
        return Invoke(self._alias(path.message.name), arguments)

    def _finish(self) -> list[Node]:
        """From sums over channels to the gradient of each edge vector."""
        if not self.vectors:
            return []
        nodes: list[Node] = []
        for scratch in self.stage.scratch:
            prefix = scratch.removesuffix("edge")
            for name, start in (("s", 0), ("y", SPLINES)):
                sums = Let(
                    Array(prefix + name)[PART, N],
                    real(Array(scratch)[FIRST + N, PART + start]),
                )
                nodes.append(Loop(Axis.COMPONENTS, PART, Int(self.sizes[prefix + name]), (sums,)))
        result = "t_d_v" if self.moving else "d_v"
        gradient = self._call(
            self._edge("edge_gradient"),
            ["v", "inverse", "below", "per_knot"],
            ["d_s", "d_y", "t_v", "t_d_s", "t_d_y", result],
        )
        store = [Let(Array(self.vectors)[Array("place")[N], i], Array(result)[i, N]) for i in range(3)]
        return [
            Loop(Axis.EDGES, N, COUNT, tuple(nodes)),
            gradient,
            Loop(Axis.EDGES, N, COUNT, tuple(store)),
        ]
