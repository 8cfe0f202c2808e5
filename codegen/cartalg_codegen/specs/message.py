"""One path of an edge convolution on one edge, whatever the convolution it is part of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, ClassVar, Self

from cartalg.symbolic.contraction import Contraction
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.program import Assign, Program, Ref, Slot, Term, Where, statement
from cartalg_codegen.specs.base import Argument, Stage, Transforms
from cartalg_codegen.specs.edge import SPLINES
from cartalg_codegen.specs.edge_sum import PartSpec
from cartalg_codegen.specs.rules import couple, coupling_entries


@dataclass(frozen=True)
class MessageSpec(PartSpec):
    """w(r) C x y for ranks (l1, l2) -> l3, of tensors of either parity.

    The coupling is contracted with the harmonics first, into m_ka = sum_b C[k, a, b] y_b, which all channels share.
    """

    kind: ClassVar[str] = "message"
    arguments: ClassVar = (
        Argument("x", "feature", Where.SENDER),
        Argument("s", "geometry", Where.EDGE, lanes=False),
        Argument("y", "geometry", Where.EDGE, lanes=False),
        Argument("table", "parameter", Where.KNOT),
        Argument("out", "out", Where.RECEIVER),
    )
    source: ClassVar[str] = "codegen/cartalg_codegen/specs/message.py"

    l1: int
    l2: int
    l3: int

    def __post_init__(self) -> None:
        Contraction(self.l1, self.l2, self.l3)  # raises where the triangle rule does not hold

    @cached_property
    def name(self) -> str:
        return f"message_{self.l1}_{self.l2}_{self.l3}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"message_(\d+)_(\d+)_(\d+)", name)
        return cls(*map(int, match.groups())) if match else None

    @property
    def ranks(self) -> tuple[int, int, int]:
        """(l1, l2, l3)."""
        return self.l1, self.l2, self.l3

    @property
    def rank(self) -> int:
        return max(self.ranks)

    @property
    def rule(self) -> str:
        return (
            f"out += w C x y for ranks ({self.l1}, {self.l2}) -> {self.l3}, w = sum_p s_p table[knot + p]"
            "   [docs/theory.md, eqs. 35, 37]"
        )

    @property
    def layout(self) -> str:
        x, y, out = 2 * self.l1 + 1, 2 * self.l2 + 1, 2 * self.l3 + 1
        return f"x {x} rows from x_at, y {y} rows from {self.l2**2}, out {out} rows from out_at, `paths` apart"

    @classmethod
    @cache
    def stages(cls) -> dict[str, Stage]:
        moving = ("t_x", "t_s", "t_y")
        read = ("x", "s", "y", "table")
        return {
            "forward": Stage("forward", read, ("out",)),
            "forward_tangent": Stage("forward_tangent", (*read, *moving), ("t_out",)),
            "backward": Stage("backward", (*read, "g"), ("d_x", "d_s", "d_y")),
            "backward_tangent": Stage(
                "backward_tangent", (*read, "g", *moving), ("t_d_x", "t_d_s", "t_d_y", "d_s", "d_y")
            ),
            "backward_table": Stage("backward_table", (*read, "g"), ("d_x", "d_table")),
            "backward_tangent_table": Stage(
                "backward_tangent_table", (*read, "g", *moving, "t_g"), ("t_d_x", "t_d_table")
            ),
        }

    def transforms(self, argument: str) -> Transforms:
        irreps = {"x": Irrep.of_natural(self.l1), "y": Irrep.of_natural(self.l2)}
        irreps["out"] = Irrep(self.l3, (-1) ** (self.l1 + self.l2))
        return Irreps([irreps[argument]]) if argument in irreps else None

    def _components(self, argument: str) -> int:
        return SPLINES if argument in ("s", "table") else super()._components(argument)

    def forward(self, interpolated: bool = True) -> Program:
        """The program; with `interpolated` off the radial weight is a slot w of its own."""
        entries: dict[tuple[int, int], list[tuple[Fraction, tuple[Ref, ...]]]] = {}
        for k, a, b, c in coupling_entries(*self.ranks):
            # y_0 = 1: the coupling with rank 0 is a number
            entries.setdefault((k, a), []).append((c, (Ref("y", b),) if self.l2 else ()))
        places: dict[tuple[Term, ...], int] = {}  # each distinct sum once
        body: list[Assign] = []
        if self.l2:
            for terms in entries.values():
                places.setdefault(statement(Ref("m", 0), terms).terms, len(places))
            body += [Assign(Ref("m", place), terms) for terms, place in places.items()]
        w, columns = Ref("w", 0), range(2 * self.l1 + 1)
        if interpolated:
            body.append(statement(w, [(1, (Ref("s", p), Ref("table", p))) for p in range(SPLINES)]))
        body += [statement(Ref("wx", a), [(1, (w, Ref("x", a)))]) for a in columns]
        rows: list[list[tuple[Fraction | int, tuple[Ref, ...]]]] = [[] for _ in range(2 * self.l3 + 1)]
        for (k, a), terms in entries.items():
            if self.l2:
                rows[k].append((1, (Ref("m", places[statement(Ref("m", 0), terms).terms]), Ref("wx", a))))
            else:
                rows[k].append((terms[0][0], (Ref("wx", a),)))
        body += [statement(Ref("out", k), terms) for k, terms in enumerate(rows)]
        radial = (Slot("s", SPLINES, False, Where.EDGE), Slot("table", SPLINES, True, Where.KNOT))
        inputs = (
            Slot("x", len(columns), True, Where.SENDER),
            Slot("y", 2 * self.l2 + 1, False, Where.EDGE),
            *(radial if interpolated else (Slot("w", 1, True, Where.EDGE),)),
        )
        titles = {
            "m": "the coupling contracted with the harmonics",
            "w": "radial weight",
            "wx": "weighted features",
            "out": "message",
            "x": "features",
            "s": "splines",
            "y": "harmonics",
            "table": "the table",
        }
        output = Slot("out", len(rows), True, Where.RECEIVER)
        summary = f"Message ({self.l1}, {self.l2}) -> {self.l3}."
        return Program("forward", summary, inputs, (output,), tuple(body), titles)

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """All stages. Those that give gradients to the edge give the values of d_s and d_y beside their tangents."""
        forward, moving = self.forward(), ("x", "s", "y")
        backward = gradient(forward, moving, "backward", "Gradient to x, s and y.")
        table = gradient(forward, ("x", "table"), "backward_table", "Gradient to x and the table.")
        return (
            forward,
            tangent(forward, moving, "forward_tangent", "Tangent of the message."),
            backward,
            tangent(backward, moving, "backward_tangent", "Tangent of `backward`, at rest in g.", ("d_s", "d_y")),
            table,
            tangent(table, (*moving, "g"), "backward_tangent_table", "Tangent of `backward_table`."),
        )

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        w: Any = Fraction(0)
        for spline, value in zip(inputs["s"], inputs["table"], strict=True):
            w = w + value * spline
        return [value * w for value in couple(self.ranks, inputs["x"], inputs["y"])]
