"""One run of a model's plan, written down: which kernels, which loops over numbers, on which memory.

The engine's own program is run on atoms, ghosts and edges of given numbers, whatever their content; kernels are told
of and not run. What Torch computes of species and edges, when the program is made and when it runs, becomes loops;
what it computes of weights alone stays a constant.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.export.elements import GroupedMix
from cartalg.export.operators import Lowering, NotExported, loop, tensors_in, writes
from cartalg.export.steps import Group, Kernel, Loop, Storages, View
from cartalg.inference import Network
from cartalg.nn.element_mixing import ElementMix
from cartalg.nn.plan import Plan
from cartalg.nn.values import Make, Operation, Slot
from cartalg.ops import Edges
from cartalg.ops.private import dispatched
from cartalg_codegen.backends.numba.binder import listening
from cartalg_codegen.backends.numba.objects import Job

#: Arrays that a caller's neighbours are written to.
INPUTS = ("vectors", "species", "row_ptr", "sender", "receiver", "col_ptr", "col_edge", "order", "back")


class Sizes(NamedTuple):
    """Numbers of atoms, of atoms with their ghosts, and of edges."""

    atoms: int
    every: int
    edges: int


class _Marks:
    """An exchange that writes down where it is asked for, and moves nothing."""

    def __init__(self, owned: int, mark: Callable[..., None]) -> None:
        self.owned, self._mark = owned, mark

    def fill(self, rows: Tensor) -> None:
        self._mark("to_ghosts", rows)

    def collect(self, rows: Tensor, into: Tensor) -> None:
        self._mark("from_ghosts", rows, into)


class _Apart(Plan):
    """A plan whose slots have memory of their own: who shares it with whom is decided for all sizes at once.

    Args:
        grouped: Makes of a mixing by elements one that does not look at them.
    """

    def __init__(self, input: Tensor, grouped: Callable[[ElementMix], Operation]) -> None:
        super().__init__(input.shape, input.dtype, {})
        self._grouped = grouped

    def record(self, operation: Operation, inputs: Sequence[Tensor | Slot | Make]) -> Slot:
        return super().record(self._grouped(operation) if isinstance(operation, ElementMix) else operation, inputs)

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
        written: How often steps write to a storage, by its number.
    """

    steps: list[Loop | Kernel]
    inputs: dict[str, int]
    outputs: dict[str, int]
    storages: Storages
    written: Counter[int]


@torch.no_grad()
def trace(network: Network, sizes: Sizes) -> Trace:
    """Run a network's plan on so many atoms and edges, one thread.

    Raises:
        NotExported: For an operation that has no equal without Torch.
    """
    return _Tracer().run(network, sizes)


class _Tracer:
    def __init__(self) -> None:
        self.storages, self.steps, self.written = Storages(), list[Loop | Kernel](), Counter[int]()
        self.section = "setup"
        self.group: tuple[int, Tensor, Tensor] | None = None
        self.lowering = Lowering(self.storages, self._loop)

    def run(self, network: Network, sizes: Sizes) -> Trace:
        graph = _graph(sizes, _Marks(sizes.atoms, self._exchange))
        arrays = {"species": graph.species, **graph.edges.index}
        arrays |= {name: torch.zeros(sizes.atoms, dtype=torch.int64) for name in ("order", "back")}
        plan = _Apart(graph.vectors, lambda mix: GroupedMix(mix, arrays["order"], arrays["back"], self._of_type))
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

    def _exchange(self, code: str, *arrays: Tensor) -> None:
        if not all(array.is_contiguous() for array in arrays):
            raise NotExported("an exchange of rows that do not lie together")
        views = tuple(self.storages.view(array, (1,)) for array in arrays)
        self.steps.append(Loop(self.section, code, (arrays[0][0].numel(),), views))
        self._wrote(views[-1].storage)

    def _wrote(self, storage: int) -> None:
        self.written[storage] += 1
        self.storages.moving.add(storage)

    def _kernel(self, job: Job, words: Sequence[int | Tensor], written: Sequence[Tensor]) -> None:
        rows, *rest = words
        found = [rows, 0, 0, *rest[2:]]  # no team
        kept = tuple(self.storages.view(w, ()) if isinstance(w, Tensor) else w for w in found)
        self.steps.append(Kernel(self.section, job, kept, self._placed(kept)))
        for tensor in written:
            self._wrote(self.storages.number(tensor))

    @contextmanager
    def _of_type(self, number: int, given: Tensor, result: Tensor) -> Iterator[None]:
        self.group = number, given, result
        try:
            yield
        finally:
            self.group = None

    def _placed(self, words: Sequence[int | View]) -> Group | None:
        """Where a kernel that treats atoms of a type has their rows."""
        if self.group is None:
            return None
        number, *arrays = self.group
        homes = [self.storages.number(array) for array in arrays]
        places = [next(n for n, w in enumerate(words) if isinstance(w, View) and w.storage == home) for home in homes]
        first, last = (array.stride(0) * array.itemsize for array in arrays)
        return Group(number, (places[0], places[1]), (first, last))

    def _operator(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        read = {self.storages.number(t) for t in tensors_in([*args, *kwargs.values()])}
        for tensor in tensors_in([result]):
            self.storages.number(tensor)
        if read & self.storages.moving or (self.section != "setup" and writes(name)):
            self.lowering(name, args, kwargs, result)


def _graph(sizes: Sizes, exchange: _Marks) -> Graph:
    """So many atoms and edges; none of their numbers is looked at."""

    def zeros(count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.int64)

    atoms, every, edges = sizes
    sides = Edges(zeros(edges), zeros(edges), zeros(atoms + 1), zeros(every + 1), zeros(edges), exchange)
    vectors, volume = torch.ones(edges, 3, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    return Graph(zeros(every), vectors, sides, zeros(atoms), 1, volume)
