"""Operations: of emitted functions, counted on their loops, and of the edge convolution beside the ways that other
codes contract.

The convolution contracts couplings with the edge's harmonics first, once for all channels, into matrices of which it
keeps each distinct entry once; what is left for a channel is one multiply-add for each nonzero matrix entry. Counted
beside it: one for each nonzero Clebsch-Gordan coefficient between real spherical harmonics, and the contraction of full
Cartesian tensors of 3^l components over shared indices.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

from cartalg_codegen.lowering import lower
from cartalg_codegen.specs import AlignedMessageSpec, ConvolutionSpec, KernelSpec, parse
from cartalg_codegen.specs.edge import SPLINES
from cartalg_codegen.tree import Invoke, counted, walk


@cache
def operations(spec: KernelSpec) -> dict[str, int]:
    """Multiplications and additions of each emitted function, by what repeats them: ``"forward, per row and channel"``.

    What it calls is included. Address arithmetic and the bookkeeping of edges are not counted.
    """
    module = lower(spec)
    callees = {i.alias: _counted(parse(i.module), i.function) for i in module.imports}
    found = {}
    for function in module.functions:
        total = Counter(counted(function))
        for node, _ in walk(function.body):
            if isinstance(node, Invoke):
                total.update(callees[node.function])
        found.update({f"{function.name}, per {axis}": number for axis, number in sorted(total.items())})
    return found


@cache
def _counted(spec: KernelSpec, name: str) -> dict[str, int]:
    return counted(next(f for f in lower(spec).functions if f.name == name))


@dataclass(frozen=True)
class Counts:
    """Multiply-adds of one edge and channel, radial weights aside, and what channels share.

    Attributes:
        paths: Number of paths.
        ours: Nonzero matrix entries.
        shared: Distinct matrix entries of each path, made once an edge.
        sparse: Nonzero real Clebsch-Gordan coefficients.
        dense: Contraction of 3^l components.
        radial: Interpolating and applying the radial weights, in ours.
        aligned: In the frame of the edge, paths of an output added; 0 for scalars and where both parities are.
        aligned_radial: Interpolating the radial weights there.
    """

    paths: int
    ours: int
    shared: int
    sparse: int
    dense: int
    radial: int
    aligned: int = 0
    aligned_radial: int = 0


def clebsch_gordan_entries(l1: int, l2: int, l3: int) -> int:
    """Nonzero coefficients between real spherical harmonics that the selection rules allow.

    |m3| is |m1| + |m2| or their difference, and the number of negative ones has the parity of l1 + l2 + l3.
    """
    count = 0
    for a in range(-l1, l1 + 1):
        for b in range(-l2, l2 + 1):
            for c in range(-l3, l3 + 1):
                magnitude = abs(c) in (abs(a) + abs(b), abs(abs(a) - abs(b)))
                if magnitude and ((a < 0) + (b < 0) + (c < 0)) % 2 == (l1 + l2 + l3) % 2:
                    count += 1
    return count


def counts(convolution: ConvolutionSpec) -> Counts:
    """Counts of one convolution."""
    ours = shared = sparse = dense = radial = 0
    for path in convolution.paths:
        l1, l2, l3 = path.message.ranks
        program = path.message.forward()
        ours += sum(len(a.terms) for a in program.body if a.target.slot == "out")
        shared += len(program.uniform)
        radial += SPLINES + 2 * l1 + 1
        sparse += clebsch_gordan_entries(l1, l2, l3)
        dense += 3 ** (l1 + l2 - (l1 + l2 - l3) // 2)
    found = Counts(len(convolution.paths), ours, shared, sparse, dense, radial)
    if convolution.parity == "full" or not convolution.hidden:
        return found
    message = AlignedMessageSpec(convolution.hidden, convolution.edge)
    body = message.of_weights.body
    return replace(found, aligned=sum(len(a.terms) for a in body), aligned_radial=SPLINES * len(message.weights))
