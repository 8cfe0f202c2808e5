"""Energy and forces without a framework: a model's own forward pass, recorded as calls of compiled kernels.

The calls are bound once to the buffers of one graph. A step fills in the edge vectors and runs the list: forward, then
backward, kernel by kernel. Nothing is allocated, nothing is recorded, no operator is dispatched; a molecule of a few
atoms costs what its arithmetic costs. Weights are prepared when they change: radial tables, scales folded in.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cartalg.data.graphs import Graph
from cartalg.nn.plan import Plan, Program
from cartalg.nn.values import Slot
from cartalg.ops import Edges

#: (graph, edge vectors) -> energy of each atom, other results by name.
Network = Callable[[Graph, Slot], tuple[Slot, dict[str, Slot]]]
#: Length of the edges that fill an engine's arrays, in angstrom: beyond every cutoff.
FAR = 1e3


class Engine:
    """Runs a network, for one state of its parameters.

    Calls are bound to arrays of the engine's own, with room for more edges than a graph has: when neighbours change in
    a simulation they are copied there, and nothing is bound anew.

    Args:
        network: Its forward pass.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: dict[Hashable, Any] = {}
        self._bound: _Bound | None = None

    def _program(self, graph: Graph) -> "_Bound":
        """The calls for a graph; they are kept while species and threads stay, and its edges find room."""
        threads, bound, spare = torch.get_num_threads(), self._bound, []
        if bound is not None:
            if bound.threads == threads and bound.takes(graph):
                return bound
            spare = bound.program.blocks
        self._bound = None  # its memory is taken over
        count = len(graph.vectors)
        own = roomy(graph, len(graph.species), count + count // 8 + 16)
        plan = Plan(own.vectors.shape, own.vectors.dtype, self._kept, spare)
        energy, others = self._network(own, plan.input)
        program = plan.bind(energy, list(others.values()))
        self._bound = _Bound(own, threads, list(others), program)
        self._bound.takes(graph)
        return self._bound

    @torch.inference_mode(False)  # buffers made there could not be written to elsewhere
    @torch.no_grad()
    def __call__(
        self, graph: Graph, gradient: bool = True, others: bool = False
    ) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """Run the network.

        Args:
            graph: A batch.
            gradient, others: Whether the gradient and the other results are asked for.
        Returns:
            Energy of each atom [atoms], the gradient of their sum to the edge vectors [edges, 3], other results. All
            lie in buffers that the next call overwrites.
        """
        bound, count = self._program(graph), len(graph.vectors)
        program = bound.program
        program.input[:count] = graph.vectors
        program.run("result")
        if others:
            program.run("others")
        if gradient:
            program.run("gradient")
        found = dict(zip(bound.names, program.others, strict=True)) if others else {}
        return program.result, program.gradient[:count] if gradient else None, found


@dataclass
class _Bound:
    """A program, and the graph of its own that its calls read.

    Attributes:
        graph: With room for edges.
        names: Of its other results.
        source: The edges that have been copied to it.
    """

    graph: Graph
    threads: int
    names: list[str]
    program: Program
    source: Edges | None = None

    def takes(self, graph: Graph) -> bool:
        """Whether a graph has these atoms and its edges find room; if so they are there now."""
        own, count = self.graph, len(graph.edges.sender)
        if own.vectors.dtype != graph.vectors.dtype or not torch.equal(own.species, graph.species):
            return False
        if graph.edges is self.source:
            return True
        if count > len(own.edges.sender):
            return False
        settle(own, graph)
        self.program.input[count:] = FAR
        self.source = graph.edges
        return True


def roomy(graph: Graph, atoms: int, edges: int) -> Graph:
    """A graph with room for so many atoms and edges, and species and edges of the one that is given."""
    of_edges = {name: torch.zeros(edges, dtype=torch.int64) for name in ("sender", "receiver", "col_edge")}
    pointers = {name: torch.zeros(atoms + 1, dtype=torch.int64) for name in ("row_ptr", "col_ptr")}
    species = torch.zeros(atoms, dtype=torch.int64)
    vectors = torch.full((edges, 3), FAR, dtype=graph.vectors.dtype)
    own = replace(graph, species=species, vectors=vectors, edges=Edges(**of_edges, **pointers))
    settle(own, graph)
    return own


def settle(own: Graph, graph: Graph) -> None:
    """Copy species and edges to a graph with room. Further atoms have no edges; further edges are of no atom."""
    own.species[: len(graph.species)] = graph.species
    own.species[len(graph.species) :] = 0
    for name, array in own.edges.index.items():
        given = graph.edges.index[name]
        array[: len(given)] = given
        array[len(given) :] = given[-1] if name in ("row_ptr", "col_ptr") else 0


class Watch:
    """Tells whether any parameter or buffer of a module has changed since the last look, in place or replaced.

    Torch counts no changes in place through ``parameter.data``: change parameters themselves, under `torch.no_grad`.
    """

    def __init__(self, module: nn.Module) -> None:
        self._places = [place for m in module.modules() for place in (m._parameters, m._buffers) if place]
        self._state: list[tuple[int, int]] = []

    def changed(self) -> bool:
        """True at the first look, and after a change."""
        state = [(p.data_ptr(), p._version) for place in self._places for p in place.values() if p is not None]
        same, self._state = state == self._state, state
        return not same
