"""Pairs of elements with radial functions of their own: which of them a graph has, and which pair each edge is."""

from collections.abc import Callable, Sequence

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from cartalg.data.graphs import Graph
from cartalg.ops import Edges


class ElementPairs:
    """Pairs of the elements that a model knows.

    Args:
        elements: Chemical symbols.
    """

    def __init__(self, elements: Sequence[str]) -> None:
        self.radii = torch.tensor([covalent_radii[atomic_numbers[e]] for e in elements], dtype=torch.float64)

    def present(self, graph: Graph) -> Tensor:
        """Which pairs the atoms of a frame make, in any of a graph's frames, bool [elements, elements]."""
        frames = graph.species.new_zeros(len(graph.species))  # copies of atoms are of the only one
        frames[: len(graph.frame)] = graph.frame
        count = int(frames.max()) + 1 if len(frames) else 1
        found = torch.zeros(count, len(self.radii), device=frames.device)
        found[frames, graph.species] = 1
        return found.T @ found > 0

    def room(self, graph: Graph) -> int:
        """Number of tables that a graph needs, rounded up: those of about as many pairs are of one size."""
        count = max(int(self.present(graph).triu().sum()), 1)
        step = 1 << max(count.bit_length() - 4, 0)
        return -(-count // step) * step

    def of(self, graph: Graph) -> "PairTables":
        """The tables of a graph."""
        return PairTables(self, graph)


class PairTables:
    """A table for each pair of elements that a graph has, in either order.

    The graph may be one with room whose atoms and edges are replaced in place: `update` follows.

    Attributes:
        block: The table of each edge, int64 [edges].
    """

    def __init__(self, pairs: ElementPairs, graph: Graph) -> None:
        self._pairs, self._graph = pairs, graph
        self.block = torch.zeros_like(graph.edges.sender)
        self._of_elements = pairs.radii.to(graph.species.device)
        self._radii = self._of_elements.new_zeros(pairs.room(graph))
        self._known: tuple[int, ...] | None = None
        self._made: dict[nn.Module, tuple[list[tuple[int, int]], Tensor]] = {}
        self.update()

    def update(self) -> None:
        """Follow changes of the graph."""
        graph, edges = self._graph, self._graph.edges
        known = _state(graph.species, graph.frame, edges.sender, edges.receiver)
        if known == self._known:
            return
        self._known = known
        first, second = self._pairs.present(graph).triu().nonzero().T
        numbers = _numbers(len(self._of_elements), first, second)
        self.block.copy_(numbers[graph.species[edges.receiver], graph.species[edges.sender]])
        radii = torch.ones_like(self._radii)  # of no pair: any length
        radii[: len(first)] = self._of_elements[first] + self._of_elements[second]
        if not torch.equal(radii, self._radii):
            self._radii.copy_(radii)
            self._made.clear()

    def kept(self, module: nn.Module, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, of a module's parameters and the radii: made anew when some of them have changed.

        Where a gradient is asked for it is made in any case.
        """
        if torch.is_grad_enabled():
            return make()
        self.update()
        state = [(p.data_ptr(), p._version) for p in module.parameters()]
        if module not in self._made or self._made[module][0] != state:
            self._made[module] = state, make()
        return self._made[module][1]

    @property
    def radii(self) -> Tensor:
        """Sum of the covalent radii of each table's pair, in angstrom, float64 [tables]."""
        self.update()
        return self._radii

    @property
    def of_edges(self) -> Tensor:
        """The same of each edge's two atoms, [edges]."""
        return self.radii[self.block]


class EveryPair:
    """A table for each pair of elements that a model knows, in either order, whatever a graph has.

    Atoms and edges may be replaced in place: `update` follows.

    Args:
        count: Number of elements.
        species: Of atoms.
        edges: Between them.

    Attributes:
        block: The table of each edge, int64 [edges].
    """

    def __init__(self, count: int, species: Tensor, edges: Edges) -> None:
        self._species, self._edges = species, edges
        first, second = self.elements(count)
        self._numbers, self._count = _numbers(count, first, second).flatten().to(species.device), count
        self.block = torch.zeros_like(edges.sender)
        self._known: tuple[int, ...] | None = None
        self.update()

    @staticmethod
    def elements(count: int) -> tuple[Tensor, Tensor]:
        """The two elements of each table."""
        first, second = torch.triu_indices(count, count)
        return first, second

    def update(self) -> None:
        """Follow changes of atoms and edges."""
        known = _state(self._species, self._edges.sender, self._edges.receiver)
        if known != self._known:
            self._known = known
            i, j = self._species[self._edges.receiver], self._species[self._edges.sender]
            self.block.copy_(self._numbers[i * self._count + j])


def _numbers(count: int, first: Tensor, second: Tensor) -> Tensor:
    """The number of each listed pair of elements, in either order; 0 of others: int64 [elements, elements]."""
    numbers = first.new_zeros(count, count)
    numbers[first, second] = numbers[second, first] = torch.arange(len(first), device=first.device)
    return numbers


def _state(*tensors: Tensor) -> tuple[int, ...]:
    """What changes with any of the tensors, in place."""
    return tuple(0 if t.is_inference() else t._version for t in tensors)
