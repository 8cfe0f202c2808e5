# group: Kernels
r"""Equivariance in floating point

The rule is exact; what a kernel loses is rounding. Random tensors are coupled and then turned, or turned and then
coupled, for all couplings to rank 3, in both precisions.
"""

import numpy as np
import torch
from matplotlib import pyplot

from cartalg.ops import couple
from cartalg.symbolic.spherical import wigner_d

make = torch.Generator().manual_seed(0)
R = np.array([[1, -2, 2], [2, -1, -2], [2, 2, 1]]) / 3
D = {rank: torch.tensor(wigner_d(rank, R)) for rank in range(4)}


def turned(t, rank):
    """Packed tensors of a rank, turned by R."""
    return D[rank].to(t.dtype) @ t


figure, axis = pyplot.subplots()
for dtype in (torch.float32, torch.float64):
    errors = []
    for l1 in range(4):
        for l2 in range(l1 + 1):
            for l3 in range(l1 - l2, min(l1 + l2, 3) + 1):
                a = torch.randn(2000, 2 * l1 + 1, 1, dtype=dtype, generator=make)
                b = torch.randn(2000, 2 * l2 + 1, 1, dtype=dtype, generator=make)
                after = turned(couple(a, b, (l1, l2, l3)), l3)
                before = couple(turned(a, l1), turned(b, l2), (l1, l2, l3))
                errors.append(float((after - before).abs().max() / after.abs().max()))
    axis.semilogy(sorted(errors), "o", label=str(dtype).removeprefix("torch."))
    assert max(errors) < 20 * torch.finfo(dtype).eps
axis.set(xlabel="couplings, by error", ylabel="largest relative error")
axis.legend()
figure.savefig("precision.svg")
