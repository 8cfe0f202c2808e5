"""The edge convolution: messages of neighbours, summed, paths kept apart."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from cartalg.symbolic.irreps import Irrep, Irreps, paths
from cartalg_codegen.specs.edge import EdgeSpec
from cartalg_codegen.specs.edge_sum import Call, EdgeSumSpec
from cartalg_codegen.specs.harmonics import squared_norm
from cartalg_codegen.specs.message import MessageSpec
from cartalg_codegen.specs.rules import orthonormal_squared

#: natural: parity (-1)^l only; full: both parities of every rank.
Parity = Literal["natural", "full"]


def irreps_of(parity: Parity, max_rank: int) -> Irreps:
    """Irreps to a rank. Raises ValueError for a bad rank or parity."""
    if parity not in ("natural", "full"):
        raise ValueError(f"parity must be 'natural' or 'full', got {parity!r}")
    return Irreps.full(max_rank) if parity == "full" else Irreps.natural(max_rank)


@dataclass(frozen=True)
class Path:
    """One path of a convolution, with its places in the arrays.

    Attributes:
        left, edge, out: Irreps that are coupled.
        index: Among all paths; its place in the radial table.
        left_offset: First component of `left` in x.
        out_offset, out_stride: First row in out, and the distance of its components.
        orthonormal_squared: Square of the factor to the orthonormal normalisation.
        edge_squared_norm: Full contraction of the edge's harmonic with itself.
    """

    left: Irrep
    edge: Irrep
    out: Irrep
    index: int
    left_offset: int
    out_offset: int
    out_stride: int
    orthonormal_squared: Fraction
    edge_squared_norm: Fraction

    @property
    def message(self) -> MessageSpec:
        """What the path does on one edge."""
        return MessageSpec(self.left.l, self.edge.l, self.out.l)

    def __str__(self) -> str:
        return f"({self.left}, {self.edge}) -> {self.out}"


@dataclass(frozen=True)
class ConvolutionSpec(EdgeSumSpec):
    """Node features to rank `hidden` x edge harmonics to rank `edge` -> separate paths to rank `edge`.

    Rows of an output irrep with P paths are ordered [component, path], so that the channel mixing that follows is one
    matrix product over path and channel.
    """

    kind: ClassVar[str] = "convolution"
    source: ClassVar[str] = "codegen/cartalg_codegen/specs/convolution.py"
    forward_vectors: ClassVar[int] = 2

    parity: Parity
    hidden: int
    edge: int

    def __post_init__(self) -> None:
        irreps_of(self.parity, max(self.hidden, self.edge))

    @cached_property
    def name(self) -> str:
        return f"convolution_{self.parity}_h{self.hidden}_e{self.edge}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"convolution_(natural|full)_h(\d+)_e(\d+)", name)
        return cls(match[1], int(match[2]), int(match[3])) if match else None  # type: ignore[arg-type]

    @property
    def rank(self) -> int:
        return max(self.hidden, self.edge)

    @property
    def rule(self) -> str:
        listed = ", ".join(map(str, self.paths))
        return (
            "out_i = sum over edges i <- j of w_p(r) C_p x_j T(n), v = r n, paths kept apart"
            "   [docs/theory.md, eq. 35]; "
            f"{len(self.paths)} paths: {listed}"
        )

    @property
    def layout(self) -> str:
        return (
            f"x [senders, {self.left.dim}, channels], {self.left} -> out [receivers, {self.outputs.dim}, channels], "
            f"{self.outputs}, rows [component, path]; edges in CSR order"
        )

    @cached_property
    def left(self) -> Irreps:
        return irreps_of(self.parity, self.hidden)

    @cached_property
    def shared(self) -> EdgeSpec:
        return EdgeSpec(self.edge)

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """All paths, ordered by output irrep."""
        outputs = irreps_of(self.parity, self.edge)
        triples = list(paths(self.left.irreps, Irreps.natural(self.edge).irreps, outputs.irreps))
        counts = {out: sum(t[2] == out for t in triples) for out in outputs.irreps}
        starts = dict(zip(counts, Irreps((n, out) for out, n in counts.items()).slices, strict=True))
        seen, result = dict.fromkeys(counts, 0), []
        for index, (left, edge, out) in enumerate(triples):
            place, norm = starts[out].start + seen[out], orthonormal_squared(left.l, edge.l, out.l)
            at = self.left.slice_of(left).start
            result.append(Path(left, edge, out, index, at, place, counts[out], norm, squared_norm(edge.l)))
            seen[out] += 1
        return tuple(result)

    @cached_property
    def outputs(self) -> Irreps:
        reached = dict.fromkeys(p.out for p in self.paths)
        return Irreps((sum(p.out == out for p in self.paths), out) for out in reached)

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(
            Call(
                str(p),
                p.message,
                {"x_at": p.left_offset, "out_at": p.out_offset, "paths": p.out_stride, "path": p.index},
            )
            for p in self.paths
        )

    @cached_property
    def variances(self) -> tuple[Fraction, ...]:
        return tuple(p.orthonormal_squared * p.edge.dim / p.edge_squared_norm for p in self.paths)

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """The rows of one edge: x of its sender, s and y of the edge, table [knot, path] of its four knots."""
        rows: list[Any] = [Fraction(0)] * self.outputs.dim
        for path in self.paths:
            x = inputs["x"][path.left_offset : path.left_offset + path.left.dim]
            y = inputs["y"][path.edge.l**2 : (path.edge.l + 1) ** 2]
            table = [knot[path.index] for knot in inputs["table"]]
            values = path.message.closed_form({"x": x, "y": y, "s": inputs["s"], "table": table})
            for k, value in enumerate(values):
                rows[path.out_offset + k * path.out_stride] = value
        return rows
