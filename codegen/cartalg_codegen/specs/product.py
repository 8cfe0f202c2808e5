"""The product basis: many-body features, weighted couplings A x .. x A."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, get_args

from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.program import Program, Where, degree
from cartalg_codegen.specs.base import Argument, RowSpec, Transforms
from cartalg_codegen.specs.convolution import Parity, irreps_of
from cartalg_codegen.specs.independent import independent_labels
from cartalg_codegen.specs.labels import TreeReader
from cartalg_codegen.specs.product_tree import ProductTree, Weight

#: limited: intermediates are the features' own irreps (the paper's symmetric product); complete: all that the features
#: can reach; independent: as many of these terms as are independent; ordered: limited, with weights of their own for
#: A x B and B x A (the paper's full product).
Basis = Literal["limited", "complete", "independent", "ordered"]


@dataclass(frozen=True)
class ProductSpec(RowSpec):
    """Features to rank `features`, to the power 1..correlation -> outputs to rank `outputs`.

    complete: intermediates to twice the rank of the features and both parities, so every output irrep of the symmetric
    power is reached with its full multiplicity, and most of them by more terms than that. independent: the same span
    with a weight for each of its dimensions; terms of order 4 are products of two pairs, so that the result is linear
    in the weights. Otherwise intermediates are limited to the features' own irreps.
    ordered: A x B and B x A have weights of their own, as if the factors were different.
    """

    kind: ClassVar[str] = "product"
    arguments: ClassVar = (Argument("a", "feature"), Argument("w", "parameter", Where.SPECIES), Argument("out", "out"))
    index: ClassVar = {"species": "Tensor"}
    kept: ClassVar = ("weights", "degree_in_weights")
    source: ClassVar[str] = "codegen/cartalg_codegen/specs/product_tree.py"

    parity: Parity
    basis: Basis
    features: int
    outputs: int
    correlation: int

    def __post_init__(self) -> None:
        irreps_of(self.parity, max(self.features, self.outputs))
        if self.basis not in get_args(Basis) or not 1 <= self.correlation <= 4:
            raise ValueError(
                f"a product has a basis limited, complete, independent or ordered and correlation 1 to 4, got "
                f"{self.basis!r} and {self.correlation}"
            )

    @cached_property
    def name(self) -> str:
        return f"product_{self.parity}_{self.basis}_a{self.features}_o{self.outputs}_n{self.correlation}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        bases = "|".join(get_args(Basis))
        match = re.fullmatch(rf"product_(natural|full)_({bases})_a(\d+)_o(\d+)_n([1-4])", name)
        return cls(match[1], match[2], *map(int, match.groups()[2:])) if match else None  # type: ignore[arg-type]

    @property
    def rank(self) -> int:
        return max(self.features, self.outputs)

    @property
    def rule(self) -> str:
        return (
            f"out = sum over orders 1..{self.correlation} of weighted couplings A x .. x A, {self.basis} basis"
            "   [docs/theory.md, eq. 40]"
        )

    @property
    def formula(self) -> str:
        return "out = " + " + ".join(f"w{n} {w.label}" for n, w in enumerate(self.weights) if w.is_term)

    @property
    def layout(self) -> str:
        return (
            f"a [atoms, {self.feature_irreps.dim}, channels], {self.feature_irreps}, w [species, {len(self.weights)}, "
            f"channels] -> out [atoms, {self.output_irreps.dim}, channels], {self.output_irreps}"
        )

    @cached_property
    def feature_irreps(self) -> Irreps:
        """Irreps of A."""
        return irreps_of(self.parity, self.features)

    @cached_property
    def output_irreps(self) -> Irreps:
        """Irreps of the result."""
        return irreps_of(self.parity, self.outputs)

    @property
    def intermediates(self) -> Irreps:
        """Irreps that a pair (and, at correlation 4, a triple) product may have."""
        return self.feature_irreps if self.basis in ("limited", "ordered") else Irreps.full(2 * self.features)

    @cached_property
    def _tree(self) -> ProductTree:
        given = self.feature_irreps, self.output_irreps, self.intermediates, self.correlation
        if self.basis == "independent":
            return ProductTree(*given, chosen=independent_labels(*given))
        return ProductTree(*given, ordered=self.basis == "ordered")

    @cached_property
    def weights(self) -> tuple[Weight, ...]:
        """Weights, in the order of the slot w."""
        return tuple(self._tree.weights)

    @cached_property
    def degree_in_weights(self) -> int:
        """Highest power in which weights appear together in an output."""
        return degree(self.forward(), "w")

    def _encode(self, name: str) -> Any:
        return [w.to_json() for w in self.weights] if name == "weights" else self.degree_in_weights

    @classmethod
    def _decode(cls, name: str, value: Any) -> Any:
        return tuple(Weight.from_json(w) for w in value) if name == "weights" else int(value)

    def transforms(self, argument: str) -> Transforms:
        return {"a": self.feature_irreps, "w": None, "out": self.output_irreps}[argument]

    def _components(self, argument: str) -> int:
        return len(self.weights) if argument == "w" else super()._components(argument)

    def forward(self) -> Program:
        return self._tree.program

    def closed_form(self, inputs: Mapping[str, Sequence[Any]]) -> list[Any]:
        """The sum over weights of the trees that their labels write down, like ((A1o A1o)2e A1o)1o."""
        return _Reader(self, inputs["a"], inputs["w"]).total()


class _Reader(TreeReader):
    """The sum of a product's labels, weighted."""

    def __init__(self, spec: ProductSpec, a: Sequence[Any], w: Sequence[Any]) -> None:
        super().__init__(spec.feature_irreps, a)
        self.spec, self.w = spec, w

    def total(self) -> list[Any]:
        """All outputs, one after the other."""
        out = {irrep: [Fraction(0)] * irrep.dim for irrep in self.spec.output_irreps.irreps}
        for place, weight in enumerate(self.spec.weights):
            # a weight of a triple inside an order-4 tree adds to the sum (A A A)l that such trees are made of
            name = f"(A A A){weight.out}"
            before = out[weight.out] if weight.is_term else self.trees.get(name, [Fraction(0)] * weight.out.dim)
            value = self.tree(weight.label)
            added = [b + v * self.w[place] for b, v in zip(before, value, strict=True)]
            if weight.is_term:
                out[weight.out] = added
            else:
                self.trees[name] = added
        return [value for irrep in self.spec.output_irreps.irreps for value in out[irrep]]
