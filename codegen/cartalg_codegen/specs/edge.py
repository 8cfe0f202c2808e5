"""What one edge contributes whatever the channel: splines of its length, harmonics of its direction."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, ClassVar, Self

from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.derive import Implicit, gradient, tangent
from cartalg_codegen.program import Program, Ref, Slot, Where, statement
from cartalg_codegen.specs.base import Argument, Stage, Transforms
from cartalg_codegen.specs.edge_sum import PartSpec
from cartalg_codegen.specs.harmonics import HarmonicsSpec, harmonic

#: Cubic B-splines that are not zero on a knot interval.
SPLINES = 4
#: inverse = 1/|v|: d inverse/dv_i = -inverse^3 v_i.
INVERSE_LENGTH: Implicit = {
    Ref("inverse", 0): tuple((Ref("v", i), Fraction(-1), (*(Ref("inverse", 0),) * 3, Ref("v", i))) for i in range(3))
}


def spline_pieces() -> list[tuple[Fraction, ...]]:
    """The four uniform cubic B-splines on one knot interval: coefficients of 1, f, f^2, f^3."""
    pieces = ((1, -3, 3, -1), (4, 0, -6, 3), (1, 3, 3, -3), (0, 0, 0, 1))
    return [tuple(Fraction(c, 6) for c in coefficients) for coefficients in pieces]


@dataclass(frozen=True)
class EdgeSpec(PartSpec):
    """Splines s and harmonics y of edge vectors v; part of every convolution of this edge rank.

    Read beside v: inverse = 1/|v|, below the number of the knot below |v|, per_knot the knots in an angstrom.
    """

    kind: ClassVar[str] = "edge"
    arguments: ClassVar = (
        Argument("v", "geometry", Where.EDGE, lanes=False),
        Argument("s", "out", Where.EDGE, lanes=False),
        Argument("y", "out", Where.EDGE, lanes=False),
    )
    source: ClassVar[str] = "codegen/cartalg_codegen/specs/edge.py"

    edge: int

    @cached_property
    def name(self) -> str:
        return f"edge_e{self.edge}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"edge_e(\d+)", name)
        return cls(int(match[1])) if match else None

    @property
    def rank(self) -> int:
        return self.edge

    @property
    def rule(self) -> str:
        return "s_n = sigma_n(|v|/d - kappa), y = T_l(v/|v|)   [docs/theory.md, eqs. 7, 37, 38]"

    @property
    def layout(self) -> str:
        return f"v [3, edges] -> s [{SPLINES}, edges], y [{self.components['y']}, edges], {self.transforms('y')}"

    @classmethod
    @cache
    def stages(cls) -> dict[str, Stage]:
        read = ("v", "inverse", "below", "per_knot")
        return {
            "edge": Stage("edge", read, ("s", "y")),
            "edge_tangent": Stage("edge_tangent", (*read, "t_v"), ("t_s", "t_y", "s", "y")),
            "edge_gradient": Stage("edge_gradient", (*read, "d_s", "d_y"), ("d_v",)),
            "edge_gradient_tangent": Stage(
                "edge_gradient_tangent", (*read, "d_s", "d_y", "t_v", "t_d_s", "t_d_y"), ("t_d_v",)
            ),
        }

    def transforms(self, argument: str) -> Transforms:
        return {"v": 1, "s": None, "y": Irreps.natural(self.edge)}[argument]

    def _components(self, argument: str) -> int:
        return SPLINES if argument == "s" else super()._components(argument)

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """Values, their tangents, and the gradient to v with its tangent."""
        forward = self._forward()
        backward = gradient(forward, ("v",), "edge_gradient", "Gradient to v.", INVERSE_LENGTH)
        return (
            forward,
            tangent(
                forward, ("v",), "edge_tangent", "Tangents of s and y, and their values.", ("s", "y"), INVERSE_LENGTH
            ),
            backward,
            tangent(
                backward,
                ("v", "d_s", "d_y"),
                "edge_gradient_tangent",
                "Tangent of the gradient to v.",
                (),
                INVERSE_LENGTH,
            ),
        )

    def _forward(self) -> Program:
        inverse, per_knot, below = Ref("inverse", 0), Ref("per_knot", 0), Ref("below", 0)
        body = [
            statement(Ref("rr", 0), [(1, (Ref("v", i), Ref("v", i))) for i in range(3)]),
            statement(Ref("f", 0), [(1, (per_knot, inverse, Ref("rr", 0))), (-1, (below,))]),
            *(statement(Ref("unit", i), [(1, (inverse, Ref("v", i)))]) for i in range(3)),
        ]
        for place, powers in enumerate(spline_pieces()):
            body.append(statement(Ref("s", place), [(c, (Ref("f", 0),) * n) for n, c in enumerate(powers)]))
        for assign in HarmonicsSpec(self.edge).forward().body:
            terms = [(t.coefficient, tuple(Ref("unit", f.index) for f in t.factors)) for t in assign.terms]
            body.append(statement(Ref("y", assign.target.index), terms))
        inputs = tuple(
            Slot(name, size, False, Where.EDGE)
            for name, size in (("v", 3), ("inverse", 1), ("below", 1), ("per_knot", 1))
        )
        outputs = tuple(Slot(name, self.components[name], False, Where.EDGE) for name in ("s", "y"))
        titles = {
            "rr": "|v|^2",
            "f": "place between two knots, 0 to 1",
            "unit": "direction",
            "s": "splines",
            "y": "harmonics",
        }
        titles |= {"v": "the vector", "inverse": "1/|v|"}
        return Program("edge", "Splines and harmonics of edge vectors v.", inputs, outputs, tuple(body), titles)

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """Splines, then harmonics, of v with length 1/inverse."""
        (inverse,), (below,), (per_knot,) = (inputs[name] for name in ("inverse", "below", "per_knot"))
        unit = [component * inverse for component in inputs["v"]]
        length: Any = sum((u * component for u, component in zip(unit, inputs["v"], strict=True)), Fraction(0))
        f = length * per_knot - below
        splines = [a + f * (b + f * (c + f * d)) for a, b, c, d in spline_pieces()]
        return splines + [value for rank in range(self.edge + 1) for value in harmonic(rank, unit)]
