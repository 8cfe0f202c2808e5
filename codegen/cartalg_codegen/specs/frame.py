"""What an edge of an aligned convolution gives to all channels: splines of its length, the frame in which it is z.

The frame is g = side (2 u u^T / u.u - 1), u = n + side z, with side = -1 where n_z < 0 and +1 elsewhere: a half turn
or a reflection, so that g z = n, g is its own inverse, and u is never short. Its matrices on packed tensors of natural
parity follow rank by rank. Derivatives need none of them: near an edge its direction is n + tau_1 g x + tau_2 g y.
Source: docs/theory.md, eqs. 52, 55, 56.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, ClassVar, Self

from cartalg.symbolic.ranks import check_rank, component_norm
from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.program import Assign, Program, Ref, Slot, Where, statement, vanishing
from cartalg_codegen.specs.base import Argument, Stage, Transforms
from cartalg_codegen.specs.edge import INVERSE_LENGTH, SPLINES, spline_pieces
from cartalg_codegen.specs.edge_sum import PartSpec
from cartalg_codegen.specs.rules import coupling_entries, orthonormal_squared

#: Packed places of x, y, z.
X, Y, Z = 2, 0, 1


@dataclass(frozen=True)
class FrameSpec(PartSpec):
    """Splines s of edge vectors v, and matrices `turn` of the edge's frame to rank max(hidden, edge).

    Read beside v: inverse = 1/|v|, below the number of the knot below |v|, per_knot the knots in an angstrom, side, and
    half = 1/(1 + |n_z|).
    """

    kind: ClassVar[str] = "frame"
    arguments: ClassVar = (
        Argument("v", "geometry", Where.EDGE, lanes=False),
        Argument("s", "out", Where.EDGE, lanes=False),
        Argument("turn", "out", Where.EDGE, lanes=False),
        Argument("tau", "out", Where.EDGE, lanes=False),
    )
    source: ClassVar[str] = "codegen/cartalg_codegen/specs/frame.py"

    hidden: int
    edge: int

    def __post_init__(self) -> None:
        check_rank(self.hidden, "hidden")
        check_rank(self.edge, "edge")
        if self.hidden == 0:
            raise ValueError("features of rank 0 have nothing to turn: convolution_natural_h0_e.. is the same sum")

    @cached_property
    def name(self) -> str:
        return f"frame_h{self.hidden}_e{self.edge}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"frame_h(\d+)_e(\d+)", name)
        return cls(int(match[1]), int(match[2])) if match else None

    @property
    def rank(self) -> int:
        return max(self.hidden, self.edge)

    @property
    def rule(self) -> str:
        return "s_n = sigma_n(|v|/d - kappa), turn = D_l(g), g z = v/|v|, g g = 1   [docs/theory.md, eqs. 37, 38, 52]"

    @property
    def layout(self) -> str:
        return f"v [3, edges] -> s [{SPLINES}, edges], turn [{len(self.places)}, edges], rank after rank, [row, column]"

    @classmethod
    @cache
    def stages(cls) -> dict[str, Stage]:
        read = ("v", "inverse", "below", "per_knot", "side", "half")
        back = ("v", "inverse", "below", "per_knot", "turn", "d_s", "d_tau")
        return {
            "edge": Stage("edge", read, ("s", "turn")),
            "edge_tangent": Stage("edge_tangent", (*read, "t_v"), ("t_s", "t_tau", "s", "turn")),
            "edge_gradient": Stage("edge_gradient", back, ("d_v",)),
            "edge_gradient_tangent": Stage("edge_gradient_tangent", (*back, "t_v", "t_d_s", "t_d_tau"), ("t_d_v",)),
        }

    def transforms(self, argument: str) -> Transforms:
        return 1 if argument == "v" else None

    def _components(self, argument: str) -> int:
        sizes = {"s": SPLINES, "turn": len(self.places), "tau": 2}
        return sizes[argument] if argument in sizes else super()._components(argument)

    @cached_property
    def places(self) -> Mapping[tuple[int, int, int], int]:
        """Where the entry (rank, row, column) stands, counted from 0.

        Columns are components along the edge: of an output beyond the rank of the features only those are there that
        second derivatives reach.
        """
        found: dict[tuple[int, int, int], int] = {}
        for rank in range(1, self.rank + 1):
            reach = min(rank, self.hidden + 2)
            for row in range(2 * rank + 1):
                for column in range(rank - reach, rank + reach + 1):
                    found[rank, row, column] = len(found)
        return found

    def has(self, rank: int, column: int) -> bool:
        """Whether a column is there."""
        return rank == 0 or (rank, 0, column) in self.places

    def entry(self, rank: int, row: int, column: int) -> tuple[Ref, ...]:
        """An entry of the frame's matrix, as factors of a product: of rank 0 it is 1."""
        return (self._entry(rank, row, column),) if rank else ()

    def _entry(self, rank: int, row: int, column: int) -> Ref:
        return Ref("turn", self.places[rank, row, column])

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """Values, their tangents, and the gradient to v with its tangent."""
        frame, chart = self._frame(), self._chart()
        zero = [Ref("flat", a) for a in range(2)]  # axes of the frame are perpendicular to the edge
        moving = tangent(chart, ("v",), "edge_tangent", "Tangents of s and tau.", (), INVERSE_LENGTH)
        moving = vanishing(moving, zero)
        back = gradient(chart, ("v",), "edge_gradient", "Gradient to v.", INVERSE_LENGTH)
        second = tangent(
            back, ("v", "d_s", "d_tau"), "edge_gradient_tangent", "Tangent of the gradient to v.", (), INVERSE_LENGTH
        )
        known = {a.target for a in frame.body}
        both = Program(
            "edge_tangent",
            "Tangents of s and tau; s and the frame.",
            (*frame.inputs, *(s for s in moving.inputs if s.name == "t_v")),
            (*moving.outputs, *frame.outputs),
            (*frame.body, *(a for a in moving.body if a.target not in known)),
            {**frame.titles, **moving.titles},
        )
        return frame, both, vanishing(back, zero), vanishing(second, zero)

    def _splines(self) -> list[Assign]:
        inverse, per_knot, below = Ref("inverse", 0), Ref("per_knot", 0), Ref("below", 0)
        body = [
            statement(Ref("rr", 0), [(1, (Ref("v", i), Ref("v", i))) for i in range(3)]),
            statement(Ref("f", 0), [(1, (per_knot, inverse, Ref("rr", 0))), (-1, (below,))]),
        ]
        for place, powers in enumerate(spline_pieces()):
            body.append(statement(Ref("s", place), [(c, (Ref("f", 0),) * n) for n, c in enumerate(powers)]))
        return body

    def _slots(self, *names: str) -> tuple[Slot, ...]:
        sizes = {"v": 3, "tau": 2, "s": SPLINES, "turn": len(self.places)}
        return tuple(Slot(name, sizes.get(name, 1), False, Where.EDGE) for name in names)

    def _chart(self) -> Program:
        """s and tau near an edge, in the frame that it has."""
        body = self._splines()
        for a, column in enumerate((X, Y)):
            axis = [self._entry(1, row, column) for row in (X, Y, Z)]
            body.append(statement(Ref("flat", a), [(1, (axis[i], Ref("v", i))) for i in range(3)]))
            body.append(statement(Ref("tau", a), [(1, (Ref("inverse", 0), Ref("flat", a)))]))
        return Program(
            "edge",
            "",
            self._slots(*self.stages()["edge_gradient"].reads[:5]),
            self._slots("s", "tau"),
            tuple(body),
            TITLES,
        )

    def _frame(self) -> Program:
        unit = [statement(Ref("unit", i), [(1, (Ref("inverse", 0), Ref("v", i)))]) for i in range(3)]
        body = (*self._splines(), *unit, *self._entries())
        inputs, outputs = self._slots(*self.stages()["edge"].reads), self._slots("s", "turn")
        return Program("edge", "Splines and frames of edge vectors v.", inputs, outputs, body, TITLES)

    def _entries(self) -> Iterator[Assign]:
        """The matrices, rank by rank: of rank 1 as they are, of others by the coupling with a vector."""
        known: dict[tuple[int, int, int], Ref] = {}
        unit = {X: Ref("unit", 0), Y: Ref("unit", 1), Z: Ref("unit", 2)}
        side, half = Ref("side", 0), Ref("half", 0)
        for row in range(3):
            for column in range(3):
                if Z in (row, column):
                    terms: list[tuple[Fraction | int, tuple[Ref, ...]]] = [(1, (unit[row + column - Z],))]
                else:
                    terms = [(1, (side, half, unit[row], unit[column]))]
                    terms += [(-1, (side,))] if row == column else []
                known[1, row, column] = self._entry(1, row, column)
                yield statement(known[1, row, column], terms)
        for rank in range(2, self.rank + 1):
            norms = [component_norm(rank, abs(column - rank)) for column in range(2 * rank + 1)]
            listed = [(row, column) for r, row, column in self.places if r == rank]
            for row, column in sorted(listed, key=lambda rc: (abs(rc[1] - rank) == rank, rc[1] > rc[0])):
                mirror = known.get((rank, column, row))
                if mirror is not None:
                    terms = [(norms[column] / norms[row], (mirror,))]
                else:
                    terms = [
                        (c * d, (known[rank - 1, a, above], known[1, b, vector]))
                        for above, vector, d in _seeds(rank, column)
                        for a, b, c in _rows(rank, row)
                    ]
                known[rank, row, column] = self._entry(rank, row, column)
                yield statement(known[rank, row, column], terms)

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """Splines, then the matrices of g, of v with length 1/inverse [docs/theory.md, eqs. 31, 38, 52]."""
        (inverse,), (below,), (per_knot,) = (inputs[name] for name in ("inverse", "below", "per_knot"))
        (side,), (half,) = inputs["side"], inputs["half"]
        n = [component * inverse for component in inputs["v"]]
        length: Any = sum((u * component for u, component in zip(n, inputs["v"], strict=True)), Fraction(0))
        f = length * per_knot - below
        splines = [a + f * (b + f * (c + f * d)) for a, b, c, d in spline_pieces()]
        u = [n[0], n[1], n[2] + side]
        matrix = [[side * (u[i] * u[j] * half - int(i == j)) for j in range(3)] for i in range(3)]
        order = (1, 2, 0)  # y, z, x
        first = [[matrix[i][j] for j in order] for i in order]
        known = {1: first}
        for rank in range(2, self.rank + 1):
            known[rank] = _next(rank, known[rank - 1], first)
        return splines + [known[rank][row][column] for rank, row, column in self.places]


