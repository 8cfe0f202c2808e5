"""Channel mixing for each irrep, for code that runs without a framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, ClassVar, Self

from cartalg_codegen.specs.base import Argument, KernelSpec, Stage, Transforms

#: Columns of the layout array, a line for each irrep: components, start and step in x, numbers that are summed, start
#: in weight, start in out, rows of an atom in out, and 1 to add to what out holds.
COLUMNS = ("size", "x_at", "x_step", "depth", "w_at", "out_at", "out_rows", "add")


@dataclass(frozen=True)
class LinearSpec(KernelSpec):
    """out[n, o + k] = sum_q x[n, a + k s + q] weight[w + q] for each line of a layout."""

    kind: ClassVar[str] = "linear"
    arguments: ClassVar = (
        Argument("x", "feature", lanes=False),
        Argument("weight", "parameter"),
        Argument("out", "out", flat="rows"),
    )
    source: ClassVar[str] = "codegen/cartalg_codegen/lowering/linear.py"

    @cached_property
    def name(self) -> str:
        return "linear"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        return cls() if name == "linear" else None

    @property
    def rank(self) -> int:
        return 0

    @property
    def rule(self) -> str:
        return "out[n, k] = sum_q x[n, k, q] W[q] for every irrep; components do not mix   [docs/theory.md, section 5]"

    @property
    def layout(self) -> str:
        return (
            "x [atoms, numbers], weight [rows, channel] -> out [(atom, component), channel]; a line of `layout` is "
            + ", ".join(COLUMNS)
        )

    @classmethod
    @cache
    def stages(cls) -> dict[str, Stage]:
        return {
            "forward": Stage("forward", ("x", "weight"), ("out",), index=("layout",)),
            "backward_weight": Stage("backward_weight", ("x", "g"), ("d_weight",), index=("layout",)),
        }

    def transforms(self, argument: str) -> Transforms:
        return None

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """One row of out, from the numbers of x that it sums and its rows of the weight [depth][channel]."""
        channels = range(len(inputs["weight"][0]))
        return [
            sum((x * w[c] for x, w in zip(inputs["x"], inputs["weight"], strict=True)), Fraction(0)) for c in channels
        ]
