"""Which kernels a kernel set holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from cartalg.symbolic.ranks import check_rank
from cartalg_codegen.specs import (
    AlignedConvolutionSpec,
    ConvolutionSpec,
    CouplingSpec,
    HarmonicsSpec,
    KernelSpec,
    LinearSpec,
    PackSpec,
    ProductSpec,
    UnpackSpec,
    parse,
)

#: Vector, matrices, dipole derivatives and piezoelectricity, hyperpolarizability, elasticity: in every kernel set.
SYMMETRIES = ("i", "ij", "ij=ji", "ij=-ji", "ijk", "ijk=ikj", "ijk=jik=ikj", "ijkl=jikl=klij")


@dataclass(frozen=True)
class Set:
    """Everything that a kernel set of one maximum rank holds.

    Attributes:
        max_rank: Highest rank of any tensor, at least 1.
        also: Names of kernels beyond the usual.
        only: Names of the kernels to hold and no others, with the parts that they import; by default all.
    """

    max_rank: int
    also: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if check_rank(self.max_rank, "max_rank") < 1:
            raise ValueError("max_rank must be at least 1")
        for name in (*self.also, *self.only):
            rank = parse(name).rank
            if rank > self.max_rank:
                raise ValueError(f"{name} needs rank {rank}; raise max_rank, which is {self.max_rank}")

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return {"max_rank": self.max_rank, "also": sorted(set(self.also)), "only": sorted(set(self.only))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From a manifest."""
        return cls(data["max_rank"], tuple(data["also"]), tuple(data["only"]))

    def specs(self) -> tuple[KernelSpec, ...]:
        """Every kernel, each once, parts before what imports them."""
        named = [parse(name) for name in sorted({*self.only} or {*self.also})]
        wanted = named if self.only else [*self.usual(), *named]
        return tuple(dict.fromkeys(part for spec in wanted for part in (*spec.parts, spec)))

    def usual(self) -> Iterator[KernelSpec]:
        """What models and networks of this rank use most."""
        ranks = range(self.max_rank + 1)
        yield from (HarmonicsSpec(rank) for rank in range(1, max(self.max_rank, 6) + 1))  # small
        yield from (
            CouplingSpec(l1, l2, l3)
            for l1 in ranks
            for l2 in ranks
            for l3 in range(abs(l1 - l2), min(l1 + l2, self.max_rank) + 1)
        )
        yield LinearSpec()
        yield ConvolutionSpec("natural", 0, 0)  # sums of numbers over edges
        for edge in ranks[1:]:
            yield from (ConvolutionSpec("natural", hidden, edge) for hidden in range(edge + 1))
            yield from (AlignedConvolutionSpec(hidden, edge) for hidden in range(1, edge + 1))
        for symmetry in SYMMETRIES:
            yield PackSpec(symmetry)
            yield UnpackSpec(symmetry)
        for features in ranks[1:]:
            for outputs in range(min(features, 2) + 1):
                yield from (ProductSpec("natural", "limited", features, outputs, n) for n in (1, 2, 3))
