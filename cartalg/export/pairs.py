"""Radial tables of every pair of elements that a model knows: an engine makes those of the pairs that it meets."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cartalg.data.graphs import Graph
from cartalg.model import Potential
from cartalg.nn.pairs import ElementPairs, PairTables


def with_every_pair(model: Potential) -> Potential:
    """The model with the same weights whose plans hold tables of all pairs; itself, if it has one table for all."""
    if model.pairs is None:
        return model
    twin = copy.copy(model)
    twin.pairs = _EveryPair(model.elements)
    return twin


class _EveryPair(ElementPairs):
    def of(self, graph: Graph) -> PairTables:
        return _EveryTable(self, graph)


class _EveryTable(PairTables):
    """Tables in the order of the upper triangle of pairs, whatever elements a graph has."""

    def __init__(self, pairs: ElementPairs, graph: Graph) -> None:
        count = len(pairs.radii)
        first, second = torch.triu_indices(count, count)
        self._radii = pairs.radii[first] + pairs.radii[second]
        numbers = torch.zeros(count, count, dtype=torch.int64)
        numbers[first, second] = numbers[second, first] = torch.arange(len(first))
        receiver, sender = (graph.species.index_select(0, side) for side in (graph.edges.receiver, graph.edges.sender))
        self.block = numbers.flatten().index_select(0, receiver * count + sender)

    def update(self) -> None:
        pass

    def kept(self, module: nn.Module, make: Callable[[], Tensor]) -> Tensor:
        return make()  # once

    @property
    def radii(self) -> Tensor:
        return self._radii
