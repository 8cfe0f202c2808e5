# group: Kernels
"""What a convolution costs as rank grows

Multiplications and additions of one edge and channel, natural parity, ranks of features and harmonics alike: the
emitted kernel with its paths apart, the same products with nonzero Clebsch-Gordan coefficients and with full
Cartesian tensors, and the edge-aligned kernel, which adds the paths of an output in the frame of the edge.
"""

from matplotlib import pyplot

from cartalg_codegen.counts import counts
from cartalg_codegen.specs import ConvolutionSpec

ranks = range(1, 6)
found = [counts(ConvolutionSpec("natural", rank, rank)) for rank in ranks]
figure, axis = pyplot.subplots()
for name, label in (
    ("dense", "full tensors"),
    ("sparse", "Clebsch-Gordan"),
    ("ours", "emitted"),
    ("aligned", "aligned"),
):
    axis.semilogy(ranks, [getattr(c, name) for c in found], "o-", label=label)
axis.set(xlabel="rank", ylabel="operations", xticks=list(ranks))
axis.legend()
assert found[-1].aligned < found[-1].ours < found[-1].dense
figure.savefig("operations.svg")
