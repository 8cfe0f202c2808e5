"""What all convolutions share: they gather from senders, work on chunks of edges, and sum at receivers."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.program import Program, Where
from cartalg_codegen.specs.base import Argument, KernelSpec, Stage, Transforms


class PartSpec(KernelSpec):
    """What a convolution calls: functions of their own, with a program each."""

    part: ClassVar[bool] = True

    @property
    @abstractmethod
    def programs(self) -> tuple[Program, ...]:
        """The programs of all stages."""


@dataclass(frozen=True)
class Call:
    """A message of a convolution: its function is called for each chunk of edges.

    Attributes:
        title: What it adds.
        message: What is called.
        places: Arguments that are numbers.
    """

    title: str
    message: PartSpec
    places: Mapping[str, int]


class EdgeSumSpec(KernelSpec):
    """A convolution: x of senders, edge vectors and tables of radial weights -> sums at receivers.

    Tables of as many intervals each stand one after the other; `block` says which of them an edge reads.
    """

    kind: ClassVar[str] = "convolution"
    #: Vector registers that a lane of its forward functions fills.
    forward_vectors: ClassVar[int] = 1
    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("x", "feature", Where.SENDER, flat="rows"),
        Argument("vectors", "geometry", Where.EDGE, lanes=False),
        Argument("table", "parameter", Where.KNOT),
        Argument("out", "out", Where.RECEIVER, flat="rows"),
    )
    index: ClassVar = {
        "step": "float",
        "intervals": "float",
        "block": "Tensor",
        "row_ptr": "Tensor",
        "sender": "Tensor",
        "receiver": "Tensor",
        "col_ptr": "Tensor",
        "col_edge": "Tensor",
    }

    @property
    @abstractmethod
    def left(self) -> Irreps:
        """Irreps of the node features."""

    @property
    @abstractmethod
    def outputs(self) -> Irreps:
        """Irreps of the result, each with the number of its blocks of rows."""

    @property
    @abstractmethod
    def variances(self) -> tuple[Fraction, ...]:
        """Of each radial weight: features of variance 1 make messages of variance 1 [docs/theory.md, eqs. 47, 58]."""

    @property
    @abstractmethod
    def shared(self) -> PartSpec:
        """What an edge gives to all channels."""

    @property
    @abstractmethod
    def calls(self) -> tuple[Call, ...]:
        """The messages of an edge."""

    @property
    def parts(self) -> tuple[KernelSpec, ...]:
        return (self.shared, *dict.fromkeys(call.message for call in self.calls))

    @classmethod
    def _stage(cls, name: str, reads: tuple[str, ...], writes: tuple[str, ...]) -> Stage:
        """Gradients run over senders, for what a call writes belongs to one thread."""
        backward = "g" in reads
        of_atoms = ("col_ptr", "col_edge", "receiver") if backward else ("row_ptr", "sender")
        index = ("step", "intervals", "block", *of_atoms)
        vectors = 1 if backward else cls.forward_vectors
        return Stage(name, reads, writes, index, "col_ptr" if backward else "row_ptr", vectors)

    def transforms(self, argument: str) -> Transforms:
        known: dict[str, Transforms] = {"x": self.left, "vectors": 1, "table": None, "out": self.outputs}
        return known[argument]

    def _components(self, argument: str) -> int:
        return len(self.variances) if argument == "table" else super()._components(argument)
