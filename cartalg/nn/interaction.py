"""One message-passing layer: convolution over edges, mixing, product basis, residual."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from cartalg.architecture import ModelConfig
from cartalg.nn.bases import RadialFunctions
from cartalg.nn.exchange import spread
from cartalg.nn.kernels import convolution, product
from cartalg.nn.linear import ChannelLinear, PathLinear
from cartalg.nn.nonlinear import between_layers
from cartalg.nn.operations import times
from cartalg.nn.pairs import PairTables
from cartalg.nn.radial import Density, RadialWeights, tables_of
from cartalg.nn.recorded import recorded
from cartalg.nn.values import Value, given
from cartalg.ops import Edges, KernelSet, convolution_of_weights
from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.specs import EdgeSumSpec, ProductSpec


class EdgeConvolution(nn.Module):
    """A = mix(sum over neighbours of w(r) C(h_j, T(n))): radial table, generated convolution, linear over paths.

    Where the convolution adds the paths of an output, the linear map is over its channels.

    Args:
        kernels: The kernel set.
        backend: As in `Potential`.
        spec: The kernel.
        channels: Channels of the features that are passed along edges.
        latent: Channels of the result, the input of the product basis.
        features: Irreps of the result.
        config: Radial functions.
        mean_neighbours: Average number of neighbours; messages are divided by its square root, if by no density.
        core: Where radial functions are held, in angstrom: `cartalg.nn.bases.held`.
        elements: Number of elements with matrices of their own over paths; None if all share them.
    Raises:
        KernelNotFound: If the kernel set has no such convolution.
    """

    def __init__(
        self,
        kernels: KernelSet,
        backend: str,
        spec: EdgeSumSpec,
        channels: int,
        latent: int,
        features: Irreps,
        config: ModelConfig,
        mean_neighbours: float,
        core: float = 0.0,
        elements: int | None = None,
    ) -> None:
        super().__init__()
        self.kernels, self.backend = kernels.holding(spec), backend
        self.spec = self.kernels.get(spec)
        self.own = elements is not None
        self.direct = config.radial_mode == "direct"
        scales = torch.tensor([math.sqrt(v) for v in self.spec.variances], dtype=torch.float64)
        functions = RadialFunctions(config, core)
        self.radial = RadialWeights(functions, scales, channels, config.radial_hidden)
        self.density = Density(functions, kernels, backend, self.direct) if config.density else None
        left, paths = self.spec.left, self.spec.outputs
        self.up = ChannelLinear(kernels, left, channels, channels, left)
        scale = 1.0 if config.density else 1 / math.sqrt(max(mean_neighbours, 1.0))
        self.mix = PathLinear(kernels, paths, channels, latent, features, scale, elements)

    def forward(
        self, species: Tensor, h: Value | Tensor, edges: Edges, vectors: Value, pairs: PairTables | None = None
    ) -> Value:
        """species and h [receivers, components, channels], vectors [edges, 3] in angstrom -> A [.., latent].

        `pairs` say which radial table an edge reads where there is one for each pair of elements.
        """
        x = spread(self.up(h), edges)
        if self.direct:
            sums = recorded(partial(self._directly, edges, pairs), x, vectors, *self.radial.parameters())
        else:
            step, intervals = self.radial.functions.step, self.radial.functions.intervals
            table = tables_of(self.radial, vectors, pairs)
            sums = convolution(self.kernels, self.backend, self.spec, edges, x, vectors, table, step, intervals, pairs)
        a = self.mix.of_elements(species, sums) if self.own else self.mix(sums)
        return a if self.density is None else times(a, self.density(edges, vectors, pairs))

    def _directly(
        self, edges: Edges, pairs: PairTables | None, x: Tensor, vectors: Tensor, *parameters: Tensor
    ) -> Tensor:
        """The convolution with radial weights computed for each edge: the reference, for Torch alone."""
        weights = self.radial.direct(vectors.norm(dim=1), *parameters, radii=pairs.of_edges if pairs else None)
        return convolution_of_weights(self.spec, edges, x, vectors, weights, kernels=self.kernels)


class ProductBasis(nn.Module):
    """Many-body features: the generated product basis with a weight for each coupling and channel.

    Args:
        kernels: The kernel set.
        backend: As in `Potential`.
        spec: The kernel.
        n_species: Number of elements with weights of their own; 1 if all share them.
        latent, channels: Channels of the input, and of the result after a linear map.
    Raises:
        KernelNotFound: If the kernel set has no such product.
    """

    weight_scale: Tensor

    def __init__(
        self, kernels: KernelSet, backend: str, spec: ProductSpec, n_species: int, latent: int, channels: int
    ) -> None:
        super().__init__()
        self.kernels, self.backend = kernels.holding(spec), backend
        self.spec = self.kernels.get(spec)
        self.features, self.outputs = self.spec.feature_irreps, self.spec.output_irreps
        listed = self.spec.weights
        alike = [sum((v.order, v.out) == (w.order, w.out) for v in listed) for w in listed]
        scales = [math.sqrt(w.orthonormal_squared / n) for w, n in zip(listed, alike, strict=True)]
        self.weight = nn.Parameter(torch.randn(n_species, len(listed), latent))
        self.register_buffer("weight_scale", torch.tensor(scales, dtype=torch.float64), persistent=False)
        self.linear = ChannelLinear(kernels, self.outputs, latent, channels, self.outputs)

    def weights(self) -> Tensor:
        """Scaled weights [elements, couplings, latent]."""
        return self.weight * self.weight_scale[:, None]

    def forward(self, species: Tensor, a: Value, plus: Value | None) -> Value:
        """species [atoms], a [atoms, components, latent] -> [atoms, output components, channels], `plus` added."""
        rows = species if len(self.weight) > 1 else torch.zeros_like(species)  # of weights: of the element, or the only
        return self.linear(product(self.kernels, self.backend, self.spec, rows, a, self.weights), plus)


class ElementResidual(nn.Module):
    """Linear map of the layer's input to its output irreps, with matrices of each element's own."""

    def __init__(self, kernels: KernelSet, irreps: Irreps, outputs: Irreps, n_species: int, channels: int) -> None:
        super().__init__()
        self.linear = ChannelLinear(kernels, irreps, channels, channels, outputs, n_species)

    def forward(self, species: Tensor, h: Value) -> Value:
        """species [atoms], h [atoms, components, channels] -> [atoms, output components, channels]."""
        return self.linear.of_elements(species, h)


class Residual(nn.Module):
    """Linear map of the layer's input to its output irreps, with a scale for each element and channel."""

    def __init__(self, kernels: KernelSet, irreps: Irreps, outputs: Irreps, n_species: int, channels: int) -> None:
        super().__init__()
        self.linear = ChannelLinear(kernels, irreps, channels, channels, outputs)
        self.element_scale = nn.Parameter(torch.ones(n_species, 1, channels))

    def forward(self, species: Tensor, h: Value) -> Value:
        """species [atoms], h [atoms, components, channels] -> [atoms, output components, channels]."""
        scale = given(h, lambda: self.element_scale.index_select(0, species.clone()))
        return times(self.linear(h), scale)


