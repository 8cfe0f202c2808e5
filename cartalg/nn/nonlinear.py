"""Optional nonlinearities between layers: a norm over channels, and gates. Both leave components alone."""

import math

import torch
from torch import Tensor, nn

from cartalg.nn.linear import block_slices, key
from cartalg.ops import couple, open_kernels
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.irreps import Irrep


class RMSNorm(nn.Module):
    """Each irrep over the root mean square of its norm, over channels and components; a learned scale a channel.

    The squared norm is the generated coupling (l, l) -> 0, so the result is equivariant.

    Args:
        irreps: Irreps of the packed features; each appears once.
        channels: Channels.
        kernels: Folder of a kernel set.
        backend: As in `Potential`.
    """

    def __init__(self, irreps: tuple[Irrep, ...], channels: int, kernels: str | None, backend: str) -> None:
        super().__init__()
        self.irreps, self.kernels, self.backend = irreps, kernels, backend
        self.sizes = [s.stop - s.start for s in block_slices(irreps).values()]
        self.scale = nn.ParameterDict({key(i): nn.Parameter(torch.ones(channels)) for i in irreps})
        # the coupling gives c N_m x_m x_m: with 1/c it is the squared norm, over 2l+1 its mean
        ones = {rank: coupling(rank, rank, 0) for rank, _ in irreps}
        self.factor = {rank: math.sqrt(float(rule.orthonormal_squared) / (2 * rank + 1)) for rank, rule in ones.items()}

    def forward(self, h: Tensor) -> Tensor:
        """h [atoms, components, channels] -> the same shape."""
        kernels, blocks = open_kernels(self.kernels), []
        for irrep, x in zip(self.irreps, h.split(self.sizes, 1), strict=True):
            rank = irrep[0]
            square = couple(x, x, (rank, rank, 0), backend=self.backend, kernels=kernels) * self.factor[rank]
            blocks.append(x * torch.rsqrt(square.mean(2, keepdim=True) + 1e-6) * self.scale[key(irrep)])
        return torch.cat(blocks, 1)


class Gate(nn.Module):
    """Scalars through SiLU; every other irrep times a sigmoid of scalars, one for each channel.

    Args:
        irreps: Irreps of the packed features, the scalar first.
        channels: Channels.
    """

    def __init__(self, irreps: tuple[Irrep, ...], channels: int) -> None:
        super().__init__()
        self.sizes = [s.stop - s.start for s in block_slices(irreps).values()]
        self.weight = nn.ParameterDict({key(i): nn.Parameter(torch.randn(channels, channels)) for i in irreps[1:]})
        self.irreps = irreps

    def forward(self, h: Tensor) -> Tensor:
        """h [atoms, components, channels] -> the same shape."""
        scalars, *others = h.split(self.sizes, 1)
        blocks = [1.679 * nn.functional.silu(scalars)]  # 1.679 and 2 keep the variance
        for irrep, x in zip(self.irreps[1:], others, strict=True):
            gates = torch.sigmoid(scalars @ self.weight[key(irrep)] / math.sqrt(scalars.shape[2]))
            blocks.append(2 * gates * x)
        return torch.cat(blocks, 1)
