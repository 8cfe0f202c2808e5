"""Energies and forces of many atoms on the memory of a few: chunks of atoms take turns, layer by layer.

What is kept for all atoms are features that go to neighbours, and gradients to them; all else lives in the buffers of
one chunk. Forward, every layer but the last is run twice: once for what comes after it, once for its gradient. Results
do not depend on the chunks but for rounding.

The atoms may be a domain's: processes exchange features between layers as in `cartalg.inference`, in the same order, so
some may have chunks and others not.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.inference import FAR, Network, roomy, settle
from cartalg.nn.stages import StagedPlan
from cartalg.nn.values import Call
from cartalg.ops import Edges


class _Turn:
    """Stands for the exchange of a chunk: features come from what is kept, not from other processes.

    Attributes:
        owned: Number of its atoms.
    """

    owned = 0

    def fill(self, rows: Tensor) -> None:
        """Not called: its stages begin with that."""

    def collect(self, rows: Tensor, into: Tensor) -> None:
        """Not called: its stages end with that."""


@dataclass(frozen=True)
class _Chunk:
    """Some atoms, and the edges to them.

    Attributes:
        graph: Of these atoms, with their neighbours as copies.
        atoms, edges: Which they are.
        senders: Which atoms send, int64: these, and then others.
    """

    graph: Graph
    atoms: slice
    edges: slice
    senders: Tensor


class Chunks:
    """Runs a network, for one state of its parameters, as `cartalg.inference.Engine` does: the same results.

    Args:
        network: Its forward pass.
        size: Number of atoms of a chunk.
        tables: As of an engine.
    """

    def __init__(self, network: Network, size: int, tables: Callable[[Graph], int] = lambda graph: 0) -> None:
        self._network, self.size, self._tables = network, size, tables
        self._kept: dict[Any, Any] = {}
        self._bound: _Bound | None = None

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(
        self, graph: Graph, gradient: bool = True, others: bool = False
    ) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """Arguments and results as of an engine."""
        bound = self._bound
        if bound is None or not bound.takes(graph):
            self._bound = None
            self._bound = bound = _Bound(self._network, self._kept, graph, self.size, self._tables)
        return bound.run(graph, gradient, others)


def chunks(graph: Graph, size: int) -> Iterator[_Chunk]:
    """A graph's atoms in chunks of about so many, in order."""
    edges, turn = graph.edges, _Turn()
    count = max(-(-edges.receivers // size), 1)
    ends = [edges.receivers * n // count for n in range(count + 1)]
    for first, last in pairwise(ends):
        begin, end = int(edges.row_ptr[first]), int(edges.row_ptr[last])
        sender = edges.sender[begin:end]
        here = (sender >= first) & (sender < last)
        away, row = torch.unique(sender[~here], return_inverse=True)
        rows = sender - first
        rows[~here] = last - first + row
        senders = torch.cat([torch.arange(first, last), away])
        receiver = edges.receiver[begin:end] - first
        own = Edges.build(rows, receiver, len(senders), last - first, turn)
        vectors = graph.vectors[:0]
        part = Graph(graph.species[senders], vectors, own, graph.frame[first:last], graph.n_frames, graph.volume)
        yield _Chunk(part, slice(first, last), slice(begin, end), senders)


class _Bound:
    """A program in stages with room for each of a graph's chunks, and what is kept of all.

    Stages are numbered; the first one, 0, is of species alone.
    """

    def __init__(
        self, network: Network, kept: dict[Any, Any], graph: Graph, size: int, tables: Callable[[Graph], int]
    ) -> None:
        self._size, self._dtype, self._threads = size, graph.vectors.dtype, torch.get_num_threads()
        self._tables = tables
        self._use(graph)
        atoms, senders, edges = self._largest()
        widest = max((chunk.graph for chunk in self._chunks), key=tables)
        atoms, senders = atoms + (atoms // 32 + 4 if graph.edges.exchange else 0), senders + senders // 16 + 8
        self._own, self._room = roomy(widest, atoms, senders, edges + edges // 16 + senders), tables(widest)
        plan = StagedPlan(self._own.vectors.shape, self._dtype, kept)
        energy, others = network(self._own, plan.input)
        self._names = list(others)
        self._program = plan.bind(energy, list(others.values()))
        self._stages, self._fixed = plan.stages, plan.fixed
        self._store: dict[int, Tensor] = {}

    def _use(self, graph: Graph) -> None:
        self._chunks = list(chunks(graph, self._size))
        self._source, self._species, self._atoms = graph.edges, graph.species, graph.edges.receivers
        self._gives: list[Tensor] = []  # what each stage gives to neighbours, of all senders

    def _largest(self) -> tuple[int, int, int]:
        """Of all chunks: atoms, senders and edges."""
        of = [chunk.graph.edges for chunk in self._chunks]
        return max(e.receivers for e in of), max(e.senders for e in of), max(len(e.sender) for e in of)

    def takes(self, graph: Graph) -> bool:
        """Whether there is room for a graph's chunks; if so they are used now."""
        if graph.vectors.dtype != self._dtype or torch.get_num_threads() != self._threads:
            return False
        if graph.edges is self._source and torch.equal(graph.species, self._species):
            return True
        self._use(graph)
        (atoms, senders, edges), own = self._largest(), self._own.edges
        if not 0 <= own.receivers - atoms <= atoms // 16 + 8:
            return False
        tables = max(self._tables(chunk.graph) for chunk in self._chunks)
        return senders <= own.senders and edges <= len(own.sender) and tables <= self._room

    def run(self, graph: Graph, gradient: bool, others: bool) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """All stages of all chunks."""
        program, last = self._program, len(self._stages) - 1
        energies, slope = program.result.new_empty(self._atoms), torch.empty_like(graph.vectors)
        values = [value.new_empty(self._atoms, *value.shape[1:]) for value in program.others]
        if not self._gives:
            gives = [stage.give for stage in self._stages if stage.give is not None]
            self._gives = [give.new_empty(graph.edges.senders, *give.shape[1:]) for give in gives]
            for chunk in self._chunks:
                self._begin(chunk, graph)
                self._give(chunk, 0)
            self._fill(graph, 0)
        sums = [torch.zeros_like(given) for given in self._gives] if gradient else []
        for n in range(1, last + 1):
            stage = self._stages[n]
            for chunk in self._chunks:
                self._forward(chunk, graph, n)
                self._save(chunk, stage.ends)
                if n < last:
                    self._give(chunk, n)
                    continue
                count = chunk.graph.edges.receivers
                energies[chunk.atoms] = program.result[:count]
                _run(stage.others if others else ())
                for whole, value in zip(values, program.others, strict=True):
                    whole[chunk.atoms] = value[:count]
                if gradient:
                    self._backward(chunk, n, sums, slope)
            if n < last:
                self._fill(graph, n)
        for n in range(last - 1, 0, -1) if gradient else ():
            if graph.edges.exchange is not None:
                graph.edges.exchange.collect(sums[n], sums[n][: self._atoms])
            for chunk in self._chunks:
                self._forward(chunk, graph, n)
                self._backward(chunk, n, sums, slope)
        return energies, slope if gradient else None, dict(zip(self._names, values, strict=True)) if others else {}

    def _give(self, chunk: _Chunk, n: int) -> None:
        """Keep what a stage gives to neighbours."""
        give = self._stages[n].give
        assert give is not None
        self._gives[n][chunk.atoms] = give[: chunk.graph.edges.receivers]

    def _fill(self, graph: Graph, n: int) -> None:
        """Have what a stage gives of atoms of other processes."""
        if graph.edges.exchange is not None:
            graph.edges.exchange.fill(self._gives[n])

    def _begin(self, chunk: _Chunk, graph: Graph) -> None:
        """Write the input, and what depends on species alone."""
        settle(self._own, chunk.graph)
        count = len(chunk.graph.edges.sender)
        self._program.input[:count] = graph.vectors[chunk.edges]
        self._program.input[count:] = FAR
        _run(self._stages[0].forward)

    def _forward(self, chunk: _Chunk, graph: Graph, n: int) -> None:
        """Run a stage, and write all that it reads."""
        self._begin(chunk, graph)
        for stage in sorted({1, n}):
            into = self._stages[stage].fill
            assert into is not None
            torch.index_select(self._gives[stage - 1], 0, chunk.senders, out=into[: len(chunk.senders)])
            _run(self._fixed if stage == 1 else ())
        self._load(chunk, self._stages[n].begins)
        _run(self._stages[n].forward)

    def _backward(self, chunk: _Chunk, n: int, sums: list[Tensor], slope: Tensor) -> None:
        """Run the gradient of a stage that has just been run forward.

        Args:
            chunk: The chunk.
            n: Of the stage.
            sums: Gradients to the features that a stage gives to neighbours, of all atoms.
            slope: The gradient to edge vectors, of all edges.
        """
        stage = self._stages[n]
        self._load(chunk, stage.gradient_begins)
        if stage.take is not None:
            into, add = stage.take.target
            count = chunk.graph.edges.receivers
            into[count:] = into[count:] if add else 0
            into[:count] = into[:count] + sums[n][chunk.atoms] if add else sums[n][chunk.atoms]
        _run(stage.gradient)
        self._save(chunk, stage.gradient_ends)
        if stage.collect is not None:
            sums[n - 1].index_add_(0, chunk.senders, stage.collect[: len(chunk.senders)])
        if n == 1:
            slope[chunk.edges] = self._program.gradient[: len(chunk.graph.edges.sender)]

    def _rows(self, chunk: _Chunk, tensor: Tensor) -> slice:
        return chunk.atoms if len(tensor) == self._own.edges.receivers else chunk.edges

    def _of(self, tensor: Tensor) -> Tensor:
        """What is kept of a tensor of the program: of all atoms, or of all edges."""
        rows = self._atoms if len(tensor) == self._own.edges.receivers else len(self._source.sender)
        kept = self._store.get(tensor.data_ptr())
        if kept is None or len(kept) != rows:
            kept = self._store[tensor.data_ptr()] = tensor.new_empty(rows, *tensor.shape[1:])
        return kept

    def _save(self, chunk: _Chunk, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            rows = self._rows(chunk, tensor)
            self._of(tensor)[rows] = tensor[: rows.stop - rows.start]

    def _load(self, chunk: _Chunk, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            rows = self._rows(chunk, tensor)
            tensor[: rows.stop - rows.start] = self._of(tensor)[rows]


def _run(calls: Iterable[Call]) -> None:
    for call in calls:
        call()
