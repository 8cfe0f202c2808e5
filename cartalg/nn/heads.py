"""Heads for tensors: atomic or global properties of any rank and index symmetry, from equivariant features.

Each irreducible part of the tensor is a linear readout of the features with its rank and parity, in every layer that
has them; the generated `unpack` kernel makes the Cartesian tensor of the parts. Source: docs/theory.md, eq. 34.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cartalg.nn.linear import block_slices
from cartalg.ops import pack, unpack
from cartalg.ops.kernel_sets import KernelSet
from cartalg.symbolic.irreps import Irrep
from cartalg.symbolic.reducible import decompose
from cartalg_codegen.specs import UnpackSpec


class TensorHead(nn.Module):
    """A tensor of each atom.

    Args:
        formula: Index symmetry, such as ``"ij=ji"``.
        layers: Irreps of the features of each layer.
        channels: Channels.
        n_species: Elements; scalar parts have a shift for each.
        kernels: A kernel set with the formula's unpack kernel.
        backend: As in `Potential`.
    Raises:
        ValueError: If no layer has the irreps of some part.
        KernelNotFound: If the set has no such kernel.
    """

    scale: Tensor

    def __init__(
        self,
        formula: str,
        layers: Sequence[tuple[Irrep, ...]],
        channels: int,
        n_species: int,
        kernels: KernelSet,
        backend: str,
    ) -> None:
        super().__init__()
        self.formula, self.kernels, self.backend = formula, kernels, backend
        kernels.holding(UnpackSpec(formula))
        self.parts = decompose(formula)
        self.sources: list[list[tuple[int, slice]]] = []  # of each part: (layer, components)
        self.weight = nn.ParameterList()
        for rank, parity in self.parts.irreps:
            found = [(n, block_slices(i)[rank, parity]) for n, i in enumerate(layers) if (rank, parity) in i]
            if not found:
                kind = "polar" if parity == (-1) ** rank else "axial: that needs parity full"
                raise ValueError(f"tensors {formula} have a part of rank {rank} ({kind}) that no layer's features have")
            self.sources.append(found)
            self.weight.append(nn.Parameter(torch.randn(len(found), channels)))
        norms = [math.sqrt(float(part.squared_norm)) for part in self.parts.parts]
        self.part_scale = [1 / (n * math.sqrt(channels)) for n in norms]  # parts of equal norm for unit features
        self.shift = nn.Parameter(torch.zeros(n_species, sum(rank == 0 for rank, _ in self.parts.irreps)))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, species: Tensor, features: Sequence[Tensor]) -> Tensor:
        """species [atoms], features of each layer [atoms, components, channels] -> [atoms, 3, .., 3]."""
        blocks, scalar = [], 0
        for (rank, _), sources, weight, factor in zip(
            self.parts.irreps, self.sources, self.weight, self.part_scale, strict=True
        ):
            part = sum(features[n][:, s] @ w for (n, s), w in zip(sources, weight, strict=True)) * factor
            if rank == 0:
                part = part + self.shift[species, scalar, None]
                scalar += 1
            blocks.append(part)
        packed = torch.cat(blocks, 1)[:, :, None] * self.scale
        return unpack(packed, self.formula, backend=self.backend, kernels=self.kernels)[..., 0]

    @torch.no_grad()
    def start_from(self, values: Tensor, atoms: Tensor) -> None:
        """Scale and shifts from reference tensors [n, 3, .., 3], each a sum over so many atoms [n].

        The shift of scalar parts is their mean for an atom, the scale the spread of what is left, for an atom.
        """
        packed = pack(values.double()[..., None].cpu(), self.formula, kernels=self.kernels)[..., 0]
        start, means = 0, []
        for rank, _ in self.parts.irreps:
            if rank == 0:
                means.append(packed[:, start].sum() / atoms.sum())
                packed[:, start] -= means[-1] * atoms
            start += 2 * rank + 1
        spread = (packed**2).mean() / atoms.double().mean()
        scale = max(math.sqrt(float(spread)), 1e-12)
        self.scale.fill_(scale)
        for place, mean in enumerate(means):
            self.shift[:, place] = mean / scale
