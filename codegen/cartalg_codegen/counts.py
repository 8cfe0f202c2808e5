"""Multiply-adds of one edge and channel in the edge convolution, beside the ways that other codes contract.

The convolution contracts couplings with the edge's harmonics first, once for all channels, into matrices of which it
keeps each distinct entry once; what is left for a channel is one multiply-add for each nonzero matrix entry. Counted
beside it: one for each nonzero Clebsch-Gordan coefficient between real spherical harmonics, and the contraction of full
Cartesian tensors of 3^l components over shared indices.
"""

from dataclasses import dataclass

from cartalg_codegen.forms import SPLINES, Convolution


@dataclass(frozen=True)
class Counts:
    """Multiply-adds of one edge and channel, radial weights aside, and what channels share.

    Attributes:
        paths: Number of paths.
        ours: Nonzero matrix entries.
        shared: Distinct matrix entries, made once an edge.
        sparse: Nonzero real Clebsch-Gordan coefficients.
        dense: Contraction of 3^l components.
        radial: Interpolating and applying the radial weights, in ours.
    """

    paths: int
    ours: int
    shared: int
    sparse: int
    dense: int
    radial: int


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


def counts(convolution: Convolution) -> Counts:
    """Counts of one convolution."""
    ours = sparse = dense = radial = 0
    for p in convolution.paths:
        l1, l2, l3 = p.left[0], p.edge[0], p.out[0]
        program = convolution.message(p)
        ours += sum(len(a.terms) for a in program.body if a.target.slot == "out")
        radial += SPLINES + 2 * l1 + 1
        sparse += clebsch_gordan_entries(l1, l2, l3)
        dense += 3 ** (l1 + l2 - (l1 + l2 - l3) // 2)
    shared = len(convolution.matrices().body)
    return Counts(len(convolution.paths), ours, shared, sparse, dense, radial)
