"""The coupling of two tensors, channel by channel."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Self

from cartalg.symbolic.contraction import Contraction
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.program import Program, Ref, Slot, statement
from cartalg_codegen.specs.base import Argument, RowSpec, Transforms
from cartalg_codegen.specs.rules import couple, coupling_entries


@dataclass(frozen=True)
class CouplingSpec(RowSpec):
    """(l1, l2) -> l3 in the harmonic normalisation, for tensors of natural parity."""

    kind: ClassVar[str] = "coupling"
    arguments: ClassVar = (Argument("a", "feature"), Argument("b", "feature"), Argument("out", "out"))
    source: ClassVar[str] = "cartalg/symbolic/coupling.py"

    l1: int
    l2: int
    l3: int

    def __post_init__(self) -> None:
        Contraction(self.l1, self.l2, self.l3)  # raises where the triangle rule does not hold

    @cached_property
    def name(self) -> str:
        return f"coupling_{self.l1}_{self.l2}_{self.l3}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"coupling_(\d+)_(\d+)_(\d+)", name)
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
        crossed = (self.l1 + self.l2 + self.l3) % 2
        kind = "Levi-Civita coupling" if crossed else "contraction"
        a, b, out = (self.transforms(name) for name in ("a", "b", "out"))
        return f"({a}, {b}) -> {out}, {kind}, harmonic normalisation   [docs/theory.md, eqs. 16-18]"

    @property
    def formula(self) -> str:
        from cartalg.render.formats.unicode import lines
        from cartalg.symbolic.formulas import coupling_formula

        return " ".join(lines(coupling_formula(*self.ranks)))

    @property
    def layout(self) -> str:
        shapes = [f"{name} [n, {self.components[name]}, channels]" for name in ("a", "b", "out")]
        return f"{shapes[0]}, {shapes[1]} -> {shapes[2]}"

    def transforms(self, argument: str) -> Transforms:
        a, b = Irrep.of_natural(self.l1), Irrep.of_natural(self.l2)
        return Irreps([{"a": a, "b": b, "out": Irrep(self.l3, a.p * b.p)}[argument]])

    def forward(self) -> Program:
        terms: dict[int, list[tuple[Fraction, tuple[Ref, ...]]]] = {k: [] for k in range(2 * self.l3 + 1)}
        for k, a, b, c in coupling_entries(*self.ranks):
            terms[k].append((c, (Ref("a", a), Ref("b", b))))
        body = tuple(statement(Ref("out", k), t) for k, t in terms.items())
        inputs, output = (Slot("a", 2 * self.l1 + 1), Slot("b", 2 * self.l2 + 1)), Slot("out", 2 * self.l3 + 1)
        return Program(
            "forward", f"Couple rank {self.l1} and rank {self.l2} to rank {self.l3}.", inputs, (output,), body
        )

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        return couple(self.ranks, inputs["a"], inputs["b"])
