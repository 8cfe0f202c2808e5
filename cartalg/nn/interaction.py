"""One message-passing layer: convolution over edges, mixing, product basis, residual."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cartalg.nn.linear import ChannelLinear, PathLinear
from cartalg.nn.radial import RadialWeights
from cartalg.ops import Edges, KernelSet, convolution, convolution_of_weights, product
from cartalg.symbolic.irreps import Irrep
from cartalg_codegen.specs import ConvolutionSpec, ProductSpec


class EdgeConvolution(nn.Module):
    """A = mix(sum over neighbours of w(r) C(h_j, T(n))): radial table, generated convolution, linear over paths.

    Args:
        kernels: The kernel set.
        spec: The kernel.
        channels: Channels of the features that are passed along edges.
        latent: Channels of the result, the input of the product basis.
        features: Irreps of the result.
        radial: Arguments for `RadialWeights` (cutoff, n_bessel, hidden, intervals).
        mean_neighbours: Average number of neighbours; messages are divided by its square root.
    Raises:
        KernelNotFound: If the kernel set has no such convolution.
    """

    def __init__(
        self,
        kernels: KernelSet,
        spec: ConvolutionSpec,
        channels: int,
        latent: int,
        features: tuple[Irrep, ...],
        radial: tuple[float, int, tuple[int, ...], int],
        mean_neighbours: float,
    ) -> None:
        super().__init__()
        self.kernels = kernels.holding(spec)
        self.spec = self.kernels.get(spec)
        self.scale = 1 / math.sqrt(max(mean_neighbours, 1.0))
        paths = self.spec.paths
        variances = [p.orthonormal_squared * p.edge.dim / p.edge_squared_norm for p in paths]
        scales = torch.tensor([math.sqrt(v) for v in variances], dtype=torch.float64)
        cutoff, n_bessel, hidden, intervals = radial
        self.radial = RadialWeights(cutoff, scales, channels, n_bessel, hidden, intervals)
        counts = {term.irrep: term.mul for term in self.spec.outputs}
        left = self.spec.left.irreps
        self.up = ChannelLinear(left, channels, channels, left)
        self.mix = PathLinear(counts, channels, latent, features)

    def forward(self, h: Tensor, edges: Edges, vectors: Tensor, backend: str, direct: bool) -> Tensor:
        """h [atoms, components, channels], vectors [edges, 3] in angstrom -> A [atoms, components, latent]."""
        x = self.up(h)
        if direct:
            weights = self.radial.direct(vectors.norm(dim=1))
            paths = convolution_of_weights(self.spec, edges, x, vectors, weights, kernels=self.kernels)
        else:
            table, step = self.radial.table(), self.radial.step
            paths = convolution(self.spec, edges, x, vectors, table, step, backend=backend, kernels=self.kernels)
        return self.mix(paths, self.scale)


class ProductBasis(nn.Module):
    """Many-body features: the generated product basis with a weight for each coupling and channel.

    Args:
        kernels: The kernel set.
        spec: The kernel.
        n_species: Number of elements with weights of their own; 1 if all share them.
        latent, channels: Channels of the input, and of the result after a linear map.
    Raises:
        KernelNotFound: If the kernel set has no such product.
    """

    weight_scale: Tensor

    def __init__(self, kernels: KernelSet, spec: ProductSpec, n_species: int, latent: int, channels: int) -> None:
        super().__init__()
        self.kernels = kernels.holding(spec)
        self.spec = self.kernels.get(spec)
        self.features, self.outputs = self.spec.feature_irreps.irreps, self.spec.output_irreps.irreps
        listed = self.spec.weights
        alike = [sum((v.order, v.out) == (w.order, w.out) for v in listed) for w in listed]
        scales = [math.sqrt(w.orthonormal_squared / n) for w, n in zip(listed, alike, strict=True)]
        self.weight = nn.Parameter(torch.randn(n_species, len(listed), latent))
        self.register_buffer("weight_scale", torch.tensor(scales, dtype=torch.float64), persistent=False)
        self.linear = ChannelLinear(self.outputs, latent, channels, self.outputs)

    def of(self, species: Tensor) -> Tensor:
        """The row of weights of each atom: its element's, or the one that all share."""
        return species if len(self.weight) > 1 else torch.zeros_like(species)

    def forward(self, species: Tensor, a: Tensor, backend: str) -> Tensor:
        """species [atoms], a [atoms, components, latent] -> [atoms, output components, channels]."""
        species = self.of(species)
        weights = self.weight * self.weight_scale[:, None]
        return self.linear(product(self.spec, species, a, weights, backend=backend, kernels=self.kernels))


class Residual(nn.Module):
    """Linear map of the layer's input to its output irreps, with a scale for each element and channel."""

    def __init__(self, irreps: tuple[Irrep, ...], outputs: tuple[Irrep, ...], n_species: int, channels: int) -> None:
        super().__init__()
        self.linear = ChannelLinear(irreps, channels, channels, outputs)
        self.element_scale = nn.Parameter(torch.ones(n_species, 1, channels))

    def forward(self, species: Tensor, h: Tensor) -> Tensor:
        """species [atoms], h [atoms, components, channels] -> [atoms, output components, channels]."""
        return self.linear(h) * self.element_scale[species]


class Interaction(nn.Module):
    """h -> after(product(convolution(h)) + residual(h)), where `after` are a norm and a gate, if there are any."""

    def __init__(
        self, convolution: EdgeConvolution, product: ProductBasis, residual: Residual, after: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.convolution, self.product, self.residual = convolution, product, residual
        self.after = nn.ModuleList(after)

    def forward(self, species: Tensor, h: Tensor, edges: Edges, vectors: Tensor, backend: str, direct: bool) -> Tensor:
        """One layer; shapes as in `EdgeConvolution` and `ProductBasis`."""
        a = self.convolution(h, edges, vectors, backend, direct)
        out = self.product(species, a, backend) + self.residual(species, h)
        for module in self.after:
            out = module(out)
        return out
