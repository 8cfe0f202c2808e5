"""Heads for tensors: atomic or global properties of any rank and index symmetry, from equivariant features.

Each irreducible part of the tensor is a linear readout of the features with its rank and parity, in every layer that
has them; the generated `unpack` kernel makes the Cartesian tensor of the parts. Source: docs/theory.md, eq. 49.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cartalg.architecture import ModelConfig
from cartalg.nn.kernels import unpack
from cartalg.nn.mixing import Mixing, mix
from cartalg.nn.values import Made, Value, given
from cartalg.ops import KernelSet, pack
from cartalg.symbolic.irreps import Irrep, Irreps
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
        layers: Sequence[Irreps],
        channels: int,
        n_species: int,
        kernels: KernelSet,
        backend: str,
    ) -> None:
        from cartalg.symbolic.reducible import decompose

        super().__init__()
        self.formula, self.kernels, self.backend = formula, kernels, backend
        self.spec = kernels.holding(UnpackSpec(formula)).get(UnpackSpec(formula))
        self.parts = decompose(formula)
        self.irreps = Irreps(Irrep(*pair) for pair in self.parts.irreps)
        sources = [[n for n, irreps in enumerate(layers) if irrep in irreps.irreps] for irrep in self.irreps.irreps]
        self.weight = nn.ParameterList()
        for irrep, found in zip(self.irreps.irreps, sources, strict=True):
            if not found:
                kind = "polar" if irrep.natural else "axial: that needs parity full"
                raise ValueError(
                    f"tensors {formula} have a part of rank {irrep.l} ({kind}) that no layer's features have"
                )
            self.weight.append(nn.Parameter(torch.randn(len(found), channels)))
        norms = [math.sqrt(float(part.squared_norm)) for part in self.parts.parts]
        self.part_scale = [1 / (n * math.sqrt(channels)) for n in norms]  # parts of equal norm for unit features
        # of each layer that parts come from: the mixing to parts, and where the weights of each lie
        self.sources: list[tuple[int, Mixing, tuple[tuple[int, int], ...]]] = []
        for n, irreps in enumerate(layers):
            places = tuple((part, found.index(n)) for part, found in enumerate(sources) if n in found)
            pairs = [(irreps.irreps.index(self.irreps.irreps[part]), part) for part, _ in places]
            if pairs:
                self.sources.append((n, Mixing(kernels, irreps, self.irreps, 1, pairs), places))
        self.shift = nn.Parameter(torch.zeros(n_species, sum(irrep.l == 0 for irrep in self.irreps.irreps)))
        self.register_buffer("scale", torch.ones(()))

    def _matrices(self, *places: tuple[int, int]) -> Tensor:
        """Scaled weights, each of a part and the layer at a place among its layers."""
        return self.scale * torch.cat([self.part_scale[part] * self.weight[part][at][:, None] for part, at in places])

    def _shifts(self, species: Tensor) -> Tensor:
        """Packed shifts of each atom, [atoms, dimension, 1]: of its element for scalar parts."""
        start = [place.start for (_, irrep), place in zip(self.irreps, self.irreps.slices, strict=True) if irrep.l == 0]
        zeros = self.shift.new_zeros(len(species), self.irreps.dim)
        places = torch.tensor(start, dtype=torch.int64, device=zeros.device)
        return (self.scale * zeros.index_copy(1, places, self.shift[species.clone()]))[:, :, None]

    def forward(self, species: Tensor, features: Sequence[Value]) -> Value:
        """species [atoms], features of each layer [atoms, components, channels] -> [atoms, 3^n, 1], row-major."""
        packed: Any = given(features[0], partial(self._shifts, species))
        for n, mixing, places in self.sources:
            packed = mix(features[n], mixing, Made(self._matrices, places), packed)
        return unpack(self.kernels, self.backend, self.spec, packed)

    @torch.no_grad()
    def start_from(self, values: Tensor, atoms: Tensor) -> None:
        """Scale and shifts from reference tensors [n, 3, .., 3], each a sum over so many atoms [n].

        The shift of scalar parts is their mean for an atom, the scale the spread of what is left, for an atom.
        """
        packed = pack(values.double()[..., None].cpu(), self.formula, kernels=self.kernels)[..., 0]
        means = []
        for (_, irrep), place in zip(self.irreps, self.irreps.slices, strict=True):
            if irrep.l == 0:
                means.append(packed[:, place.start].sum() / atoms.sum())
                packed[:, place.start] -= means[-1] * atoms
        spread = (packed**2).mean() / atoms.double().mean()
        scale = max(math.sqrt(float(spread)), 1e-12)
        self.scale.fill_(scale)
        for n, mean in enumerate(means):
            self.shift[:, n] = mean / scale


def heads(
    config: ModelConfig, layers: Sequence[Irreps], n_species: int, kernels: KernelSet, backend: str
) -> nn.ModuleDict:
    """The heads that a configuration asks for, by name; arguments as in `TensorHead`."""
    return nn.ModuleDict(
        {p.name: TensorHead(p.tensor, layers, config.channels, n_species, kernels, backend) for p in config.properties}
    )
