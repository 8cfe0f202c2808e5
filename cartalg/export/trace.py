"""One run of a model's plan, written down: which kernels, which loops over numbers, on which memory.

The engine's own program is run on atoms and edges of given numbers, whatever their content; kernels are told of and not
run. What Torch computes of species and edges, when the program is made and when it runs, becomes loops; what it
computes of weights alone stays a constant.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.export.operators import Lowering, loop, tensors_in, writes
from cartalg.export.steps import Kernel, Loop, Storages, View
from cartalg.inference import Network
from cartalg.nn.plan import Plan
from cartalg.nn.values import Slot
from cartalg.ops import Edges
from cartalg.ops.private import dispatched
from cartalg_codegen.backends.numba.binder import listening
from cartalg_codegen.backends.numba.objects import Job

#: Arrays that a caller's neighbours are written to.
INPUTS = ("vectors", "species", "row_ptr", "sender", "receiver", "col_ptr", "col_edge")


class Sizes(NamedTuple):
    """Numbers of atoms, and of edges."""

    atoms: int
    edges: int


class _Apart(Plan):
    """A plan whose slots have memory of their own: who shares it with whom is decided for all sizes at once."""

    def _give_memory(self, first: dict[Slot, int], lasting: Sequence[Slot]) -> list[Tensor]:
        blocks = []
        slots = [slot for instruction in self._program for slot in instruction.slots]
        for slot in dict.fromkeys(s.whole[0] for s in [*first, *lasting, *slots]):
            if slot.memory is None:
                slot.memory = torch.zeros(slot.shape, dtype=slot.dtype)
                blocks.append(slot.memory)
        return blocks


@dataclass(frozen=True)
class Trace:
    """What was seen.

    Attributes:
        steps: In order; their sections are ``setup``, and those of a plan.
        inputs, outputs: Numbers of the storages of `INPUTS`, and of results: ``energies``, ``gradient`` and tensors.
        storages: All memory.
        written: Numbers of the storages that steps write to.
    """

    steps: list[Loop | Kernel]
    inputs: dict[str, int]
    outputs: dict[str, int]
    storages: Storages
    written: set[int]


@torch.no_grad()
def trace(network: Network, sizes: Sizes) -> Trace:
    """Run a network's plan on so many atoms and edges, one thread.

    Raises:
        NotExported: For an operation that has no equal without Torch.
    """
    return _Tracer().run(network, sizes)


class _Tracer:
    def __init__(self) -> None:
        self.storages, self.steps, self.written = Storages(), list[Loop | Kernel](), set[int]()
        self.section = "setup"
        self.lowering = Lowering(self.storages, self._loop)

    def run(self, network: Network, sizes: Sizes) -> Trace:
        graph = _graph(sizes)
        plan = _Apart(graph.vectors.shape, graph.vectors.dtype, {})
        arrays = {"species": graph.species, **graph.edges.index}
        for array in arrays.values():
            self.storages.moving.add(self.storages.number(array))
        with listening(self._kernel), dispatched(self._operator):
            energies, others = network(graph, plan.input)
            program = plan.bind(energies, list(others.values()))
            arrays["vectors"] = program.input
            self.storages.moving.add(self.storages.number(program.input))
            for self.section in program.sections:
                program.run(self.section)
        found = {"energies": program.result, "gradient": program.gradient}
        found |= dict(zip(others, program.others, strict=True))
        number = self._numbered(self.storages.number)
        return Trace(self.steps, number(arrays), number(found), self.storages, self.written)

    @staticmethod
    def _numbered(number: Callable[[Tensor], int]) -> Callable[[Mapping[str, Tensor]], dict[str, int]]:
        return lambda arrays: {name: number(array) for name, array in arrays.items()}

    def _loop(self, code: str, shape: tuple[int, ...], views: Sequence[View], numbers: tuple[float, ...]) -> None:
        self.steps.append(loop(self.section, code, shape, views, numbers))
        self._wrote(views[0].storage)

    def _wrote(self, storage: int) -> None:
        self.written.add(storage)
        self.storages.moving.add(storage)

    def _kernel(self, job: Job, words: Sequence[int | Tensor], written: Sequence[Tensor]) -> None:
        rows, *rest = words
        found = [rows, 0, 0, *rest[2:]]  # no team
        kept = tuple(self.storages.view(w, ()) if isinstance(w, Tensor) else w for w in found)
        self.steps.append(Kernel(self.section, job, kept))
        for tensor in written:
            self._wrote(self.storages.number(tensor))

    def _operator(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        read = {self.storages.number(t) for t in tensors_in([*args, *kwargs.values()])}
        for tensor in tensors_in([result]):
            self.storages.number(tensor)
        if read & self.storages.moving or (self.section != "setup" and writes(name)):
            self.lowering(name, args, kwargs, result)


def _graph(sizes: Sizes) -> Graph:
    """So many atoms and edges; none of their numbers is looked at."""
    atoms, edges = sizes
    sender, receiver, col_edge = (torch.zeros(edges, dtype=torch.int64) for _ in range(3))
    row_ptr, col_ptr = (torch.zeros(atoms + 1, dtype=torch.int64) for _ in range(2))
    vectors = torch.ones(edges, 3, dtype=torch.float64)
    species, frame = torch.zeros(atoms, dtype=torch.int64), torch.zeros(atoms, dtype=torch.int64)
    return Graph(
        species,
        vectors,
        Edges(sender, receiver, row_ptr, col_ptr, col_edge),
        frame,
        1,
        torch.ones(1, dtype=torch.float64),
    )
