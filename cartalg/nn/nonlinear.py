"""Optional nonlinearities between layers: a norm over channels, and gates. Both leave components alone."""

import math

import torch
from torch import Tensor, nn

from cartalg.architecture import ModelConfig
from cartalg.nn.kernels import couple
from cartalg.nn.mixing import Mixing, mix
from cartalg.nn.operations import cat, mean, split, times
from cartalg.nn.pointwise import pointwise, sigmoid, silu
from cartalg.nn.values import Scaled, Value
from cartalg.ops import KernelSet
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.specs import CouplingSpec
from cartalg_codegen.specs.rules import orthonormal_squared


def between_layers(
    config: ModelConfig, irreps: Irreps, channels: int, kernels: KernelSet, backend: str
) -> list[nn.Module]:
    """What stands between two layers whose features are these irreps."""
    found: list[nn.Module] = []
    if config.norm:
        found.append(RMSNorm(irreps, channels, kernels, backend))
    if config.gate:
        found.append(Gate(irreps, channels, kernels))
    return found


class RMSNorm(nn.Module):
    """Each irrep over the root mean square of its norm, over channels and components; a learned scale a channel.

    The squared norm is the generated coupling (l, l) -> 0, so the result is equivariant.

    Args:
        irreps: Irreps of the packed features; each appears once.
        channels: Channels.
        kernels: A kernel set.
        backend: As in `Potential`.
    """

    def __init__(self, irreps: Irreps, channels: int, kernels: KernelSet, backend: str) -> None:
        super().__init__()
        self.irreps, self.kernels, self.backend = irreps, kernels, backend
        self.scale = nn.ParameterDict({str(i): nn.Parameter(torch.ones(channels)) for i in irreps.irreps})
        # the coupling gives c N_m x_m x_m: with 1/c it is the squared norm, over 2l+1 its mean
        self.factor = {i: math.sqrt(orthonormal_squared(i.l, i.l, 0) / i.dim) for i in irreps.irreps}

    def _over_norm(self, irrep: Irrep, x: Value) -> Value:
        factor = self.factor[irrep]

        def inverse_root(square: Tensor) -> Tensor:
            return torch.rsqrt(factor * square + 1e-6)

        def slope(square: Tensor) -> Tensor:
            return -factor / 2 * inverse_root(square) ** 3

        def curvature(square: Tensor) -> Tensor:
            return 0.75 * factor**2 * inverse_root(square) ** 5

        square = mean(couple(self.kernels, self.backend, CouplingSpec(irrep.l, irrep.l, 0), x, x))
        return times(x, times(pointwise(square, inverse_root, slope, curvature), self.scale[str(irrep)]))

    def forward(self, h: Value) -> Value:
        """h [atoms, components, channels] -> the same shape."""
        blocks = zip(self.irreps.irreps, split(h, self.irreps), strict=True)
        return cat([self._over_norm(irrep, x) for irrep, x in blocks])


class Gate(nn.Module):
    """Scalars through SiLU; every other irrep times a sigmoid of scalars, one for each channel.

    Args:
        irreps: Irreps of the packed features, the scalar first.
        channels: Channels.
        kernels: A kernel set.
    """

    def __init__(self, irreps: Irreps, channels: int, kernels: KernelSet) -> None:
        super().__init__()
        self.irreps, self.gated = irreps, irreps.irreps[1:]
        self.weight = nn.ParameterDict({str(i): nn.Parameter(torch.randn(channels, channels)) for i in self.gated})
        self.gates = Irreps([irreps.irreps[0]] * len(self.gated))  # a scalar for each
        self.mixing = Mixing(
            kernels, Irreps(irreps.irreps[:1]), self.gates, channels, [(0, n) for n in range(len(self.gated))]
        )

    def forward(self, h: Value) -> Value:
        """h [atoms, components, channels] -> the same shape."""
        scalars, *others = split(h, self.irreps)
        blocks = [silu(scalars, 1.679)]  # 1.679 and 2 keep the variance
        if others:
            channels = self.mixing.channels
            scales = (1 / math.sqrt(channels),) * len(self.gated)
            weights = Scaled(tuple(self.weight[str(irrep)] for irrep in self.gated), scales, channels)
            gates = split(sigmoid(mix(scalars, self.mixing, weights), 2.0), self.gates)
            blocks += [times(gate, x) for gate, x in zip(gates, others, strict=True)]
        return cat(blocks)
