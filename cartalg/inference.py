"""Energy and forces without a framework: a model's own forward pass, recorded as calls of compiled kernels.

The calls are bound once to the buffers of one graph. A step fills in the edge vectors and runs the list: forward, then
backward, kernel by kernel. Nothing is allocated, nothing is recorded, no operator is dispatched; a molecule of a few
atoms costs what its arithmetic costs. Weights are prepared when they change: radial tables, scales folded in.
"""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from cartalg.data.graphs import Graph
from cartalg.nn.plan import Plan, Program
from cartalg.nn.values import Slot

#: (graph, edge vectors) -> energy of each atom, other results by name.
Network = Callable[[Graph, Slot], tuple[Slot, dict[str, Slot]]]


class Engine:
    """Runs a network, for one state of its parameters.

    Args:
        network: Its forward pass.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: dict[Hashable, Any] = {}
        self._bound: tuple[Graph, int, list[str], Program] | None = None

    def _program(self, graph: Graph) -> tuple[list[str], Program]:
        """Names of the other results, and the program of a graph; it is kept while edges, species and threads stay."""
        threads, spare = torch.get_num_threads(), []
        if self._bound is not None:
            known, count, names, program = self._bound
            if known.edges is graph.edges and known.species is graph.species and count == threads:
                return names, program
            spare = program.blocks
        self._bound = None  # its memory is taken over
        plan = Plan(graph.vectors.shape, graph.vectors.dtype, self._kept, spare)
        energy, others = self._network(graph, plan.input)
        names, program = list(others), plan.bind(energy, list(others.values()))
        self._bound = graph, threads, names, program
        return names, program

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
        names, program = self._program(graph)
        program.input.copy_(graph.vectors)
        program.run("result")
        if others:
            program.run("others")
        if gradient:
            program.run("gradient")
        found = dict(zip(names, program.others, strict=True)) if others else {}
        return program.result, program.gradient if gradient else None, found


class Watch:
    """Tells whether any parameter or buffer of a module has changed since the last look, in place or replaced."""

    def __init__(self, module: nn.Module) -> None:
        self._places = [place for m in module.modules() for place in (m._parameters, m._buffers) if place]
        self._state: list[tuple[int, int]] = []

    def changed(self) -> bool:
        """True at the first look, and after a change."""
        state = [(p.data_ptr(), p._version) for place in self._places for p in place.values() if p is not None]
        same, self._state = state == self._state, state
        return not same
