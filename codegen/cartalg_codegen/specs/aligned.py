"""The edge-aligned convolution: features turned into the frame in which an edge is z, weighted there, turned back.

Along the edge every coupling with its harmonics leaves |m| alone, so that all paths from rank l1 to rank l3 together
are min(l1, l3) + 1 weights in place of a table of coefficients each. What is left of the cost is turning, which grows
like l^3. Source: docs/theory.md, eqs. 52-57; Passaro & Zitnick 2023 (arXiv:2302.03655).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple, Self

from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.ranks import component_norm
from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.program import Assign, Program, Ref, Slot, Where, statement, vanishing
from cartalg_codegen.specs.base import Argument, Stage, Transforms
from cartalg_codegen.specs.edge import SPLINES
from cartalg_codegen.specs.edge_sum import Call, EdgeSumSpec, PartSpec
from cartalg_codegen.specs.frame import FrameSpec
from cartalg_codegen.specs.harmonics import harmonic
from cartalg_codegen.specs.rules import couple

Terms = list[tuple[Fraction | int, tuple[Ref, ...]]]


class Weight(NamedTuple):
    """A radial weight: from components +-m of rank l1 to those of rank l3, along the edge."""

    l1: int
    l3: int
    m: int


@dataclass(frozen=True)
class AlignedMessageSpec(PartSpec):
    """G R(tau) W R(-tau) G x, tensors of natural parity, G the matrices of the edge's frame and tau = 0.

    W commutes with turns about the edge, so the choice of the frame does not matter; what tau is for are derivatives by
    the direction of the edge, which are those of R.
    """

    kind: ClassVar[str] = "aligned_message"
    arguments: ClassVar = (
        Argument("x", "feature", Where.SENDER),
        Argument("s", "geometry", Where.EDGE, lanes=False),
        Argument("tau", "geometry", Where.EDGE, lanes=False),
        Argument("turn", "geometry", Where.EDGE, lanes=False),
        Argument("table", "parameter", Where.KNOT),
        Argument("out", "out", Where.RECEIVER),
    )
    source: ClassVar[str] = "codegen/cartalg_codegen/specs/aligned.py"

    hidden: int
    edge: int

    def __post_init__(self) -> None:
        FrameSpec(self.hidden, self.edge)  # raises for bad ranks

    @cached_property
    def name(self) -> str:
        return f"aligned_message_h{self.hidden}_e{self.edge}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"aligned_message_h(\d+)_e(\d+)", name)
        return cls(int(match[1]), int(match[2])) if match else None

    @property
    def rank(self) -> int:
        return max(self.hidden, self.edge)

    @property
    def rule(self) -> str:
        return "out += G W G x, W_m(l1, l3) = sum_p s_p table[knot + p]   [docs/theory.md, eqs. 37, 53]"

    @property
    def layout(self) -> str:
        return f"x {self.left.dim} rows, {self.left}; out {self.outputs.dim} rows, {self.outputs}"

    @classmethod
    @cache
    def stages(cls) -> dict[str, Stage]:
        moving = ("t_x", "t_s", "t_tau")
        read = ("x", "s", "turn", "table")
        return {
            "forward": Stage("forward", read, ("out",)),
            "forward_tangent": Stage("forward_tangent", (*read, *moving), ("t_out",)),
            "backward": Stage("backward", (*read, "g"), ("d_x", "d_s", "d_tau")),
            "backward_tangent": Stage(
                "backward_tangent", (*read, "g", *moving), ("t_d_x", "t_d_s", "t_d_tau", "d_s", "d_tau")
            ),
            "backward_table": Stage("backward_table", (*read, "g"), ("d_x", "d_table")),
            "backward_tangent_table": Stage(
                "backward_tangent_table", (*read, "g", *moving, "t_g"), ("t_d_x", "t_d_table")
            ),
        }

    @cached_property
    def frame(self) -> FrameSpec:
        """The edge's part of the work."""
        return FrameSpec(self.hidden, self.edge)

    @cached_property
    def left(self) -> Irreps:
        """Irreps of the node features."""
        return Irreps.natural(self.hidden)

    @cached_property
    def outputs(self) -> Irreps:
        """Irreps of the result."""
        return Irreps.natural(self.edge)

    @cached_property
    def weights(self) -> tuple[Weight, ...]:
        """The radial weights, in the order of the table."""
        return tuple(
            Weight(l1, l3, m)
            for m in range(min(self.hidden, self.edge) + 1)
            for l3 in range(m, self.edge + 1)
            for l1 in range(m, self.hidden + 1)
        )

    def transforms(self, argument: str) -> Transforms:
        return {"x": self.left, "out": self.outputs}.get(argument)

    def _components(self, argument: str) -> int:
        sizes = {"s": SPLINES, "tau": 2, "turn": self.frame.components["turn"], "table": SPLINES * len(self.weights)}
        return sizes[argument] if argument in sizes else super()._components(argument)

    def forward(self, interpolated: bool = True) -> Program:
        """The program; with `interpolated` off the radial weights are a slot w of their own."""
        along = [*self._turn_in(), *_moved("x", self.left, -1)]
        back = [*_moved("z", self.outputs, 1), *self._turn_back()]
        sizes = self.components
        x, turn = Slot("x", sizes["x"], True, Where.SENDER), Slot("turn", sizes["turn"], False, Where.EDGE)
        s, tau = Slot("s", SPLINES, False, Where.EDGE), Slot("tau", 2, False, Where.EDGE)
        radial: tuple[Slot, ...] = (s, Slot("table", sizes["table"], True, Where.KNOT))
        if not interpolated:
            radial = (Slot("w", len(self.weights), True, Where.EDGE),)
        body = [*along, *(self._interpolate() if interpolated else ()), *self._weigh(), *back]
        inputs, out = (x, *radial[:-1], tau, turn, radial[-1]), Slot("out", sizes["out"], True, Where.RECEIVER)
        return Program("forward", "Edge-aligned message.", inputs, (out,), _present(body, inputs), TITLES)

    @property
    def of_weights(self) -> Program:
        """The message with the radial weights of the edge given."""
        program = vanishing(self.forward(interpolated=False), _AT_REST)
        return replace(program, inputs=tuple(s for s in program.inputs if s.name != "tau"))

    def _turn_in(self) -> Iterator[Assign]:
        for rank in range(self.hidden + 1):
            at, rows = rank * rank, range(2 * rank + 1)
            for a in rows:
                terms: Terms = [(1, (*self.frame.entry(rank, a, k), Ref("x", at + k))) for k in rows]
                yield statement(Ref("along", at + a), terms)

    def _interpolate(self) -> Iterator[Assign]:
        for p in range(len(self.weights)):
            yield statement(Ref("w", p), [(1, (Ref("s", i), Ref("table", SPLINES * p + i))) for i in range(SPLINES)])

    def _weigh(self) -> Iterator[Assign]:
        z: dict[int, Terms] = {}
        for p, (l1, l3, m) in enumerate(self.weights):
            for sign in dict.fromkeys((m, -m)):
                term = (1, (Ref("w", p), Ref("x_moved", l1 * (l1 + 1) + sign)))
                z.setdefault(l3 * (l3 + 1) + sign, []).append(term)
        for place, terms in z.items():
            yield statement(Ref("z", place), terms)

    def _turn_back(self) -> Iterator[Assign]:
        for rank in range(self.edge + 1):
            at, rows = rank * rank, range(2 * rank + 1)
            for k in rows:
                there = [a for a in rows if self.frame.has(rank, a)]
                terms: Terms = [(1, (*self.frame.entry(rank, k, a), Ref("z_moved", at + a))) for a in there]
                yield statement(Ref("out", at + k), terms)

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """All stages. Those that give gradients to the edge give the values of d_s and d_tau beside their tangents."""
        forward, moving = self.forward(), ("x", "s", "tau")
        backward = gradient(forward, moving, "backward", "Gradient to x, s and tau.")
        table = gradient(forward, ("x", "table"), "backward_table", "Gradient to x and the table.")
        found = (
            forward,
            tangent(forward, moving, "forward_tangent", "Tangent of the message."),
            backward,
            tangent(backward, moving, "backward_tangent", "Tangent of `backward`, at rest in g.", ("d_s", "d_tau")),
            table,
            tangent(table, (*moving, "g"), "backward_tangent_table", "Tangent of `backward_table`."),
        )
        stages = []
        for program in found:
            still = vanishing(program, _AT_REST)
            stages.append(replace(still, inputs=tuple(s for s in still.inputs if s.name != "tau")))
        return tuple(stages)

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """As matrices, with whatever stands in the place of the frame."""
        tau, moved = inputs["tau"], []
        for rank in range(self.hidden + 1):
            x = _times(self._frame(rank, inputs["turn"]), inputs["x"][rank**2 : (rank + 1) ** 2])
            moved.append(_moved_by(rank, [-t for t in tau], x))
        z: list[list[Any]] = [[Fraction(0)] * (2 * rank + 1) for rank in range(self.edge + 1)]
        for p, (l1, l3, m) in enumerate(self.weights):
            w: Any = Fraction(0)
            for spline, value in zip(inputs["s"], inputs["table"][SPLINES * p : SPLINES * (p + 1)], strict=True):
                w = w + value * spline
            for sign in {m, -m}:
                z[l3][l3 + sign] = z[l3][l3 + sign] + moved[l1][l1 + sign] * w
        out = []
        for rank, values in enumerate(z):
            out += _times(self._frame(rank, inputs["turn"]), _moved_by(rank, tau, values))
        return out

    def _frame(self, rank: int, turn: Sequence[Any]) -> list[list[Any]]:
        """A matrix of the frame, zero where columns are not there."""
        rows = range(2 * rank + 1)
        places, zero = self.frame.places, Fraction(0)
        if rank == 0:
            return [[Fraction(1)]]
        return [[turn[places[rank, k, a]] if (rank, k, a) in places else zero for a in rows] for k in rows]


