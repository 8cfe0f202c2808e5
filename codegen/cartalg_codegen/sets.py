"""Which kernels a kernel set holds, and the names under which the library asks for them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cartalg.symbolic.coupling import irreps_up_to
from cartalg.symbolic.irreps import Irrep
from cartalg.symbolic.polynomials import check_rank
from cartalg_codegen import tensors
from cartalg_codegen.forms import Convolution, Product

#: even: natural parity only; full: both parities of every rank.
Parity = Literal["even", "full"]
#: limited: intermediates are the features' own irreps (the paper's symmetric product); complete: all that the features
#: can reach; ordered: limited, with weights of their own for A x B and B x A (the paper's full product).
Basis = Literal["limited", "complete", "ordered"]


def harmonics_name(max_rank: int) -> str:
    """File name of the Cartesian harmonics to `max_rank`."""
    return f"harmonics_l{max_rank}"


def coupling_name(l1: int, l2: int, l3: int) -> str:
    """File name of one pair coupling."""
    return f"coupling_{l1}_{l2}_{l3}"


def convolution_name(parity: Parity, hidden: int, edge: int) -> str:
    """File name of an edge convolution of features to rank `hidden` with harmonics to rank `edge`."""
    return f"convolution_{parity}_h{hidden}_e{edge}"


def product_name(parity: Parity, basis: Basis, features: int, outputs: int, correlation: int) -> str:
    """File name of a product basis."""
    return f"product_{parity}_{basis}_a{features}_o{outputs}_n{correlation}"


def convolution(parity: Parity, hidden: int, edge: int) -> Convolution:
    """The convolution behind `convolution_name`: its outputs reach rank `edge`."""
    full = parity == "full"
    return Convolution(irreps_up_to(hidden, full), edge, irreps_up_to(edge, full))


def product(parity: Parity, basis: Basis, features: int, outputs: int, correlation: int) -> Product:
    """The product behind `product_name`."""
    full = parity == "full"
    return Product(
        irreps_up_to(features, full), irreps_up_to(outputs, full), correlation, basis == "complete", basis == "ordered"
    )


@dataclass(frozen=True)
class Plan:
    """Everything a kernel set of one maximum rank holds; `also` names convolutions and products beyond the usual."""

    max_rank: int
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if check_rank(self.max_rank, "max_rank") < 1:
            raise ValueError("max_rank must be at least 1")
        for name in self.also:
            self._parse(name)

    def _parse(self, name: str) -> tuple[Any, ...]:
        """The parameters that a kernel name stands for. Raises ValueError for a name that no kernel can have."""
        if (tensor := tensors.named_formula(name)) is not None:
            return tensor
        match = re.fullmatch(r"convolution_(even|full)_h(\d+)_e(\d+)", name)
        if match is None:
            match = re.fullmatch(r"product_(even|full)_(limited|complete|ordered)_a(\d+)_o(\d+)_n([1-4])", name)
        if match is None:
            raise ValueError(
                f"no kernel can be named {name!r}; names are convolution_<even|full>_h<rank>_e<rank> and "
                "product_<even|full>_<limited|complete|ordered>_a<rank>_o<rank>_n<1..4>, pack_<formula> and "
                "unpack_<formula> with an index formula like ij_ji (ij=ji) or ij_Mji (ij=-ji)"
            )
        values = tuple(int(v) if v.isdigit() else v for v in match.groups())
        ranks = [v for v in values if isinstance(v, int)][:2]
        if max(ranks) > self.max_rank:
            raise ValueError(f"{name} needs rank {max(ranks)}; raise max_rank, which is {self.max_rank}")
        return values

    def _others(self, kind: str, usual: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        named = [self._parse(n) for n in sorted(set(self.also)) if n.startswith(f"{kind}_")]
        return [n for n in named if n not in usual]

    @property
    def ranks(self) -> tuple[int, ...]:
        """0..max_rank."""
        return tuple(range(self.max_rank + 1))

    def harmonics(self) -> range:
        """Maximum ranks of the harmonics: they are small, so to rank 6 in every set."""
        return range(1, max(self.max_rank, 6) + 1)

    def couplings(self) -> Iterator[tuple[int, int, int]]:
        """Every (l1, l2, l3) within the maximum rank that the triangle rule allows."""
        for l1 in self.ranks:
            for l2 in self.ranks:
                for l3 in range(abs(l1 - l2), min(l1 + l2, self.max_rank) + 1):
                    yield l1, l2, l3

    def convolutions(self) -> list[tuple[Any, ...]]:
        """(parity, hidden, edge) of every convolution."""
        usual = list(self._usual_convolutions())
        return usual + self._others("convolution", usual)

    def products(self) -> list[tuple[Any, ...]]:
        """(parity, basis, features, outputs, correlation) of every product."""
        usual = list(self._usual_products())
        return usual + self._others("product", usual)

    def tensors(self) -> list[tuple[Any, ...]]:
        """(pack or unpack, index formula) of every tensor kernel; whatever the maximum rank."""
        usual = [(kind, formula) for formula in tensors.USUAL for kind in ("pack", "unpack")]
        named = [tensors.named_formula(name) for name in sorted(set(self.also))]
        return usual + [n for n in named if n is not None and n not in usual]

    def _usual_convolutions(self) -> Iterator[tuple[Any, ...]]:
        """Natural parity: every hidden <= edge rank. Both parities: hidden rank 1 and 2."""
        for edge in self.ranks[1:]:
            for hidden in range(edge + 1):
                yield "even", hidden, edge
            for hidden in range(1, min(edge, 2) + 1):
                yield "full", hidden, edge

    def _usual_products(self) -> Iterator[tuple[Any, ...]]:
        """Natural parity: correlation 1-3 at every rank, 4 to rank 2; complete, both parities to 2; ordered to 3."""
        for features in self.ranks[1:]:
            for outputs in range(min(features, 2) + 1):
                for correlation in (1, 2, 3):
                    yield "even", "limited", features, outputs, correlation
                if features <= 3:
                    yield "even", "ordered", features, outputs, 3
            if features <= 2:
                for outputs in (0, 1):
                    yield "even", "limited", features, outputs, 4
                    yield "even", "complete", features, outputs, 2
                    yield "even", "complete", features, outputs, 3
                    for correlation in (1, 2, 3) if features == 1 else (1, 2):
                        yield "full", "limited", features, outputs, correlation


def layout(irreps: tuple[Irrep, ...]) -> list[list[int]]:
    """Irreps as JSON: [[l, p], ..]."""
    return [list(irrep) for irrep in irreps]
