"""Energy and forces without a framework: the potential as a list of calls of compiled kernels.

The calls are bound once to the buffers of one graph. A step fills in the edge vectors and runs the list: forward, then
backward by hand, kernel by kernel. Nothing is allocated, nothing is recorded, no operator is dispatched; a molecule of
a few atoms costs what its arithmetic costs. Weights are prepared when they change: radial tables, scales folded in.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from cartalg.data.graphs import Graph
from cartalg.nn.interaction import Interaction
from cartalg.nn.linear import ChannelLinear, PathLinear, block_slices, key
from cartalg.ops import KernelSet, bind
from cartalg.ops.autograd import thread_count
from cartalg_codegen.specs import ConvolutionSpec, LinearSpec, ProductSpec

Call = Callable[[], object]


@dataclass(frozen=True)
class _Mix:
    """A channel mixing as the `linear` kernel takes it, and its transpose."""

    weight: Tensor
    transposed: Tensor
    layout: Tensor
    back: Tensor


def _mix(blocks: Sequence[tuple[int, int, int, Tensor, int]], rows_in: int, rows_out: int) -> _Mix:
    """From (components, first input row, input rows a component, weight [depth, channels], first output row)."""
    forward, back, weights, turned = [], [], [], []
    at = back_at = 0
    for size, x_row, step, weight, out_row in blocks:
        depth, width = weight.shape
        channels = depth // step
        forward.append([size, x_row * channels, step * channels, depth, at, out_row, rows_out, 0])
        weights.append(weight)
        at += depth
        for path in range(step):  # the gradient to each path is a mixing of its own, with rows `step` apart
            part = weight[path * channels : (path + 1) * channels].T
            for component in range(size):
                row = x_row + component * step + path
                back.append([1, (out_row + component) * width, width, width, back_at, row, rows_in, 0])
            turned.append(part)
            back_at += width
    as_layout = lambda lines: torch.tensor(lines, dtype=torch.int64).reshape(-1, 8)  # noqa: E731
    return _Mix(torch.cat(weights).contiguous(), torch.cat(turned).contiguous(), as_layout(forward), as_layout(back))


def _channel_mix(linear: ChannelLinear) -> _Mix:
    """Weights of a `ChannelLinear`, with its scale."""
    start, blocks, rows_out = block_slices(linear.outputs), [], sum(2 * rank + 1 for rank, _ in linear.outputs)
    for irrep in linear.outputs:
        if key(irrep) in linear.weight:
            weight = linear.weight[key(irrep)].detach() * linear.scale
            blocks.append((2 * irrep[0] + 1, linear.slices[irrep].start, 1, weight, start[irrep].start))
    return _mix(blocks, max(s.stop for s in linear.slices.values()), rows_out)


def _path_mix(linear: PathLinear, scale: float) -> _Mix:
    """Weights of a `PathLinear`, with its scale."""
    start, blocks, rows_out = block_slices(linear.outputs), [], sum(2 * rank + 1 for rank, _ in linear.outputs)
    for irrep, count in linear.counts.items():
        weight = linear.weight[key(irrep)].detach() * (scale / math.sqrt(count * linear.channels))
        blocks.append((2 * irrep[0] + 1, linear.starts[irrep], count, weight, start[irrep].start))
    return _mix(blocks, sum(n * (2 * i[0] + 1) for i, n in linear.counts.items()), rows_out)


class _Layer:
    """Prepared weights of one interaction."""

    def __init__(self, interaction: Interaction, readout: Tensor) -> None:
        convolution, product, residual = interaction.convolution, interaction.product, interaction.residual
        self.convolution, self.product = convolution.spec, product.spec
        self.step = convolution.radial.step
        self.table = convolution.radial.table().detach().contiguous()
        self.up = _channel_mix(convolution.up)
        self.mix = _path_mix(convolution.mix, convolution.scale)
        self.weights = (product.weight * product.weight_scale[:, None]).detach().to(self.table.dtype).contiguous()
        self.linear, self.residual = _channel_mix(product.linear), _channel_mix(residual.linear)
        self.element_scale = residual.element_scale.detach()
        self.readout = readout.detach() / math.sqrt(len(readout))
        self.left = sum(2 * rank + 1 for rank, _ in residual.linear.slices)
        self.rows = sum(n * (2 * i[0] + 1) for i, n in convolution.mix.counts.items())
        self.features = sum(2 * rank + 1 for rank, _ in product.features)
        self.latent, self.of = product.weight.shape[2], product.of
        self.outputs = sum(2 * rank + 1 for rank, _ in product.outputs)


class Engine:
    """Energy of each atom and its gradient to the edge vectors, for one state of a model's parameters.

    Args:
        kernels: The kernel set.
        embedding: Shape [elements, channels].
        layers: Interaction and readout of each layer.
        last_readout: Linear, SiLU, linear.
    """

    @torch.no_grad()
    def __init__(
        self,
        kernels: KernelSet,
        embedding: Tensor,
        layers: Sequence[tuple[Interaction, Tensor]],
        last_readout: nn.Sequential,
    ) -> None:
        self.kernels = kernels
        self.embedding = embedding.detach()
        self.layers = [_Layer(interaction, readout) for interaction, readout in layers]
        hidden, last = last_readout[0], last_readout[-1]
        assert isinstance(hidden, nn.Linear)
        assert isinstance(last, nn.Linear)
        self.hidden, self.last = hidden, last
        self.graph: Graph | None = None
        self.threads = 0

    def _linear(self, mix: _Mix, x: Tensor, out: Tensor, back: bool = False, add: bool = False) -> Call:
        """out = x mixed, or the gradient of that."""
        atoms = len(out)
        weight, layout = (mix.transposed, mix.back) if back else (mix.weight, mix.layout)
        layout = layout.clone()
        layout[:, -1] = int(add)
        tensors = {
            "x": x.view(atoms, x.shape[1] * x.shape[2]),
            "weight": weight,
            "out": out,
        }
        return bind(self.kernels, LinearSpec(), "forward", {"layout": layout}, tensors, self.threads)

    def _prepare(self, graph: Graph) -> None:
        """Buffers and calls for a graph of this size and order."""
        edges, species, new = graph.edges, graph.species, self.embedding.new_empty
        atoms, channels = len(species), self.embedding.shape[1]
        self.threads = thread_count(atoms)
        self.vectors, self.d_vectors = new(graph.vectors.shape), [new(graph.vectors.shape) for _ in self.layers]
        self._index = edges.index
        largest = (max(k.rows for k in self.layers) * channels, max(k.features * k.latent for k in self.layers))
        self._shared = [new(atoms * n) for n in largest]
        self.forward_calls: list[Call] = []
        self.states: list[tuple[Tensor, Tensor]] = []
        backward: list[list[Call]] = []
        h, g_h = self.embedding[species][:, None, :].contiguous(), None
        for n, layer in enumerate(self.layers):
            h, g_h, calls = self._bind(layer, n, species, h, g_h)
            self.states.append((h, g_h))
            backward.append(calls)
        self.backward_calls = [call for calls in reversed(backward) for call in calls]
        self.graph = graph

    def _bind(
        self, layer: _Layer, n: int, species: Tensor, h: Tensor, g_h: Tensor | None
    ) -> tuple[Tensor, Tensor, list[Call]]:
        """Bind one layer after another: its features, the buffer for their gradient, and its backward calls."""
        atoms, _, channels = h.shape
        latent = layer.latent
        zeros = lambda rows, width=channels: h.new_zeros(atoms, rows, width)  # noqa: E731
        x, a, b, out = (
            zeros(layer.left),
            zeros(layer.features, latent),
            zeros(layer.outputs, latent),
            zeros(layer.outputs),
        )
        g_out, g_b = zeros(layer.outputs), zeros(layer.outputs, latent)
        rows, d_a = (
            buffer[: atoms * n * width].view(atoms, n, width)  # between a kernel and the next: one for all layers
            for buffer, n, width in zip(self._shared, (layer.rows, layer.features), (channels, latent), strict=True)
        )
        weights_of = layer.of(species)
        scale, residual, scaled = layer.element_scale[species], zeros(layer.outputs), zeros(layer.outputs)
        convolved = {"x": x, "vectors": self.vectors, "table": layer.table}
        multiplied = {"a": a, "w": layer.weights}

        def kernel(spec: ConvolutionSpec | ProductSpec, stage: str, **tensors: Tensor) -> Call:
            product = isinstance(spec, ProductSpec)
            index = {"species": weights_of} if product else {"step": layer.step, **self._index}
            reads = multiplied if product else convolved
            return bind(self.kernels, spec, stage, index, {**reads, **tensors}, self.threads)

        of_input: list[Call] = [
            self._linear(layer.up, h, x),
            self._linear(layer.residual, h, residual),
            partial(torch.mul, residual, scale, out=scaled),
        ]
        if n == 0:  # the first layer's input is the elements: its part is done once
            for call in of_input:
                call()
            of_input = []
        self.forward_calls += [
            *of_input,
            kernel(layer.convolution, "forward", out=rows),
            self._linear(layer.mix, rows, a),
            kernel(layer.product, "forward", out=b),
            partial(out.copy_, scaled),
            self._linear(layer.linear, b, out, add=True),
        ]
        d_x, scaled_g = torch.empty_like(x), torch.empty_like(out)
        backward = [
            self._linear(layer.linear, g_out, g_b, back=True),
            kernel(layer.product, "backward", g=g_b, d_a=d_a),
            self._linear(layer.mix, d_a, rows, back=True),
            kernel(layer.convolution, "backward", g=rows, d_x=d_x, d_vectors=self.d_vectors[n]),
        ]
        if g_h is not None:
            backward += [
                self._linear(layer.up, d_x, g_h, back=True, add=True),
                partial(torch.mul, g_out, scale, out=scaled_g),
                self._linear(layer.residual, scaled_g, g_h, back=True, add=True),
            ]
        return out, g_out, backward

    @torch.no_grad()
    def __call__(self, graph: Graph, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
        """Network energy of each atom [atoms], and its gradient to the edge vectors [edges, 3].

        The gradient lies in a buffer that the next call overwrites.
        """
        known, threads = self.graph, thread_count(len(graph.species))
        same = known is not None and known.edges is graph.edges and known.species is graph.species
        if not same or threads != self.threads:
            self._prepare(graph)
        self.vectors.copy_(graph.vectors)
        for call in self.forward_calls:
            call()
        scalars = self.states[-1][0][:, 0]
        inner = nn.functional.linear(scalars, self.hidden.weight, self.hidden.bias)
        sigmoid = torch.sigmoid(inner)
        energy = nn.functional.linear(inner * sigmoid, self.last.weight, self.last.bias)[:, 0]
        for (out, _), layer in zip(self.states, self.layers, strict=True):
            energy.addmv_(out[:, 0], layer.readout)
        if not gradient:
            return energy, None
        slope = sigmoid * (1 + inner * (1 - sigmoid)) * self.last.weight
        for (_, g_out), layer in zip(self.states, self.layers, strict=True):
            g_out.zero_()
            g_out[:, 0] = layer.readout
        self.states[-1][1][:, 0].addmm_(slope, self.hidden.weight)
        for call in self.backward_calls:
            call()
        total = self.d_vectors[0]
        for part in self.d_vectors[1:]:
            total += part
        return energy, total


class Watch:
    """Tells whether any parameter of a module has changed since the last look, in place or replaced."""

    def __init__(self, module: nn.Module) -> None:
        self._places = [m._parameters for m in module.modules() if m._parameters]
        self._state: list[tuple[int, int]] = []

    def changed(self) -> bool:
        """True at the first look, and after a change."""
        state = [(p.data_ptr(), p._version) for place in self._places for p in place.values() if p is not None]
        same, self._state = state == self._state, state
        return not same
