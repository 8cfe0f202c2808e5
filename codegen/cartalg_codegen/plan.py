"""Which kernels a kernel set holds, and the names under which the library asks for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cartalg.symbolic.coupling import Irrep, irreps_up_to
from cartalg.symbolic.polynomials import check_rank
from cartalg_codegen.forms import Convolution, Product

#: even: natural parity only; full: both parities of every rank.
Parity = Literal["even", "full"]
#: limited: intermediates are the features' own irreps (the paper's product); complete: all that the features can reach.
Basis = Literal["limited", "complete"]


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
    return Product(irreps_up_to(features, full), irreps_up_to(outputs, full), correlation, basis == "complete")


@dataclass(frozen=True)
class Plan:
    """Everything a kernel set of one maximum rank holds."""

    max_rank: int

    def __post_init__(self) -> None:
        if check_rank(self.max_rank, "max_rank") < 1:
            raise ValueError("max_rank must be at least 1")

    @property
    def ranks(self) -> tuple[int, ...]:
        """0..max_rank."""
        return tuple(range(self.max_rank + 1))

    def couplings(self) -> Iterator[tuple[int, int, int]]:
        """Every (l1, l2, l3) within the maximum rank that the triangle rule allows."""
        for l1 in self.ranks:
            for l2 in self.ranks:
                for l3 in range(abs(l1 - l2), min(l1 + l2, self.max_rank) + 1):
                    yield l1, l2, l3

    def convolutions(self) -> Iterator[tuple[Parity, int, int]]:
        """Natural parity: every hidden <= edge rank. Both parities: hidden rank 1 and 2."""
        for edge in self.ranks[1:]:
            for hidden in range(edge + 1):
                yield "even", hidden, edge
            for hidden in range(1, min(edge, 2) + 1):
                yield "full", hidden, edge

    def products(self) -> Iterator[tuple[Parity, Basis, int, int, int]]:
        """Natural parity: correlation 1-3 at every rank, 4 to rank 2. Complete, and both parities: to rank 2."""
        for features in self.ranks[1:]:
            for outputs in range(min(features, 2) + 1):
                for correlation in (1, 2, 3):
                    yield "even", "limited", features, outputs, correlation
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