@dataclass(frozen=True)
class AlignedConvolutionSpec(EdgeSumSpec):
    """Natural features to rank `hidden` x edges -> natural outputs to rank `edge`, one block of rows each."""

    kind: ClassVar[str] = "aligned"
    arguments: ClassVar = tuple(replace(a, flat="columns") if a.lanes else a for a in EdgeSumSpec.arguments)
    source: ClassVar[str] = "codegen/cartalg_codegen/specs/aligned.py"

    hidden: int
    edge: int

    def __post_init__(self) -> None:
        FrameSpec(self.hidden, self.edge)  # raises for bad ranks

    @cached_property
    def name(self) -> str:
        return f"aligned_natural_h{self.hidden}_e{self.edge}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"aligned_(natural|full)_h(\d+)_e(\d+)", name)
        if match and match[1] == "full":
            raise ValueError("aligned convolutions are of natural parity; for both parities use convolution_full_..")
        return cls(int(match[2]), int(match[3])) if match else None

    @property
    def rank(self) -> int:
        return max(self.hidden, self.edge)

    @property
    def rule(self) -> str:
        listed = ", ".join(str(tuple(w)) for w in self.message.weights)
        return (
            "out_i = sum over edges i <- j of D(g) W(r) D(g) x_j, v = r n, g z = n   [docs/theory.md, eq. 53]; "
            f"{len(self.message.weights)} weights (l1, l3, |m|): {listed}"
        )

    @property
    def layout(self) -> str:
        return (
            f"x [senders, {self.left.dim}, channels], {self.left} -> out [receivers, {self.outputs.dim}, channels], "
            f"{self.outputs}; edges in CSR order"
        )

    @cached_property
    def message(self) -> AlignedMessageSpec:
        """What is done on one edge."""
        return AlignedMessageSpec(self.hidden, self.edge)

    @property
    def left(self) -> Irreps:
        return self.message.left

    @property
    def outputs(self) -> Irreps:
        return self.message.outputs

    @cached_property
    def variances(self) -> tuple[Fraction, ...]:
        """As a sum over all paths of an output, each of variance 1, divided by their number."""
        found = []
        for l1, l3, m in self.message.weights:
            paths = sum(min(rank, l3) + 1 for rank in range(self.hidden + 1))
            share = Fraction(2 * l3 + 1, (2 if m else 1) * paths)
            found.append(share * component_norm(l1, m) / component_norm(l3, m))
        return tuple(found)

    @property
    def shared(self) -> FrameSpec:
        return self.message.frame

    @property
    def calls(self) -> tuple[Call, ...]:
        return (Call("all weights", self.message, {}),)

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """The rows of one edge with no frame, as a sum over paths [docs/theory.md, eqs. 35, 54].

        x of its sender, s and unit vector n of the edge, table [knot, weight] of its four knots.
        """
        from cartalg.symbolic.aligned import paths_of_diagonals

        out: list[Any] = [Fraction(0)] * self.outputs.dim
        weights = self.message.weights
        for l1, l3 in dict.fromkeys((w.l1, w.l3) for w in weights):
            for l2, coefficients in paths_of_diagonals(l1, l3).items():
                total: Any = Fraction(0)
                for m, c in enumerate(coefficients):
                    for spline, knot in zip(inputs["s"], inputs["table"], strict=True):
                        total = total + knot[weights.index(Weight(l1, l3, m))] * spline * c
                message = couple((l1, l2, l3), inputs["x"][l1 * l1 : (l1 + 1) ** 2], harmonic(l2, inputs["n"]))
                for k, value in enumerate(message):
                    out[l3 * l3 + k] = out[l3 * l3 + k] + value * total
        return out


