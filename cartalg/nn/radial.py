r"""Radial weights: a small network of the distance, tabulated as a cubic spline once a step.

The weights of an edge depend on its length alone, or on that and its two elements, so the network is evaluated on a few
hundred knots and interpolated inside the convolution kernel. The spline *is* the model's radial function: forces are
its exact derivatives, and its cost does not grow with the number of edges. Source: docs/theory.md, eqs. 37, 44-46, 66.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cartalg.nn.bases import RadialFunctions
from cartalg.nn.kernels import edge_sums
from cartalg.nn.pairs import PairTables
from cartalg.nn.pointwise import pointwise
from cartalg.nn.recorded import recorded
from cartalg.nn.values import Made, Make, Value, given
from cartalg.ops import Edges, KernelSet
from cartalg_codegen.specs import ConvolutionSpec

#: Keeps the variance of silu(x) at one for unit-variance x.
GAIN = 1.679


class RadialWeights(nn.Module):
    """Network r -> w[path, channel], as spline tables or evaluated directly.

    Args:
        functions: What the network reads.
        path_scale: Exact normalisation of each path, shape [paths].
        channels: Channels of each path.
        hidden: Widths of the hidden layers.
    """

    path_scale: Tensor

    def __init__(self, functions: RadialFunctions, path_scale: Tensor, channels: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.functions, self.channels = functions, channels
        widths = (functions.count, *hidden)
        self.layers = nn.ParameterList([nn.Parameter(torch.randn(a, b)) for a, b in zip(widths, hidden, strict=False)])
        self.last = nn.Parameter(torch.randn(widths[-1], len(path_scale), channels))
        self.register_buffer("path_scale", path_scale.double(), persistent=False)

    @staticmethod
    def _hidden(h: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """The last hidden layer, before its gain."""
        for n, weight in enumerate(layers):
            h = nn.functional.silu(h @ (weight * ((GAIN if n else 1) / math.sqrt(weight.shape[0]))))
        return h

    def _mix(self, features: Tensor, last: Tensor) -> Tensor:
        weight = last * (self.path_scale * (GAIN / math.sqrt(last.shape[0])))[:, None]
        return (features @ weight.flatten(1)).unflatten(-1, weight.shape[1:])

    def table(self, pairs: PairTables | None = None) -> Tensor:
        """B-spline coefficients of the weights, shape [tables x (intervals + 3), paths, channels].

        Args:
            pairs: Which pairs of elements have a table each; None if there is one for all.
        """
        last, layers = _precise(self.last), [_precise(layer) for layer in self.layers]
        functions = self.functions.tabulated(pairs.radii if pairs else None).to(last)
        return self._mix(self.functions.splines(self._hidden(functions, layers)), last).to(self.last.dtype)

    def direct(self, r: Tensor, *parameters: Tensor, radii: Tensor | None = None) -> Tensor:
        """Weights at distances r [edges] without the table: the reference mode. Shape [edges, paths, channels].

        Args:
            r: In angstrom.
            parameters: In place of the module's, in their order.
            radii: Sum of the covalent radii of each edge's atoms, [edges], for a transform of distances.
        """
        last, *layers = parameters or self.parameters()
        functions, factor = self.functions(r, radii)
        return self._mix(self._hidden(functions, layers) * factor, last)


def _precise(weight: Tensor) -> Tensor:
    """A weight as a table is made of it: in double precision where no gradient is asked for.

    Coefficients that single precision has summed up are off by several of its digits, and the slope of a spline
    magnifies that by the number of knots in an angstrom.
    """
    return weight if torch.is_grad_enabled() else weight.double()


def tables_of(module: "RadialWeights | Density", vectors: Value, pairs: PairTables | None) -> Value | Make:
    """A module's tables for use beside vectors: made of parameters alone, or of the pairs that a graph has, too."""
    return module.table if pairs is None else given(vectors, Made(_of_pairs, (module, pairs)))


def _of_pairs(module: "RadialWeights | Density", pairs: PairTables) -> Tensor:
    return pairs.kept(module, partial(module.table, pairs))


class Density(nn.Module):
    """1 + the sum over neighbours of tanh(f(r)^2), f linear in the radial functions: what messages are divided by.

    Args:
        functions: The radial functions.
        kernels: The kernel set.
        backend, direct: As in `EdgeConvolution`.
    Raises:
        KernelNotFound: If the kernel set has no sum of numbers over edges.
    Source: mace-torch 0.3.16, `RealAgnosticDensityInteractionBlock`; docs/theory.md, eq. 66.
    """

    def __init__(self, functions: RadialFunctions, kernels: KernelSet, backend: str, direct: bool) -> None:
        super().__init__()
        self.spec, self.backend, self.direct = ConvolutionSpec("natural", 0, 0), backend, direct
        self.functions, self.kernels = functions, kernels.holding(self.spec)
        self.weight = nn.Parameter(torch.randn(functions.count, 1))

    @staticmethod
    def _bounded(functions: Tensor, weight: Tensor) -> Tensor:
        return torch.tanh((functions @ (weight / math.sqrt(len(weight)))) ** 2)

    def table(self, pairs: PairTables | None = None) -> Tensor:
        """B-spline coefficients, shape [tables x (intervals + 3), 1, 1]."""
        weight = _precise(self.weight)
        values = self._bounded(self.functions.tabulated(pairs.radii if pairs else None).to(weight), weight)
        return self.functions.splines(values)[:, :, None].to(self.weight.dtype)

    def _directly(self, edges: Edges, pairs: PairTables | None, vectors: Tensor, weight: Tensor) -> Tensor:
        functions, factor = self.functions(vectors.norm(dim=1), pairs.of_edges if pairs else None)
        values = self._bounded(functions, weight) * factor
        return values.new_zeros(edges.receivers, 1).index_add(0, edges.receiver, values)[:, :, None]

    def forward(self, edges: Edges, vectors: Value, pairs: PairTables | None = None) -> Value:
        """One over it, for vectors [edges, 3] in angstrom: [receivers, 1, 1]."""
        density: Any
        if self.direct:
            density = recorded(partial(self._directly, edges, pairs), vectors, Made(self.get_parameter, ("weight",)))
        else:
            step, intervals, table = self.functions.step, self.functions.intervals, tables_of(self, vectors, pairs)
            density = edge_sums(self.kernels, self.backend, self.spec, edges, vectors, table, step, intervals, pairs)
        return pointwise(density, lambda d: 1 / (1 + d), lambda d: -((1 + d) ** -2), lambda d: 2 * (1 + d) ** -3)
