"""From a specification to loops: what backends print whose kernels are loops over rows, atoms, edges and channels."""

from functools import lru_cache

from cartalg_codegen.lowering import aligned, convolution, edges, linear, rows
from cartalg_codegen.specs import (
    AlignedConvolutionSpec,
    AlignedMessageSpec,
    ConvolutionSpec,
    EdgeSpec,
    FrameSpec,
    KernelSpec,
    LinearSpec,
    MessageSpec,
    RowSpec,
)
from cartalg_codegen.tree import Module


@lru_cache(maxsize=512)
def lower(spec: KernelSpec) -> Module:
    """The functions of a kernel. Raises TypeError for a kind of kernel that has no loops yet."""
    match spec:
        case RowSpec():
            return rows.lower(spec)
        case EdgeSpec() | FrameSpec():
            return edges.lower_edge(spec)
        case MessageSpec():
            return edges.lower_message(spec)
        case AlignedMessageSpec():
            return aligned.lower_message(spec)
        case ConvolutionSpec() | AlignedConvolutionSpec():
            return convolution.lower(spec)
        case LinearSpec():
            return linear.lower(spec)
    raise TypeError(f"{type(spec).__name__} has no loops: give it some in cartalg_codegen/lowering")
