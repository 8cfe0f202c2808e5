"""Training without a framework: energies and their gradient to edge vectors as one node of autograd's graph.

A loss is written in Torch, of energies and forces. What is below it, the whole network, is one node: forward it runs a
plan (`cartalg.nn.plan`) up to the gradient to edge vectors; backward it runs the rest of it, with the gradient of the
loss, and hands the gradients to weights on. How weights are made of parameters (scales, radial networks) is autograd's
again: small arrays, whatever the number of atoms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cartalg.data.graphs import Graph
from cartalg.inference import FAR, Network, roomy, settle
from cartalg.nn.training import TrainingPlan, TrainingProgram


class Learner:
    """Runs a network whose results are differentiable to its parameters.

    Calls are bound to arrays with room: batches of about as many atoms and edges run on the same ones, whatever their
    species. Programs of several sizes share their memory.

    Args:
        network: Its forward pass.
        module: Whose parameters it computes with; they may be replaced.
        tables: As of an `Engine`.
    """

    def __init__(self, network: Network, module: nn.Module, tables: Callable[[Graph], int] = lambda graph: 0) -> None:
        self._network, self._tables = network, tables
        self._module = module
        self._parameters: list[dict[str, nn.Parameter | None]] = []
        self._places: list[int] = []
        self._bound: dict[Any, _Bound] = {}
        self._memory: list[Tensor] = []
        self._runs = 0

    def __call__(self, graph: Graph, others: bool = False) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Run the network.

        Args:
            graph: A batch.
            others: Whether the other results are asked for.
        Returns:
            Energy of each atom [atoms], the gradient of their sum to the edge vectors [edges, 3], other results; all
            differentiable once, to parameters.
        Raises:
            NotPlanned: If a layer computes with parameters before it meets a value.
        """
        bound = self._program(graph, others)
        settle(bound.graph, graph)
        inputs = bound.program.inputs()
        atomic, slope, *rest = _Node.apply(self, bound, graph, *inputs)  # type: ignore[no-untyped-call]
        return atomic, slope, dict(zip(bound.names, rest, strict=True))

    def _program(self, graph: Graph, others: bool) -> "_Bound":
        if self._where() != self._places:  # parameters have been replaced, or their precision
            self._bound.clear()
        sizes = _rounded(len(graph.species)), _rounded(len(graph.vectors) + 1)
        key = (*sizes, self._tables(graph), graph.vectors.dtype, others, torch.get_num_threads())
        bound = self._bound.get(key)
        if bound is None or (bound.program.tied and not torch.equal(bound.species, graph.species)):
            self._parameters = [m._parameters for m in self._module.modules() if m._parameters]
            self._places, own = self._where(), roomy(graph, sizes[0], *sizes)
            with torch.enable_grad():  # what is computed of parameters is known by that
                plan = TrainingPlan(own.vectors.shape, own.vectors.dtype, self._memory)
                energy, found = self._network(own, plan.input)
            found = found if others else {}
            with torch.no_grad():
                program = plan.bind(energy, list(found.values()))
            mine = {block.data_ptr() for block in self._memory}
            self._memory += [block for block in program.blocks if block.data_ptr() not in mine]
            while len(self._bound) >= PROGRAMS:
                del self._bound[next(iter(self._bound))]
            self._bound[key] = bound = _Bound(own, list(found), program, graph.species)
        return bound

    def _where(self) -> list[int]:
        """Where the parameters lie."""
        return [p.data_ptr() for of_module in self._parameters for p in of_module.values() if p is not None]

    def run(self, bound: "_Bound", graph: Graph, weights: list[Tensor]) -> int:
        """Run a program, up to the gradient, on a batch that has been settled; the number of the run."""
        program, count = bound.program, len(graph.vectors)
        program.input[:count] = graph.vectors
        program.input[count:] = FAR
        program.set_weights(weights)
        for section in ("result", "others", "gradient"):
            program.run(section)
        self._runs += 1
        return self._runs

    def is_last(self, number: int) -> bool:
        """Whether nothing else has run since."""
        return self._runs == number


#: Programs of different sizes that are kept.
PROGRAMS = 16


@dataclass
class _Bound:
    """A program, and the graph of its own that its calls read.

    Attributes:
        graph: With room for atoms and edges.
        names: Of its other results.
        species: Of the batch that it was made for.
    """

    graph: Graph
    names: list[str]
    program: TrainingProgram
    species: Tensor


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, learner: Learner, bound: _Bound, graph: Graph, *weights: Tensor) -> Any:  # type: ignore[override]
        ctx.learner, ctx.bound, ctx.graph = learner, bound, graph
        ctx.save_for_backward(*weights)
        ctx.set_materialize_grads(False)
        ctx.number = learner.run(bound, graph, list(weights))
        program, atoms, edges = bound.program, len(graph.species), len(graph.vectors)
        return (
            program.result[:atoms].clone(),
            program.gradient[:edges].clone(),
            *(o[:atoms].clone() for o in program.others),
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_energy: Tensor | None, of_slope: Tensor | None, *of_others: Tensor | None) -> Any:
        program = ctx.bound.program
        if not ctx.learner.is_last(ctx.number):  # another batch lies there: once more
            settle(ctx.bound.graph, ctx.graph)
            ctx.learner.run(ctx.bound, ctx.graph, list(ctx.saved_tensors))
        for seed, given in zip(program.seeds, (of_slope, of_energy, *of_others), strict=True):
            seed.zero_()
            if given is not None:
                seed[: len(given)] = given
        program.run("tangent")
        program.run("learn")
        return None, None, None, *program.gradients()


def _rounded(count: int) -> int:
    """Room for so many things: a thirty-second part more at most, for threads share out all rows alike."""
    step = 1 << max(count.bit_length() - 6, 0)
    return -(-count // step) * step
