"""Cartesian tensors with an index symmetry, packed into irreducible parts and back."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.program import Program, Ref, Slot, statement
from cartalg_codegen.specs.base import Argument, RowSpec, Transforms
from cartalg_codegen.specs.rules import fraction, linear

if TYPE_CHECKING:
    import sympy as sp

    from cartalg.symbolic.reducible import Decomposition


def encoded(formula: str) -> str:
    """An index formula as part of a file name: ij=ji is ij_ji, ij=-ji is ij_Mji."""
    return formula.replace("=", "_").replace("-", "M")


@dataclass(frozen=True)
class _TensorSpec(RowSpec):
    """What packing and unpacking share."""

    arguments: ClassVar = (Argument("t", "feature"), Argument("out", "out"))
    source: ClassVar[str] = "cartalg/symbolic/reducible.py"
    kept: ClassVar = ("irreps",)

    symmetry: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(rf"{cls.kind}_([a-zM_]+)", name)
        if match is None:
            return None
        from cartalg.symbolic.reducible import decompose

        return cls(decompose(match[1].replace("_", "=").replace("M", "-")).formula)

    @cached_property
    def name(self) -> str:
        return f"{self.kind}_{encoded(self.symmetry)}"

    @property
    def order(self) -> int:
        """Number of indices."""
        return len(self.symmetry.partition("=")[0])

    @property
    def rank(self) -> int:
        return 0  # small, and wanted whatever the rank: in every set

    @property
    def decomposition(self) -> "Decomposition":
        """The exact decomposition."""
        from cartalg.symbolic.reducible import decompose

        return decompose(self.symmetry)

    @cached_property
    def irreps(self) -> Irreps:
        """The irreducible parts, in order."""
        return Irreps(Irrep(rank, parity) for rank, parity in self.decomposition.irreps)

    def _encode(self, name: str) -> Any:
        return str(self.irreps)

    @classmethod
    def _decode(cls, name: str, value: Any) -> Any:
        return Irreps(value)

    @property
    def layout(self) -> str:
        full, packed = (
            f"[n, 3^{self.order}, channels], row-major",
            f"[n, {self.irreps.dim}, channels], parts {self.irreps}",
        )
        return f"t {full} -> out {packed}" if self.transforms("t") == self.order else f"t {packed} -> out {full}"

    def forward(self) -> Program:
        return matrix_program(self._matrix(), f"{self.kind.capitalize()} tensors {self.symmetry}.")

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        return linear(self._matrix(), inputs["t"])

    def _matrix(self) -> "sp.Matrix":
        raise NotImplementedError


@dataclass(frozen=True)
class PackSpec(_TensorSpec):
    """From a tensor of 3^n components to its irreducible parts."""

    kind: ClassVar[str] = "pack"

    @property
    def rule(self) -> str:
        return f"parts of T, {self.symmetry}   [docs/theory.md, eqs. 49-51]"

    def transforms(self, argument: str) -> Transforms:
        return self.order if argument == "t" else self.irreps

    def _matrix(self) -> "sp.Matrix":
        return self.decomposition.packing


@dataclass(frozen=True)
class UnpackSpec(_TensorSpec):
    """From irreducible parts to the tensor of 3^n components."""

    kind: ClassVar[str] = "unpack"

    @property
    def rule(self) -> str:
        return f"T from its parts, {self.symmetry}   [docs/theory.md, eqs. 49-51]"

    def transforms(self, argument: str) -> Transforms:
        return self.irreps if argument == "t" else self.order

    def _matrix(self) -> "sp.Matrix":
        return self.decomposition.unpacking


def projection(rank: int) -> Program:
    """The symmetric traceless part of any tensor of a rank, row by row, as packed components; for people to read."""
    from cartalg.symbolic.basis import packing_matrix

    return matrix_program(packing_matrix(rank), f"Symmetric traceless part of tensors of rank {rank}, packed.")


def matrix_program(matrix: "sp.Matrix", summary: str) -> Program:
    """out = matrix t."""
    body = []
    for r in range(matrix.rows):
        entries = [(matrix[r, c], Ref("t", c)) for c in range(matrix.cols) if matrix[r, c] != 0]
        body.append(statement(Ref("out", r), [(fraction(v), (ref,)) for v, ref in entries]))
    return Program("forward", summary, (Slot("t", matrix.cols),), (Slot("out", matrix.rows),), tuple(body))
