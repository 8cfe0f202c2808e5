"""Linear maps over channels, one for each irrep: they mix channels and never touch components."""

import math

import torch
from torch import Tensor, nn

from cartalg.nn.element_mixing import mix_of_elements
from cartalg.nn.mixing import Mixing, mix
from cartalg.nn.values import Scaled, Value
from cartalg.ops import KernelSet
from cartalg.symbolic.irreps import Irreps


class ChannelLinear(nn.Module):
    """Mix the channels of each irrep with a matrix of its own; unit-variance weights, scaled by 1/sqrt(fan-in).

    Args:
        kernels: A kernel set.
        irreps: Irreps of the packed input; each appears once.
        channels_in, channels_out: Channels.
        outputs: Irreps to return, in this order; those missing from the input are zero.
        elements: Number of elements with matrices of their own; None if all share them.
    """

    def __init__(
        self,
        kernels: KernelSet,
        irreps: Irreps,
        channels_in: int,
        channels_out: int,
        outputs: Irreps,
        elements: int | None = None,
    ) -> None:
        super().__init__()
        self.mixing = Mixing(kernels, irreps, outputs, channels_out)
        self.weight = nn.ParameterDict(
            {name: nn.Parameter(_random(elements, channels_in, channels_out)) for name in self.mixing.names}
        )
        self.scale = 1 / math.sqrt(channels_in)

    def forward(self, x: Value, plus: Value | None = None) -> Value:
        """x [atoms, components, channels_in] -> [atoms, output components, channels_out], `plus` added."""
        return mix(x, self.mixing, self._scaled(), plus)

    def of_elements(self, species: Tensor, x: Value) -> Value:
        """The same by the matrices of each atom's element, species [atoms]."""
        return mix_of_elements(species, x, self.mixing, self._scaled())

    def _scaled(self) -> Scaled:
        names = self.mixing.names
        return Scaled(tuple(self.weight[n] for n in names), (self.scale,) * len(names), self.mixing.channels)


class PathLinear(nn.Module):
    """Mix paths and channels of a convolution's separate outputs.

    Args:
        kernels: A kernel set.
        paths: Irreps that the convolution reaches, each with its number of paths, in its order.
        channels_in, channels_out: Channels.
        outputs: Irreps to return; those the convolution does not reach are zero.
        scale: Factor of the result.
        elements: As of a `ChannelLinear`.
    """

    def __init__(
        self,
        kernels: KernelSet,
        paths: Irreps,
        channels_in: int,
        channels_out: int,
        outputs: Irreps,
        scale: float,
        elements: int | None = None,
    ) -> None:
        super().__init__()
        self.mixing = Mixing(kernels, paths, outputs, channels_out)
        fans = [(str(irrep), mul * channels_in) for mul, irrep in paths]
        self.weight = nn.ParameterDict({name: nn.Parameter(_random(elements, fan, channels_out)) for name, fan in fans})
        self.scales = {name: scale / math.sqrt(fan) for name, fan in fans}

    def forward(self, x: Value) -> Value:
        """x [atoms, rows, channels_in] -> [atoms, components, channels_out]."""
        return mix(x, self.mixing, self._scaled())

    def of_elements(self, species: Tensor, x: Value) -> Value:
        """The same by the matrices of each atom's element, species [atoms]."""
        return mix_of_elements(species, x, self.mixing, self._scaled())

    def _scaled(self) -> Scaled:
        names = self.mixing.names  # of the irreps that are returned
        weights, scales = tuple(self.weight[n] for n in names), tuple(self.scales[n] for n in names)
        return Scaled(weights, scales, self.mixing.channels)


def _random(elements: int | None, rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns) if elements is None else torch.randn(elements, rows, columns)
