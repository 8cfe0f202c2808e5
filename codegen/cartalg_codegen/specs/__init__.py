"""Kernel specifications: one frozen class for each kind, and the registry that everything reads them from."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cartalg_codegen.specs.aligned import AlignedConvolutionSpec, AlignedMessageSpec
from cartalg_codegen.specs.base import KernelSpec, RowSpec, Stage
from cartalg_codegen.specs.convolution import ConvolutionSpec, Path
from cartalg_codegen.specs.coupling import CouplingSpec
from cartalg_codegen.specs.edge import EdgeSpec
from cartalg_codegen.specs.edge_sum import EdgeSumSpec
from cartalg_codegen.specs.frame import FrameSpec
from cartalg_codegen.specs.harmonics import HarmonicsSpec
from cartalg_codegen.specs.linear import LinearSpec
from cartalg_codegen.specs.message import MessageSpec
from cartalg_codegen.specs.pack import PackSpec, UnpackSpec
from cartalg_codegen.specs.product import ProductSpec
from cartalg_codegen.specs.product_tree import Weight

#: Every kind of kernel. A new kind is its module and its line here.
KINDS: tuple[type[KernelSpec], ...] = (
    HarmonicsSpec,
    CouplingSpec,
    LinearSpec,
    EdgeSpec,
    MessageSpec,
    ConvolutionSpec,
    FrameSpec,
    AlignedMessageSpec,
    AlignedConvolutionSpec,
    PackSpec,
    UnpackSpec,
    ProductSpec,
)


@lru_cache(maxsize=4096)
def parse(name: str) -> KernelSpec:
    """The specification that a kernel name stands for.

    Raises:
        ValueError: If no kernel can have that name, or its ranks cannot be.
    """
    for kind in KINDS:
        if (spec := kind.parse(name)) is not None:
            return spec
    raise ValueError(
        f"no kernel can be named {name!r}; names are harmonics_l<rank>, coupling_<l1>_<l2>_<l3>, "
        "convolution_<natural|full>_h<rank>_e<rank>, aligned_natural_h<rank>_e<rank>, "
        "product_<natural|full>_<limited|complete|independent|ordered>_a<rank>_o<rank>_n<1..4>, "
        "pack_<formula> and unpack_<formula> with an index formula like ij_ji (ij=ji) or ij_Mji (ij=-ji)"
    )


def from_json(data: Mapping[str, Any]) -> KernelSpec:
    """The specification that a manifest describes. Raises ValueError for a kind that there is none of."""
    kinds = {kind.kind: kind for kind in KINDS}
    if data["kind"] not in kinds:
        raise ValueError(f"no kind of kernel is called {data['kind']!r}; there are {', '.join(kinds)}")
    return kinds[data["kind"]].from_json(data)


__all__ = [
    "KINDS",
    "AlignedConvolutionSpec",
    "AlignedMessageSpec",
    "ConvolutionSpec",
    "CouplingSpec",
    "EdgeSpec",
    "EdgeSumSpec",
    "FrameSpec",
    "HarmonicsSpec",
    "KernelSpec",
    "LinearSpec",
    "MessageSpec",
    "PackSpec",
    "Path",
    "ProductSpec",
    "RowSpec",
    "Stage",
    "UnpackSpec",
    "Weight",
    "from_json",
    "parse",
]
