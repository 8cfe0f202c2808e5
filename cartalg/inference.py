"""Energy and forces without a framework: a model's own forward pass, recorded as calls of compiled kernels.

The calls are bound once to the buffers of one graph. A step fills in the edge vectors and runs the list: forward, then
backward, kernel by kernel. Nothing is allocated, nothing is recorded, no operator is dispatched; a molecule of a few
atoms costs what its arithmetic costs. Weights are prepared when they change: radial tables, scales folded in.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cartalg.data.graphs import Graph
from cartalg.nn.plan import Plan
from cartalg.nn.values import Slot

#: (graph, edge vectors) -> energy of each atom, other results by name; slots, or tensors if they depend on no vector.
Network = Callable[[Graph, Slot], tuple[Slot, dict[str, Slot]]]


class _Bound(NamedTuple):
    """A plan for one graph."""

    graph: Graph
    threads: int
    plan: Plan
    energy: Slot
    others: dict[str, Slot]
    slope: Tensor


class Engine:
    """Runs a network, for one state of its parameters.

    Args:
        network: Its forward pass.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: dict[Hashable, Any] = {}
        self._bound: _Bound | None = None

    def _bind(self, graph: Graph) -> _Bound:
        plan = Plan(graph.vectors.shape, graph.vectors.dtype, self._kept)
        energy, others = self._network(graph, plan.input)
        slope = plan.bind(energy, list(others.values()))
        return _Bound(graph, torch.get_num_threads(), plan, energy, others, slope)

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
        bound = self._bound
        if (
            bound is None
            or bound.graph.edges is not graph.edges
            or bound.graph.species is not graph.species
            or bound.threads != torch.get_num_threads()
        ):
            self._bound = None  # its memory is free before more is taken
            self._bound = bound = self._bind(graph)
        plan = bound.plan
        plan.input.tensor.copy_(graph.vectors)
        plan.run("result")
        if others:
            plan.run("others")
        if gradient:
            plan.run("gradient")
        found = {name: slot.tensor for name, slot in bound.others.items()} if others else {}
        return bound.energy.tensor, bound.slope if gradient else None, found


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