#: Frames are those of the edges as they are.
_AT_REST = (Ref("tau", 0), Ref("tau", 1))


def _moved(name: str, irreps: Irreps, sign: int) -> Iterator[Assign]:
    """Turned by R = 1 + sign tau.L + (tau.L)^2/2, tau.L = tau_1 J_y - tau_2 J_x: as z turns to z + tau_1 x + tau_2 y.

    To second order, for tau = 0 after two derivatives. [docs/theory.md, eq. 55]
    """
    source = "along" if name == "x" else name
    for irrep in irreps.irreps:
        rows = range(irrep.dim)
        at = irrep.l**2
        axes = [(Ref("tau", 0), _scaled(irrep.l, 1, 1)), (Ref("tau", 1), _scaled(irrep.l, 0, -1))]

        def apply(target: str, of: str, axes: Any = axes, rows: Any = rows, at: int = at) -> Iterator[Assign]:
            for n, (_, matrix) in enumerate(axes):
                for k in rows:
                    terms = [(c, (Ref(of, at + a),)) for a, c in enumerate(matrix[k]) if c]
                    yield statement(Ref(f"{target}{n}_", at + k), terms)

        yield from apply(f"{name}_l", source)
        for k in rows:
            terms = [(1, (tau, Ref(f"{name}_l{n}_", at + k))) for n, (tau, _) in enumerate(axes)]
            yield statement(Ref(f"{name}_first", at + k), terms)
        yield from apply(f"{name}_ll", f"{name}_first")
        for k in rows:
            once = [(1, (Ref(source, at + k),)), (sign, (Ref(f"{name}_first", at + k),))]
            twice = [(Fraction(1, 2), (tau, Ref(f"{name}_ll{n}_", at + k))) for n, (tau, _) in enumerate(axes)]
            yield statement(Ref(f"{name}_moved", at + k), [*once, *twice])


