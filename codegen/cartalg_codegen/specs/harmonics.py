"""Cartesian harmonics of a vector."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import factorial
from typing import Any, ClassVar, Self

from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.ranks import double_factorial
from cartalg_codegen.program import Program, Ref, Slot, statement
from cartalg_codegen.specs.base import Argument, RowSpec, Transforms
from cartalg_codegen.specs.rules import fraction


def squared_norm(rank: int) -> Fraction:
    """Full contraction of T_l(n) with itself for a unit vector n: (2l-1)!!/l!."""
    return Fraction(double_factorial(2 * rank - 1), factorial(rank))


@dataclass(frozen=True)
class HarmonicsSpec(RowSpec):
    """T_0(v)..T_L(v), packed one after the other; homogeneous polynomials in v."""

    kind: ClassVar[str] = "harmonics"
    arguments: ClassVar = (Argument("v", "feature", lanes=False), Argument("out", "out", lanes=False))
    source: ClassVar[str] = "cartalg/symbolic/basis.py"

    max_rank: int

    @cached_property
    def name(self) -> str:
        return f"harmonics_l{self.max_rank}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        match = re.fullmatch(r"harmonics_l(\d+)", name)
        return cls(int(match[1])) if match else None

    @property
    def rank(self) -> int:
        return self.max_rank

    @property
    def rule(self) -> str:
        return "T_l(v) = (2l-1)!!/l! P_l v..v, homogeneous of degree l   [docs/theory.md, eq. 7]"

    @property
    def layout(self) -> str:
        irreps = Irreps.natural(self.max_rank)
        return f"v [n, 3] -> out [n, {irreps.dim}], {irreps}, m = -l..l, orthogonal rational basis"

    def transforms(self, argument: str) -> Transforms:
        return 1 if argument == "v" else Irreps.natural(self.max_rank)

    def forward(self) -> Program:
        from cartalg.symbolic.basis import harmonic_polynomials

        body, start = [], 0
        for rank in range(self.max_rank + 1):
            for m, p in enumerate(harmonic_polynomials(rank)):
                terms = [(fraction(c), tuple(Ref("v", i) for i in range(3) for _ in range(e[i]))) for e, c in p.items()]
                body.append(statement(Ref("out", start + m), terms))
            start += 2 * rank + 1
        summary = f"Cartesian harmonics of rank 0 to {self.max_rank} of vectors v."
        return Program("forward", summary, (Slot("v", 3, False),), (Slot("out", start, False),), tuple(body))

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        return [value for rank in range(self.max_rank + 1) for value in harmonic(rank, inputs["v"])]


def harmonic(rank: int, v: Sequence[Any]) -> list[Any]:
    """T_l(v) from its polynomials, on numbers of any exact ring."""
    from cartalg.symbolic.basis import harmonic_polynomials

    rows = []
    for p in harmonic_polynomials(rank):
        total: Any = Fraction(0)
        for exponents, c in p.items():
            term: Any = fraction(c)
            for axis, power in enumerate(exponents):
                for _ in range(power):
                    term = v[axis] * term
            total = total + term
        rows.append(total)
    return rows
