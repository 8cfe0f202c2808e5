"""The loops of a convolution: over atoms, over chunks of their edges, and over paths, whose messages are functions of
their own.

Forward functions run over receivers (CSR rows) and gradients over senders (the transposed CSR), so each row that is
written belongs to one thread. Every function sets its results, but for the gradient to the table, to which each
thread adds in a part of its own. An edge of no length, or at or beyond the end of its table, contributes nothing.
"""

from collections.abc import Iterator

from cartalg_codegen.lowering import aligned
from cartalg_codegen.lowering.edges import CHUNK, COUNT, C, N, message_parameters, uniform_sizes
from cartalg_codegen.specs.base import KernelSpec, Stage, base
from cartalg_codegen.specs.edge_sum import Call, EdgeSumSpec
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

AT, LAST, E, RR, R, U, LIMIT, ROWS, PER_KNOT, OWN, ROW, PART, UNDER = names(
    "at last e rr inverse0 u limit rows per_knot own row part under"
)
ATOM = Var("atom")


def lower(spec: EdgeSumSpec) -> Module:
    """All stages, and the functions that they call."""
    drivers = [_Driver(spec, stage) for stage in spec.stages().values()]
    return Module(tuple(d.function() for d in drivers), tuple(dict.fromkeys(i for d in drivers for i in d.imports())))


