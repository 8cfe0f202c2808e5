"""Mixing of channels and paths with matrices of each element's own: products of matrices, element by element."""

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from cartalg.nn.mixing import Mixing
from cartalg.nn.values import Call, Make, Operation, Recorder, Slot, Target, Value, run


def mix_of_elements(species: Tensor, x: Value | Make, mixing: Mixing, weight: Make) -> Value:
    """As `mix`, each atom by the matrices of its element.

    Args:
        species: Element of each atom, [atoms]; an engine's are replaced in place.
        x: [atoms, rows, channels].
        mixing: The blocks.
        weight: Makes the matrices, pair by pair those of all elements, one below the other:
            [sum of elements * paths * channels, result's channels].
    Returns:
        [atoms, components, channels].
    """
    return run(ElementMix(mixing, species), x, weight)


class ElementMix(Operation):
    """Inputs: x and weight."""

    def __init__(self, mixing: Mixing, species: Tensor) -> None:
        self.mixing, self.species = mixing, species
        self._known: tuple[int, _Groups] | None = None

    @property
    def groups(self) -> "_Groups":
        """Of the atoms as they are."""
        version = self.species._version
        if self._known is None or self._known[0] != version:
            self._known = version, _Groups(self.species)
        return self._known[1]

    def eager(self, *inputs: Tensor) -> Tensor:
        return self._mixed(*inputs)

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        return (int(inputs[0].shape[0]), self.mixing.outputs.dim, self.mixing.channels), inputs[0].dtype

    def reads(self, wanted: Sequence[bool]) -> Iterable[int]:
        return [1 - n for n in (0, 1) if wanted[n]]

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        yield lambda: out.copy_(self._mixed(*inputs))

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        if targets[1] is not None:
            yield partial(self._learn, [(inputs[0], g)], targets[1])
        if targets[0] is not None:
            yield partial(self._turn, g, inputs[1], targets[0])

    def tangent(
        self, plan: Recorder, out: Tensor, inputs: Sequence[Tensor], moves: Sequence[Tensor | None]
    ) -> Iterable[Call]:
        x = moves[0]
        assert x is not None  # weights have no moves
        yield lambda: out.copy_(self._mixed(x, inputs[1]))

    def second(
        self,
        plan: Recorder,
        slope: Tensor,
        g: Tensor,
        inputs: Sequence[Tensor],
        moves: Sequence[Tensor | None],
        targets: Sequence[Target | None],
    ) -> Iterable[Call]:
        yield from self.backward(plan, g, inputs, [targets[0], None])
        if targets[1] is not None:
            pairs = [(inputs[0], g)] + ([] if moves[0] is None else [(moves[0], slope)])
            yield partial(self._learn, pairs, targets[1])

    def _mixed(self, x: Tensor, weight: Tensor) -> Tensor:
        """The result, differentiable."""
        mixing, groups, out = self.mixing, self.groups, []
        for element, atoms in zip(groups.elements, groups.split(x), strict=True):
            parts, found = atoms.split(mixing.sizes, 1), dict[int, Tensor]()
            for (source, goal), matrix in zip(mixing.pairs, self.matrices(weight, x.shape[2]), strict=True):
                found[goal] = parts[source].reshape(len(atoms), -1, matrix.shape[1]) @ matrix[element]
            blocks = [
                found[n] if n in found else x.new_zeros(len(atoms), irrep.dim, mixing.channels)
                for n, irrep in enumerate(mixing.outputs.irreps)
            ]
            out.append(torch.cat(blocks, 1) if len(blocks) > 1 else blocks[0])
        return groups.joined(out) if out else x.new_zeros(self.shape(x)[0])

    def matrices(self, weight: Tensor, channels: int) -> list[Tensor]:
        """Of each pair those of all elements, [elements, rows, columns]."""
        depths = [self.mixing.inputs[source].mul * channels for source, _ in self.mixing.pairs]
        elements = len(weight) // sum(depths)
        return [
            part.view(elements, depth, -1)
            for part, depth in zip(weight.split([elements * d for d in depths]), depths, strict=True)
        ]

    def _turn(self, g: Tensor, weight: Tensor, target: Target) -> None:
        """The gradient to the input."""
        mixing, groups, into = self.mixing, self.groups, target.tensor
        matrices, out = self.matrices(weight, into.shape[2]), list[Tensor]()
        for element, atoms in zip(groups.elements, groups.split(g), strict=True):
            places, found = mixing.outputs.slices, atoms.new_zeros(len(atoms), *into.shape[1:])
            for (source, goal), matrix in zip(mixing.pairs, matrices, strict=True):
                rows = atoms[:, places[goal]] @ matrix[element].t()
                found[:, mixing.inputs.slices[source]] += rows.view(len(atoms), -1, into.shape[2])
            out.append(found)
        if out:
            into.add_(groups.joined(out)) if target.add else into.copy_(groups.joined(out))

    def _learn(self, pairs: Sequence[tuple[Tensor, Tensor]], target: Target) -> None:
        """The gradient to the weights: for each pair, the products of an input and a gradient to the result."""
        mixing, groups, into = self.mixing, self.groups, target.tensor
        if not target.add:
            into.zero_()
        for x, g in pairs:
            for element, atoms, of in zip(groups.elements, groups.split(x), groups.split(g), strict=True):
                parts, places = atoms.split(mixing.sizes, 1), mixing.outputs.slices
                for (source, goal), matrix in zip(mixing.pairs, self.matrices(into, x.shape[2]), strict=True):
                    rows = parts[source].reshape(-1, matrix.shape[1])
                    matrix[element].addmm_(rows.t(), of[:, places[goal]].reshape(len(rows), -1))


class _Groups:
    """Atoms of each element that there is."""

    def __init__(self, species: Tensor) -> None:
        self.order = species.argsort(stable=True)
        self.back = self.order.argsort()
        counts = species.bincount()
        self.elements = counts.nonzero()[:, 0].tolist()
        self.counts = counts[self.elements].tolist()

    def split(self, x: Tensor) -> list[Tensor]:
        """Rows [atoms, ..] of each element; `elements` says which."""
        return list(x.index_select(0, self.order).split(self.counts)) if self.counts else []

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Rows of all atoms, of those of each element."""
        return torch.cat([*parts]).index_select(0, self.back)