class Interaction(nn.Module):
    """h -> after(product(convolution(h)) + residual(h)), if there is a residual; `after` are a norm and a gate, too."""

    def __init__(
        self,
        convolution: EdgeConvolution,
        product: ProductBasis,
        residual: nn.Module | None,
        after: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.convolution, self.product, self.residual = convolution, product, residual
        self.after = nn.ModuleList(after)

    @property
    def outputs(self) -> Irreps:
        """Irreps of the result."""
        return self.product.outputs

    def forward(
        self, species: Tensor, h: Value, edges: Edges, vectors: Value, pairs: PairTables | None = None
    ) -> Value:
        """One layer; shapes as in `EdgeConvolution` and `ProductBasis`."""
        a = self.convolution(species, h, edges, vectors, pairs)
        out = self.product(species, a, self.residual(species, h) if self.residual is not None else None)
        for module in self.after:
            out = module(out)
        return out


def interaction(
    config: ModelConfig,
    layer: int,
    incoming: Irreps,
    n_species: int,
    kernels: KernelSet,
    backend: str,
    mean_neighbours: float,
    core: float = 0.0,
) -> Interaction:
    """A layer of a potential.

    Args:
        config: The architecture.
        layer: Number of the layer, from 0.
        incoming: Irreps of its input.
        n_species: Number of elements.
        kernels, backend, mean_neighbours, core: As in `EdgeConvolution`.
    Raises:
        KernelNotFound: If the kernel set lacks a kernel that the architecture needs.
    """
    channels = config.channels
    latent = config.latent_channels or channels
    convolution_spec, product_spec = config.kernel_specs()[layer]
    features = product_spec.feature_irreps
    own = n_species if config.element_weights else 1
    product = ProductBasis(kernels, backend, product_spec, own, latent, channels)
    convolution = EdgeConvolution(
        kernels,
        backend,
        convolution_spec,
        channels,
        latent,
        features,
        config,
        mean_neighbours,
        core,
        n_species if layer < config.element_messages else None,
    )
    last = layer == config.layers - 1
    after = [] if last else between_layers(config, product.outputs, channels, kernels, backend)
    residual = None
    if layer >= config.element_messages:
        of_layer = ElementResidual if config.residual == "matrices" else Residual
        residual = of_layer(kernels, incoming, product.outputs, n_species, channels)
    return Interaction(convolution, product, residual, after)