class _Driver:
    """One stage of a convolution."""

    def __init__(self, spec: EdgeSumSpec, stage: Stage) -> None:
        self.spec, self.stage = spec, stage
        self.moving, self.senders = "t_x" in stage.reads, stage.over == "col_ptr"
        self.vectors = next((w for w in stage.writes if w.endswith("d_vectors")), None)
        self.programs = {c.message: next(q for q in c.message.programs if q.name == stage.name) for c in spec.calls}
        self.columns = spec.argument("x").flat == "columns"
        shared = spec.shared
        self.called = [shared.stages()[self._edge("edge")]]
        self.called += [shared.stages()[self._edge("edge_gradient")]] if self.vectors else []
        self.sizes = {
            name: shared.components.get(base(name), 1)
            for about in self.called
            for name in about.signature
            if name != "per_knot"
        }
        for program in self.programs.values():
            for name, size in uniform_sizes(program).items():
                self.sizes[name] = max(self.sizes.get(name, 1), size)
        self.sums = self._sums()

    def _sums(self) -> dict[str, dict[str, int]]:
        """Sums over channels of gradients to what an edge gives: array, and what stands in it with its size."""
        if not self.vectors:
            return {}
        found: dict[str, dict[str, int]] = {}
        for name in self.called[1].reads:
            if name.startswith(("d_", "t_d_")):
                found.setdefault(f"{name.removesuffix(base(name))}edge", {})[name] = self.sizes[name]
        return found

    def imports(self) -> Iterator[Import]:
        """Functions of other files."""
        for about in self.called:
            yield Import(self.spec.shared.kind, self.spec.shared.name, about.name, about.name)
        for message in self.programs:
            yield Import(message.kind, message.name, self.stage.name, self._alias(message))

    def _edge(self, name: str) -> str:
        return f"{name}_tangent" if self.moving else name

    def _alias(self, message: KernelSpec) -> str:
        return self.stage.name + message.name.removeprefix(message.kind)

    def function(self) -> Function:
        """Loops over atoms and chunks."""
        chunk: list[Node] = [
            *self._gather(),
            self._call(self.called[0]),
            *self._clear(),
            *(Section(call.title, (self._message(call),)) for call in self.spec.calls),
            *self._finish(),
        ]
        own = self.spec.left.dim if self.senders else self.spec.outputs.dim
        pointer = Array(self.stage.over)
        atom: list[Node] = [
            *self._reset(own),
            Let(AT, pointer[ATOM]),
            Let(LAST, pointer[ATOM + 1]),
            While(AT < LAST, tuple(chunk)),
        ]
        setup: list[Node] = [
            Let(PER_KNOT, real(Int(1) / Var("step"))),
            Let(LIMIT, real(Var("intervals"))),
            Let(ROWS, Apply("int", (Var("intervals"),)) + 3),
            *(Scratch(name, (Int(CHUNK),), integers=True) for name in ("place", "knot", "other")),
            *(Scratch(name, (Int(size), Int(CHUNK))) for name, size in self.sizes.items()),
            *(Scratch(name, (Int(CHUNK), Int(sum(of.values()))), like="x") for name, of in self.sums.items()),
        ]
        read = {name for about in self.called for name in about.reads}
        written = {name for about in self.called for name in about.writes}
        inner: list[Node] = [
            Loop(Axis.COMPONENTS, PART, Int(self.sizes[name]), (Let(Array(name)[PART, N], real(0)),))
            for name in self.sizes
            if name in read - written
        ]
        setup.append(Loop(Axis.EDGES, N, Int(CHUNK), tuple(inner)))
        atoms = Loop(Axis.ATOMS, ATOM, Var("stop"), tuple(atom), Var("start"))
        parameters = ("start", "stop", "thread", *self.stage.signature)
        return Function(self.stage.name, self._summary(), parameters, (*setup, atoms), "vectors")

    def _summary(self) -> str:
        name = self.stage.name
        if name == "forward":
            return "out[i] = sum over edges i <- j and paths of w(r) C y x[j]."
        along = "along (t_x, t_vectors, t_g)" if "t_g" in self.stage.reads else "along (t_x, t_vectors), at rest in g"
        if self.moving:
            return f"Derivative of `{name.replace('_tangent', '')}` {along}."
        return f"Gradient of <g, out> to {' and '.join(w.removeprefix('d_') for w in self.stage.writes)}."

    def _reset(self, own: int) -> list[Node]:
        """The atom's place, and its rows set to zero."""
        result = Array(self.stage.writes[0])
        if self.columns:
            return [Let(OWN, ATOM), Loop(Axis.LANES, C, Dim(result.name, 1), (Let(result[OWN, C], real(0)),))]
        rows = Loop(Axis.LANES, C, Dim("x", 1), (Let(result[OWN + ROW, C], real(0)),))
        return [Let(OWN, ATOM * own), Loop(Axis.COMPONENTS, ROW, Int(own), (rows,))]

    def _gather(self) -> list[Node]:
        """The next edges of the atom that are within the cutoff, and have a length."""
        v, place, knot, other, below, inverse, t_v = arrays("v place knot other below inverse t_v")
        edge: Expr = Array("col_edge")[AT] if self.senders else AT
        atom = Array("receiver" if self.senders else "sender")[E]
        size = self.spec.outputs.dim if self.senders else self.spec.left.dim
        parts = names("v0 v1 v2")
        keep: list[Node] = [
            Let(place[COUNT], E),
            Let(UNDER, Apply("int", (U,))),
            Let(knot[COUNT], Array("block")[E] * ROWS + UNDER),
            Let(other[COUNT], atom if self.columns else atom * size),
            Let(below[0, COUNT], real(UNDER)),
            Let(inverse[0, COUNT], R),
            *self._frame(parts),
            *(Let(v[i, COUNT], part) for i, part in enumerate(parts)),
            *(Let(t_v[i, COUNT], Array("t_vectors")[E, i]) for i in range(3) if self.moving),
            Let(COUNT, Int(1), add=True),
        ]
        length: list[Node] = [
            Let(R, real(1) / Apply("sqrt", (RR,))),
            Let(U, RR * R * PER_KNOT),
            If(U < LIMIT, tuple(keep)),
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

    def _frame(self, v: tuple[Var, ...]) -> list[Node]:
        """On which side of the plane across z an edge is."""
        if "side" not in self.sizes:
            return []
        side, half = arrays("side half")
        return [
            Let(side[0, COUNT], real(1)),
            If(v[2] < real(0), (Let(side[0, COUNT], real(0) - real(1)),)),
            Let(half[0, COUNT], real(1) / (real(1) + side[0, COUNT] * v[2] * R)),
        ]

    def _call(self, about: Stage) -> Invoke:
        return Invoke(about.name, tuple(map(Var, about.signature)))

    def _clear(self) -> list[Node]:
        """Sums over channels start at zero."""
        zeros = tuple(
            Loop(Axis.COMPONENTS, PART, Int(sum(of.values())), (Let(Array(name)[N, PART], real(0)),))
            for name, of in self.sums.items()
        )
        return [Loop(Axis.EDGES, N, COUNT, zeros)] if zeros else []

    def _message(self, call: Call) -> Invoke:
        program = self.programs[call.message]
        parameters = message_parameters(program) if call.places else aligned.message_parameters(program)
        arguments = tuple(Int(call.places[name]) if name in call.places else Var(name) for name in parameters)
        return Invoke(self._alias(call.message), arguments)

    def _finish(self) -> list[Node]:
        """From sums over channels to the gradient of each edge vector."""
        if not self.vectors:
            return []
        nodes: list[Node] = []
        for sums, of in self.sums.items():
            start = 0
            for name, size in of.items():
                total = Let(Array(name)[PART, N], real(Array(sums)[N, PART + start]))
                nodes.append(Loop(Axis.COMPONENTS, PART, Int(size), (total,)))
                start += size
        result = self.called[1].writes[0]
        store = [Let(Array(self.vectors)[Array("place")[N], i], Array(result)[i, N]) for i in range(3)]
        return [
            Loop(Axis.EDGES, N, COUNT, tuple(nodes)),
            self._call(self.called[1]),
            Loop(Axis.EDGES, N, COUNT, tuple(store)),
        ]
