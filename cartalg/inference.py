"""Energy and forces without a framework: a model's own forward pass, recorded as calls of compiled kernels.

The calls are bound once to the buffers of one graph. A step fills in the edge vectors and runs the list: forward, then
backward, kernel by kernel. Nothing is allocated, nothing is recorded, no operator is dispatched; a molecule of a few
atoms costs what its arithmetic costs. Weights are prepared when they change: radial tables, scales folded in.

Domains are graphs whose edges have an exchange: the calls that bring features to ghosts, and gradients back from them,
stand in the list where they are due, so all processes must run it together. What depends on species alone is exchanged
when a domain has new edges, which all domains get at once.
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

    Calls are bound to arrays of the engine's own, with room for more edges than a graph has: when neighbours or species
    change in a simulation they are copied there, and nothing is bound anew. Domains have room for atoms and ghosts too.

    Args:
        network: Its forward pass.
        tables: Number of tables that a program for a graph has room for; what it computes depends on it.
    """

    def __init__(self, network: Network, tables: Callable[[Graph], int] = lambda graph: 0) -> None:
        self._network, self._tables, self.size = network, tables, None
        self._kept: dict[Hashable, Any] = {}
        self._bound: _Bound | None = None

    def _program(self, graph: Graph) -> "_Bound":
        """The calls for a graph; they are kept while threads stay, and its atoms and edges find room."""
        threads, bound, spare = torch.get_num_threads(), self._bound, []
        if bound is not None:
            if bound.threads == threads and bound.takes(graph):
                return bound
            spare = bound.program.blocks
        self._bound = None  # its memory is taken over
        own = roomy(graph, *rooms(graph))
        plan = Plan(own.vectors.shape, own.vectors.dtype, self._kept, spare)
        energy, others = self._network(own, plan.input)
        program = plan.bind(energy, list(others.values()))
        self._bound = _Bound(own, threads, list(others), program, self._tables, self._tables(graph))
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
        bound, count, atoms = self._program(graph), len(graph.vectors), graph.edges.receivers
        program = bound.program
        program.input[:count] = graph.vectors
        program.run("result")
        if others:
            program.run("others")
        if gradient:
            program.run("gradient")
        found = {n: value[:atoms] for n, value in zip(bound.names, program.others, strict=True)} if others else {}
        return program.result[:atoms], program.gradient[:count] if gradient else None, found


@dataclass
class _Bound:
    """A program, and the graph of its own that its calls read.

    Attributes:
        graph: With room for edges.
        names: Of its other results.
        tables, room: As of the engine, and the number of tables there is room for.
        source: The edges that have been copied to it.
    """

    graph: Graph
    threads: int
    names: list[str]
    program: Program
    tables: Callable[[Graph], int]
    room: int
    source: Edges | None = None

    def takes(self, graph: Graph) -> bool:
        """Whether a graph's atoms and edges find room; if so they are there now."""
        own, edges = self.graph, graph.edges
        if own.vectors.dtype != graph.vectors.dtype or own.edges.exchange is not edges.exchange:
            return False
        same = torch.equal(own.species[: len(graph.species)], graph.species)
        if same and edges is self.source:
            return True
        needed, best, room = sizes(graph), rooms(graph), sizes(own)
        if self.tables(graph) > self.room:
            return False
        if any(n > r for n, r in zip(needed, room, strict=True)) or room[0] - best[0] > best[0] - needed[0]:
            return False
        same = same and torch.equal(own.frame[: len(graph.frame)], graph.frame)
        settle(own, graph)
        self.program.input[len(edges.sender) :] = FAR
        if not same or self.source is None or edges.exchange:
            self.program.run("atoms")
        self.source = edges
        return True


def sizes(graph: Graph) -> tuple[int, int, int]:
    """Number of atoms, of all senders and of edges."""
    return graph.edges.receivers, graph.edges.senders, len(graph.edges.sender)


def rooms(graph: Graph) -> tuple[int, int, int]:
    """Room for these. Atoms of a domain come and go, those of a whole system do not."""
    atoms, senders, edges = sizes(graph)
    if graph.edges.exchange:
        atoms, senders = atoms + atoms // 32 + 4, senders + senders // 8 + 16
    return atoms, senders, edges + edges // 8 + 16


def roomy(graph: Graph, atoms: int, senders: int, edges: int) -> Graph:
    """A graph with room for so many atoms, senders and edges, and species and edges of the one that is given."""
    of_edges = {name: torch.zeros(edges, dtype=torch.int64) for name in ("sender", "receiver", "col_edge")}
    pointers = {n: torch.zeros(c + 1, dtype=torch.int64) for n, c in (("row_ptr", atoms), ("col_ptr", senders))}
    species, frame = (torch.zeros(senders, dtype=torch.int64) for _ in range(2))
    vectors = torch.full((edges, 3), FAR, dtype=graph.vectors.dtype)
    indexed = Edges(**of_edges, **pointers, exchange=graph.edges.exchange)
    own = replace(graph, species=species, vectors=vectors, edges=indexed, frame=frame)
    settle(own, graph)
    return own


def settle(own: Graph, graph: Graph) -> None:
    """Copy species and edges to a graph with room. Further atoms have no edges; further edges are of no atom.

    Rows of copies follow those of atoms at once: where there is room between, an exchange writes where they are.
    Further atoms are as the first one, so that they make no pair of elements that there is none of.
    """
    for array, given in ((own.species, graph.species), (own.frame, graph.frame)):
        array[: len(given)] = given
        array[len(given) :] = given[0] if len(given) else 0
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