def _scaled(rank: int, axis: int, sign: int) -> list[list[Fraction]]:
    """A generator of turns, or its negative."""
    from cartalg.symbolic.rotation import generator

    return [[sign * c for c in row] for row in generator(rank, axis)]


def _times(matrix: Sequence[Sequence[Any]], values: Sequence[Any]) -> list[Any]:
    return [sum((v * c for c, v in zip(row, values, strict=True)), Fraction(0)) for row in matrix]


def _moved_by(rank: int, tau: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """`_moved` of numbers."""
    axes = [_scaled(rank, 1, 1), _scaled(rank, 0, -1)]
    found, term = list(values), list(values)
    for order in (1, 2):
        parts = [_times(matrix, term) for matrix in axes]
        term = [(a * tau[0] + b * tau[1]) * Fraction(1, order) for a, b in zip(*parts, strict=True)]
        found = [a + b for a, b in zip(found, term, strict=True)]
    return found


def _present(body: Sequence[Assign], inputs: tuple[Slot, ...]) -> tuple[Assign, ...]:
    """Without terms of components that are nowhere set: those are zero."""
    known = {Ref(s.name, i) for s in inputs for i in range(s.size)}
    found = []
    for assign in body:
        terms = [(t.coefficient, t.factors) for t in assign.terms if all(f in known for f in t.factors)]
        if terms:
            known.add(assign.target)
            found.append(statement(assign.target, terms))
    return tuple(found)


TITLES = {
    "x": "features",
    "s": "splines",
    "turn": "the frame",
    "table": "the table",
    "w": "radial weights",
    "along": "features along the edge",
    "z": "weighted",
    "out": "message",
}
