"""Readouts: from the invariant features of each layer to the energy of each atom."""

import math
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from cartalg.nn.mixing import Mixing, mix
from cartalg.nn.operations import give, scalars
from cartalg.nn.pointwise import silu
from cartalg.nn.values import Call, Made, Operation, Recorder, Scaled, Slot, Target, Value, run
from cartalg.ops import KernelSet
from cartalg.symbolic.irreps import Irreps

SCALAR = Irreps("0e")


class LinearReadouts(nn.Module):
    """A linear readout of the scalars of each of the first layers, and their sum."""

    def __init__(self, kernels: KernelSet) -> None:
        super().__init__()
        self.kernels = kernels
        self.mixings: list[Mixing] = []

    def append(self, channels: int) -> None:
        """The readout of one layer more, with so many channels."""
        self.register_parameter(str(len(self.mixings)), nn.Parameter(torch.randn(channels)))
        self.mixings.append(Mixing(self.kernels, SCALAR, SCALAR, 1))

    def forward(self, features: Sequence[Value], total: Value | None) -> Value:
        """Features of each layer [atoms, components, channels], added to total [atoms, 1]; one of the two is there."""
        for n, mixing in enumerate(self.mixings):
            weight = self.get_parameter(str(n))
            total = mix(scalars(features[n]), mixing, Scaled((weight,), (1 / math.sqrt(len(weight)),), 1), total)
        assert total is not None
        return total


class LastReadout(nn.Sequential):
    """A readout of scalars with one hidden layer.

    Args:
        kernels: A kernel set.
        channels, hidden: Channels, and width of the hidden layer.
        bias: Whether both layers have biases.
    """

    def __init__(self, kernels: KernelSet, channels: int, hidden: int, bias: bool = True) -> None:
        super().__init__(nn.Linear(channels, hidden, bias), nn.SiLU(), nn.Linear(hidden, 1, bias))
        self.bias = bias
        self.mixings = [Mixing(kernels, SCALAR, SCALAR, width) for width in (hidden, 1)]

    def _weight(self, n: int) -> Tensor:
        return self.get_parameter(f"{2 * n}.weight").t()

    def _bias(self, n: int) -> Tensor:
        return self.get_parameter(f"{2 * n}.bias")

    def _linear(self, n: int, x: Value) -> Value:
        return mix(x, self.mixings[n], Made(self._weight, (n,)), Made(self._bias, (n,)) if self.bias else None)

    def forward(self, h: Value) -> Value:
        """h [atoms, components, channels] -> [atoms, 1]."""
        return self._linear(1, silu(self._linear(0, scalars(h))))


def atomic_energies(network: Value, scale: float, shifts: Value, *terms: Value) -> Value:
    """Energy of each atom in eV, float64 [atoms]: scale times the network's [atoms, 1], shifts, terms [atoms, ..]."""
    return run(_AtomicEnergies(scale), network, shifts, *terms)


class _AtomicEnergies(Operation):
    linear = True

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def eager(self, *inputs: Tensor) -> Tensor:
        network, *terms = inputs
        total = self.scale * network[:, 0].double()
        for term in terms:
            total = total + term.flatten()
        return total

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return inputs[1].shape, inputs[1].dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        network, *terms = inputs
        yield partial(out.copy_, network[:, 0])
        yield partial(out.mul_, self.scale)
        for term in terms:
            yield partial(out.add_, term.view(-1))

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if targets[0] is not None:
            into, add = targets[0][0][:, 0], targets[0].add
            yield partial(into.add_, g, alpha=self.scale) if add else partial(torch.mul, g, self.scale, out=into)
        for target in targets[1:]:
            yield from give(g if target is None else g.view(target.tensor.shape), target)