def _next(rank: int, before: list[list[Any]], first: list[list[Any]]) -> list[list[Any]]:
    """D_l = C (D_{l-1} x D_1) C+ [docs/theory.md, eq. 31]."""
    q = orthonormal_squared(rank - 1, 1, rank)
    norms = [[component_norm(r, abs(m)) for m in range(-r, r + 1)] for r in (rank - 1, 1, rank)]
    entries = coupling_entries(rank - 1, 1, rank)
    found: list[list[Any]] = [[Fraction(0)] * (2 * rank + 1) for _ in range(2 * rank + 1)]
    for row, a, b, c in entries:
        for column, above, vector, d in entries:
            scale = q * c * d * norms[2][column] / (norms[0][above] * norms[1][vector])
            found[row][column] = found[row][column] + before[a][above] * first[b][vector] * scale
    return found


@cache
def _rows(rank: int, row: int) -> tuple[tuple[int, int, Fraction], ...]:
    """Nonzero C[row, a, b] of the coupling (rank-1, 1) -> rank."""
    return tuple((a, b, c) for k, a, b, c in coupling_entries(rank - 1, 1, rank) if k == row)


@cache
def _seeds(rank: int, column: int) -> tuple[tuple[int, int, Fraction], ...]:
    """A basis tensor, as a coupling of those of rank-1: of the same m with z, or of |m| - 1 with x and y."""
    m = column - rank
    if abs(m) < rank:
        pairs = [(column - 1, Z, 1)]
    elif m > 0:
        pairs = [(2 * rank - 2, X, 1), (0, Y, -1)]
    else:
        pairs = [(0, X, 1), (2 * rank - 2, Y, 1)]
    image = [Fraction(0)] * (2 * rank + 1)
    for k, a, b, c in coupling_entries(rank - 1, 1, rank):
        image[k] += sum((c * sign for above, vector, sign in pairs if (above, vector) == (a, b)), Fraction(0))
    if any(value for k, value in enumerate(image) if k != column):
        raise ArithmeticError(f"rank {rank}, component {m}: the basis does not follow from rank {rank - 1}")
    return tuple((above, vector, sign / image[column]) for above, vector, sign in pairs)


TITLES = {
    "rr": "|v|^2",
    "f": "place between two knots, 0 to 1",
    "unit": "direction",
    "s": "splines",
    "turn": "matrices of the frame",
    "tau": "along the axes of the frame",
    "v": "the vector",
    "inverse": "1/|v|",
    "flat": "along the axes of the frame",
}
