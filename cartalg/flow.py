"""How energy flows between atoms: edge forces, virials of atoms, heat flux; exact for message passing.

The energy of an atom depends on atoms beyond its own neighbours, so that forces on edges do not say how much energy
passes along them. What does are the derivatives dU_j/dr_i of each atom's energy, weighted with where j is: three passes
backwards more, on the cell as it is (`cartalg.nn.images`), whatever the number of layers.

Source: docs/theory.md, section 9; Langer et al. 2023 (arXiv:2303.14434); Fan et al., Phys. Rev. B 92, 094301 (2015).
"""

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.inference import Watch
from cartalg.model import Potential
from cartalg.nn.adjoints import Adjoints, Step
from cartalg.nn.images import Images
from cartalg.nn.plan import Plan
from cartalg.nn.values import Slot
from cartalg.ops.functions import resolve


@dataclass(frozen=True)
class Flow:
    """Energies of atoms, and how they depend on positions.

    Attributes:
        energies: U_j in eV, float64 [atoms].
        edge_forces: -dE/d(edge vectors) in eV/angstrom, float64 [edges, 3].
        forces: In eV/angstrom, float64 [atoms, 3].
        centroid: Of each atom i, the sum over atoms j of (r_i - r_j) dU_j/dr_i in eV, float64 [atoms, 3, 3]; the first
            index is that of the position. The sum over atoms is the strain derivative of the energy.
    """

    energies: Tensor
    edge_forces: Tensor
    forces: Tensor
    centroid: Tensor

    def heat_flux(self, velocities: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
        """The heat flux of each atom, which is d/dt of the sum of r_i e_i in an open system, and its convective part.

        Neither is divided by a volume.

        Args:
            velocities: In angstrom over any unit of time, [atoms, 3].
            masses: In eV times that unit squared over angstrom squared, [atoms].
        Returns:
            (e_i v_i - C_i v_i, e_i v_i), where e_i are energies, kinetic ones included, and C_i is the centroid virial:
            in eV angstrom over the unit of time, float64 [atoms, 3] each.
        """
        velocities, masses = velocities.double(), masses.double()
        energies = self.energies + 0.5 * masses * velocities.square().sum(1)
        convective = energies[:, None] * velocities
        return convective - (self.centroid @ velocities[:, :, None])[:, :, 0], convective


def pair_virials(graph: Graph, edge_forces: Tensor) -> Tensor:
    """Virials of atoms, each edge's shared by its two atoms: symmetric, eV, [atoms, 3, 3].

    They sum to the strain derivative of the energy. The flow of heat is not in them: use `Flow.centroid` for that.

    Args:
        graph: One frame or several.
        edge_forces: -dE/d(edge vectors) in eV/angstrom, [edges, 3].
    """
    of_edges = graph.vectors.to(edge_forces.dtype)[:, :, None] * edge_forces[:, None, :]
    of_edges = (of_edges + of_edges.mT) / -4
    virials = of_edges.new_zeros(len(graph.species), 3, 3)
    return virials.index_add(0, graph.edges.receiver, of_edges).index_add(0, graph.edges.sender, of_edges)


class Flows:
    """Computes the flow of a potential, on a CPU without autograd, as calls that are bound once.

    Args:
        model: The potential.
        dtype: To compute in, if not the model's own: a copy of it is made.
    """

    def __init__(self, model: Potential, dtype: torch.dtype | None = None) -> None:
        self._model = model if dtype in (None, model.dtype) else copy.deepcopy(model).to(dtype)
        self._watch, self._kept = Watch(self._model), dict[Hashable, Any]()
        self._bound: _Planned | _Recorded | None = None
        self._lock = Lock()

    @torch.inference_mode(False)
    def __call__(self, graph: Graph, positions: Tensor) -> Flow:
        """The flow in a graph.

        Args:
            graph: One frame or several, periodic or open.
            positions: Of its atoms, in angstrom, [atoms, 3], each in any of the cells it is periodic in.
        Raises:
            ValueError: If the graph is of a domain, whose energies other processes go on with.
        """
        if graph.edges.exchange is not None:
            raise ValueError("the flow of energy is computed of whole systems, not of a domain")
        vectors, places, edges = graph.vectors.double(), positions.detach().double(), graph.edges
        places = places - places.mean(0)  # any origin will do; this one is good for single precision
        with self._lock:
            bound = self._bind(graph, vectors, places)
            energies = bound.energies(vectors)
            slope = bound.gradient(None, torch.ones_like(energies))
            centroid = slope.new_zeros(3, len(places), 3)
            for axis in range(3):
                centroid[axis].index_add_(0, edges.sender, vectors[:, axis, None] * slope)
                if len(self._model.interactions) > 1:  # else no energy depends on edges of other atoms
                    moment = bound.gradient(axis, places[:, axis]) - places[edges.receiver, axis, None] * slope
                    centroid[axis] += Potential.to_atoms(moment, edges)
        return Flow(energies, -slope, Potential.to_atoms(slope, edges), centroid.transpose(0, 1).contiguous())

    def _bind(self, graph: Graph, vectors: Tensor, places: Tensor) -> "_Planned | _Recorded":
        """What computes a graph; it is kept while atoms, edges, threads and weights stay."""
        bound, threads = self._bound, torch.get_num_threads()
        if self._watch.changed():
            self._kept.clear()
        elif bound and bound.takes(graph, threads) and bound.images.move(graph.edges, vectors, places):
            return bound
        autograd = resolve(self._model.backend, self._model.embedding, vectors).autograd
        given = (self._model, graph, Images(graph, places), threads)
        self._bound = _Recorded(*given) if autograd else _Planned(*given, self._kept)
        return self._bound

    def __reduce__(self) -> tuple[type["Flows"], tuple[Potential, torch.dtype]]:
        """A copy binds its own."""
        return Flows, (self._model, self._model.dtype)


class _Bound:
    """What computes the energies of a graph and their gradients, several of the same energies.

    Args:
        model, graph: The potential, and the graph.
        images: That send in it.
        threads: For which it is bound.
    """

    def __init__(self, model: Potential, graph: Graph, images: Images, threads: int) -> None:
        self.model, self.images, self._graph, self._threads = model, images, graph, threads

    def takes(self, graph: Graph, threads: int) -> bool:
        """Whether a graph has the same atoms and edges; vectors may be others."""
        own = self._graph
        return threads == self._threads and graph.edges is own.edges and torch.equal(graph.species, own.species)


class _Recorded(_Bound):
    """By autograd."""

    def energies(self, vectors: Tensor) -> Tensor:
        """Of atoms in eV, float64 [atoms]."""
        self._vectors = vectors.detach().clone().requires_grad_()
        with torch.enable_grad():
            self._energies = self.model.energies(self.images.graph, self._vectors)
        return self._energies.detach()

    def gradient(self, axis: int | None, weights: Tensor) -> Tensor:
        """Of the weighted sum of energies to edge vectors, float64 [edges, 3]; weights are positions along the axis."""
        self.images.begin(axis)
        (found,) = torch.autograd.grad(self._energies, self._vectors, weights, retain_graph=True)
        return found


class _Planned(_Bound):
    """As calls of kernels; `kept` is what plans of the same weights share."""

    def __init__(self, model: Potential, graph: Graph, images: Images, threads: int, kept: dict[Hashable, Any]) -> None:
        super().__init__(model, graph, images, threads)
        with torch.no_grad():
            plan = _Repeated(graph.vectors.shape, torch.float64, kept)
            self._program = plan.bind(model.energies(images.graph, plan.input))
            self._program.run("atoms")
        self._weights = plan.weights

    @torch.no_grad()
    def energies(self, vectors: Tensor) -> Tensor:
        """As above."""
        self._program.input.copy_(vectors)
        self._program.run("result")
        return self._program.result.clone()

    @torch.no_grad()
    def gradient(self, axis: int | None, weights: Tensor) -> Tensor:
        """As above."""
        self.images.begin(axis)
        self._weights.copy_(weights)
        self._program.run("gradient")
        return self._program.gradient.clone()


class _Repeated(Plan):
    """A plan whose gradient can be run several times, each of another weighted sum of results.

    Attributes:
        weights: Where these are to be written, once the plan is bound.
    """

    weights: Tensor

    def _further(
        self, main: Sequence[Step], rest: Sequence[Step], result: Slot, others: Sequence[Slot], slopes: Adjoints
    ) -> tuple[dict[Slot, int], list[Slot]]:
        given, lasting = super()._further(main, rest, result, others, slopes)
        weights = slopes.of(result)[0].memory
        assert weights is not None
        self.weights = weights
        return given, [*lasting, *(slot for step in main for slot in (step.out, *step.slots))]
