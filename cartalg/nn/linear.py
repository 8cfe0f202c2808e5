"""Linear maps over channels, one for each irrep: they mix channels and never touch components."""

import math

import torch
from torch import Tensor, nn

from cartalg.symbolic.irreps import Irrep


def block_slices(irreps: tuple[Irrep, ...]) -> dict[Irrep, slice]:
    """Where each irrep's components lie in a packed feature tensor."""
    result, start = {}, 0
    for irrep in irreps:
        size = 2 * irrep[0] + 1
        result[irrep] = slice(start, start + size)
        start += size
    return result


class ChannelLinear(nn.Module):
    """Mix the channels of each irrep with a matrix of its own; unit-variance weights, scaled by 1/sqrt(fan-in).

    Args:
        irreps: Irreps of the packed input; each appears once.
        channels_in, channels_out: Channels.
        outputs: Irreps to return, in this order; those missing from the input are zero.
    """

    def __init__(
        self, irreps: tuple[Irrep, ...], channels_in: int, channels_out: int, outputs: tuple[Irrep, ...]
    ) -> None:
        super().__init__()
        self.slices, self.outputs, self.channels_out = block_slices(irreps), outputs, channels_out
        shared = [i for i in outputs if i in self.slices]
        self.weight = nn.ParameterDict({key(i): nn.Parameter(torch.randn(channels_in, channels_out)) for i in shared})
        self.scale = 1 / math.sqrt(channels_in)

    def forward(self, x: Tensor) -> Tensor:
        """x [atoms, components, channels_in] -> [atoms, output components, channels_out]."""
        # split, not slices: the gradient of a slice is a full tensor of zeros
        parts = dict(zip(self.slices, x.split([s.stop - s.start for s in self.slices.values()], 1), strict=True))
        blocks = []
        for irrep in self.outputs:
            if irrep in parts:
                blocks.append(parts[irrep] @ (self.scale * self.weight[key(irrep)]))
            else:
                blocks.append(x.new_zeros(x.shape[0], 2 * irrep[0] + 1, self.channels_out))
        return torch.cat(blocks, 1)


class PathLinear(nn.Module):
    """Mix paths and channels of a convolution's separate outputs: rows [component, path] of each irrep.

    Args:
        counts: Number of paths of each irrep the convolution reaches, in its order.
        channels_in, channels_out: Channels.
        outputs: Irreps to return; those the convolution does not reach are zero.
    """

    def __init__(
        self, counts: dict[Irrep, int], channels_in: int, channels_out: int, outputs: tuple[Irrep, ...]
    ) -> None:
        super().__init__()
        self.counts, self.channels, self.channels_out, self.outputs = counts, channels_in, channels_out, outputs
        self.weight = nn.ParameterDict(
            {key(i): nn.Parameter(torch.randn(n * channels_in, channels_out)) for i, n in counts.items()}
        )
        self.starts: dict[Irrep, int] = {}
        row = 0
        for irrep, count in counts.items():
            self.starts[irrep] = row
            row += count * (2 * irrep[0] + 1)

    def forward(self, x: Tensor, scale: float) -> Tensor:
        """x [atoms, rows, channels_in] -> scale * mixed [atoms, components, channels_out]."""
        sizes = [count * (2 * irrep[0] + 1) for irrep, count in self.counts.items()]
        parts = dict(zip(self.counts, x.split(sizes, 1), strict=True))
        blocks = []
        for irrep in self.outputs:
            size, count = 2 * irrep[0] + 1, self.counts.get(irrep, 0)
            if count == 0:
                blocks.append(x.new_zeros(x.shape[0], size, self.channels_out))
                continue
            rows = parts[irrep].reshape(x.shape[0], size, count * self.channels)
            blocks.append(rows @ (scale / math.sqrt(count * self.channels) * self.weight[key(irrep)]))
        return torch.cat(blocks, 1)


def key(irrep: Irrep) -> str:
    """Parameter name of an irrep: rank and parity, ``1o`` for a vector, ``1e`` for an axial vector."""
    return f"{irrep[0]}{'e' if irrep[1] > 0 else 'o'}"
