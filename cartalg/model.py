"""The potential: energies, forces and virials from generated kernels.

    elements -> [ radial table -> edge convolution -> mixing -> product basis -> linear + residual ] x layers
             -> readouts -> scale and shift per element -> energy; forces and virial by differentiation

Source: docs/theory.md, section 5; Zaverkin et al. 2024 (arXiv:2405.14253).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn
from torch.nn import functional

from cartalg.architecture import ModelConfig
from cartalg.chunks import Chunks
from cartalg.data.graphs import Graph
from cartalg.inference import Engine, Watch
from cartalg.learning import Learner
from cartalg.nn.exchange import gathered
from cartalg.nn.heads import heads
from cartalg.nn.interaction import interaction
from cartalg.nn.operations import cast, invariants
from cartalg.nn.pairs import ElementPairs
from cartalg.nn.readout import LastReadout, LinearReadouts, atomic_energies
from cartalg.nn.repulsion import pair_terms
from cartalg.nn.training import NotPlanned
from cartalg.nn.values import Value, given
from cartalg.ops import Edges, open_kernels
from cartalg.ops.functions import resolve
from cartalg.symbolic.irreps import Irreps

#: Radial functions are held from this part of the shortest distance in the training data on.
HELD = 0.9
#: What describes atoms, among results that have names of properties.
DESCRIPTORS = "<descriptors>"
#: Atoms of a chunk, by default: where memory begins to count, for smaller ones are about as fast on one thread alone.
CHUNK = 20_000


@dataclass(frozen=True)
class Prediction:
    """What the model says of a batch.

    Attributes:
        energy: eV, float64, shape [frames].
        atomic_energies: eV, float64, shape [atoms].
        forces: eV/angstrom, shape [atoms, 3]; None if not asked for.
        virial: Strain derivative dE/d(strain) in eV, shape [frames, 3, 3]; None if not asked for.
        edge_forces: -dE/d(edge vectors) in eV/angstrom, [edges, 3]: of an edge i <- j on j, and its negative on i; None
            if not asked for.
        properties: Tensors by name, [frames, 3, ..] or, if atomic, [atoms, 3, ..], in the units of the training data.
        descriptors: Invariant features of every layer, [atoms, layers, channels]; None if not asked for.
    """

    energy: Tensor
    atomic_energies: Tensor
    forces: Tensor | None = None
    virial: Tensor | None = None
    edge_forces: Tensor | None = None
    properties: dict[str, Tensor] = field(default_factory=dict)
    descriptors: Tensor | None = None


class Potential(nn.Module):
    """Message-passing potential on irreducible Cartesian tensors.

    On a CPU, predictions that are not for training run without autograd, as kernel calls alone: `cartalg.inference`.

    Args:
        config: The architecture.
        elements: Chemical symbols the model knows.
        shifts: Energy of each element in eV, shape [elements].
        scale: Energy scale of the network's output in eV.
        mean_neighbours: Average number of neighbours of an atom.
        shortest: Shortest distance of each pair of elements in the training data, in angstrom, under ``"C-H"``, symbols
            by the alphabet. Below 0.9 of the shortest of all, radial functions stay as they are there, and the
            repulsion of nuclei, if there is one, reaches at least to a pair's own.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.

    Attributes:
        chunk: More atoms than this are predicted in chunks of so many (`cartalg.chunks`); None for all at once.
    Raises:
        KernelNotFound: If the kernel set lacks a kernel that the architecture needs.
        ValueError: If an element is unknown or listed twice.
    """

    shifts: Tensor

    def __init__(
        self,
        config: ModelConfig,
        elements: tuple[str, ...],
        shifts: Tensor | None = None,
        scale: float = 1.0,
        mean_neighbours: float = 10.0,
        backend: str = "auto",
        shortest: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        unknown = [e for e in elements if e not in atomic_numbers]
        if unknown or len(set(elements)) != len(elements) or not elements:
            raise ValueError(f"elements must be distinct chemical symbols, got {list(elements)}")
        self.config, self.elements, self.backend = config, tuple(elements), backend
        self.scale, self.mean_neighbours, self.shortest = float(scale), float(mean_neighbours), dict(shortest or {})
        kernels, count, channels = open_kernels(config.kernels), len(elements), config.channels
        self.kernels = kernels
        self.register_buffer("shifts", torch.zeros(count, dtype=torch.float64) if shifts is None else shifts.double())
        self.embedding = nn.Parameter(torch.randn(count, channels))
        self.interactions = nn.ModuleList()
        self.readouts = LinearReadouts(kernels)
        linear = {"inner": config.layers - 1, "last": 0}.get(config.readouts, config.layers)
        irreps, core = [Irreps("0e")], HELD * min(self.shortest.values(), default=0.0)
        for layer in range(config.layers):
            made = interaction(config, layer, irreps[-1], count, kernels, backend, mean_neighbours, core)
            self.interactions.append(made)
            if layer < linear:
                self.readouts.append(channels)
            irreps.append(made.outputs)
        self.last_readout: LastReadout | None = None
        if config.readouts != "linear":
            self.last_readout = LastReadout(kernels, channels, config.readout_hidden, config.readouts == "all")
        self.heads = heads(config, irreps[1:], count, kernels, backend)
        self.pair_terms = pair_terms(config, elements, self.scale, self.shortest, backend)
        self.pairs = ElementPairs(elements) if config.distance_transform != "none" else None
        self.chunk: int | None = CHUNK
        self._engine: Engine | Chunks | None = None
        self._watch: Watch | None = None
        self._describes = False
        self._learner: Learner | None = Learner(self._outputs, self, self._tables)
        self._lock = Lock()  # an engine's buffers hold one graph
        self.to(getattr(torch, config.dtype))
        self.shifts = self.shifts.double()

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return self.embedding.dtype

    def features(self, graph: Graph, vectors: Value) -> list[Value]:
        """Features of every layer, [atoms, components, channels], from edge vectors [edges, 3] in angstrom."""
        h: Any = given(vectors, lambda: self.embedding.index_select(0, graph.of_atoms.clone())[:, None, :])
        found: list[Any] = []
        vectors, pairs = cast(vectors, self.dtype), self.pairs and self.pairs.of(graph)
        for layer in self.interactions:
            h = layer(graph.of_atoms, h, graph.edges, vectors, pairs)
            found.append(h)
        return found

    def energies(self, graph: Graph, vectors: Value, features: list[Value] | None = None) -> Value:
        """Energy of each atom in eV, float64 [atoms], differentiable to the edge vectors [edges, 3] in angstrom."""
        features = self.features(graph, vectors) if features is None else features
        network = self.readouts(features, self.last_readout(features[-1]) if self.last_readout is not None else None)
        double = cast(vectors, torch.float64)
        terms = [term(graph.species, graph.edges, double) for term in self.pair_terms]
        return atomic_energies(
            network, self.scale, given(vectors, lambda: self.shifts.index_select(0, graph.of_atoms)), *terms
        )

    def tensors(self, graph: Graph, features: list[Value]) -> dict[str, Value]:
        """Tensors of each atom that the model has heads for, by name: [atoms, 3^n, 1], row-major."""
        return {name: head(graph.of_atoms, features) for name, head in self.heads.items()}

    def _outputs(self, graph: Graph, vectors: Value) -> tuple[Value, dict[str, Value]]:
        """All of the above."""
        features = self.features(graph, vectors)
        return self.energies(graph, vectors, features), self.tensors(graph, features)

    def _described(self, graph: Graph, vectors: Value) -> tuple[Value, dict[str, Value]]:
        """The same and descriptors."""
        features = self.features(graph, vectors)
        others = self.tensors(graph, features)
        return self.energies(graph, vectors, features), others | {DESCRIPTORS: invariants(features)}

    def _engine_for(self, graph: Graph, describe: bool) -> Engine | Chunks:
        """What runs predictions: bound anew if parameters have changed, or at the first call for descriptors."""
        self._watch = self._watch or Watch(self)
        if describe and not self._describes:
            self._describes, self._engine = True, None
        network = self._described if self._describes else self._outputs
        size = self.chunk if self.chunk and graph.edges.receivers > self.chunk else None
        if self._watch.changed() or self._engine is None or self._engine.size != size:
            engine = Chunks(network, size, self._tables) if size else Engine(network, self._tables)
            self._engine = engine
        return self._engine

    def _tables(self, graph: Graph) -> int:
        """Radial tables that a graph needs, where there is one for each pair of elements."""
        return self.pairs.room(graph) if self.pairs else 0

    def forward(
        self,
        graph: Graph,
        forces: bool = True,
        virial: bool = False,
        training: bool = False,
        properties: bool = False,
        edge_forces: bool = False,
        descriptors: bool = False,
    ) -> Prediction:
        """Predict a batch.

        Args:
            graph: A batch of frames.
            forces: Ask for forces.
            virial: Ask for the strain derivative of the energy; divide by the cell volume for the stress.
            training: Keep the graph, so that a loss on forces can be differentiated.
            properties: Ask for the tensor properties that the model has heads for.
            edge_forces: Ask for forces along edges.
            descriptors: Ask for what describes atoms; not in training.
        """
        wanted = forces or virial or edge_forces
        asked = forces, virial, edge_forces
        planned = not resolve(self.backend, self.embedding, graph.vectors).autograd
        if planned and not training:
            with self._lock:
                others = properties or descriptors
                atomic, slope, tensors = self._engine_for(graph, descriptors)(graph, wanted, others)
                described = tensors.pop(DESCRIPTORS).clone() if descriptors else None
                return self._prediction(graph, atomic.clone(), slope, tensors, asked, described)
        if planned and self._learner:
            try:
                atomic, slope, tensors = self._learner(graph, properties)
                return self._prediction(graph, atomic, slope if wanted else None, tensors, asked)
            except NotPlanned:  # layers of a user's own: autograd does it
                self._learner = None
        vectors = graph.vectors.to(self.dtype).detach()  # a leaf of its own: the graph is shared
        with torch.set_grad_enabled(wanted or training):
            vectors.requires_grad_(wanted)
            features = self.features(graph, vectors)
            atomic = self.energies(graph, vectors, features)
            tensors = self.tensors(graph, features) if properties else {}
            slope = torch.autograd.grad(atomic.sum(), vectors, create_graph=training)[0] if wanted else None
        if not training:
            atomic, tensors = atomic.detach(), {name: value.detach() for name, value in tensors.items()}
        described = invariants(features).detach() if descriptors else None
        return self._prediction(graph, atomic, slope, tensors, asked, described)

    def hessian(self, graph: Graph, progress: Callable[[int, int], None] | None = None) -> Tensor:
        """Second derivatives of the energy with respect to positions, exact: one backward pass a coordinate.

        Args:
            graph: One frame.
            progress: Called with (coordinates done, coordinates in all).
        Returns:
            eV/angstrom^2, shape [3 atoms, 3 atoms], float64, symmetric to rounding.
        Raises:
            ValueError: If the graph holds several frames.
        """
        if graph.n_frames != 1:
            raise ValueError(f"a Hessian is of one frame, got a batch of {graph.n_frames}")
        count, edges = 3 * graph.edges.receivers, graph.edges
        vectors = graph.vectors.to(self.dtype).detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.energies(graph, vectors).sum(), vectors, create_graph=True)
        gradient = -self.to_atoms(slope, edges).flatten()
        rows = vectors.new_zeros(count, count, dtype=torch.float64)
        for place in range(count):
            if gradient.requires_grad:  # without edges there is nothing to differentiate
                (second,) = torch.autograd.grad(gradient[place], vectors, retain_graph=True)
                rows[place] = -self.to_atoms(second, edges).flatten()
            if progress:
                progress(place + 1, count)
        return rows

    @staticmethod
    def to_atoms(slope: Tensor, edges: Edges) -> Tensor:
        """Minus the derivative with respect to positions, from that with respect to edge vectors: [atoms, 3]."""
        received = torch.segment_reduce(slope, "sum", offsets=edges.row_ptr, axis=0)
        sent = gathered(
            torch.segment_reduce(slope.index_select(0, edges.col_edge), "sum", offsets=edges.col_ptr, axis=0), edges
        )
        return received - sent

    def _prediction(
        self,
        graph: Graph,
        atomic: Tensor,
        slope: Tensor | None,
        tensors: dict[str, Tensor],
        asked: tuple[bool, bool, bool],
        described: Tensor | None = None,
    ) -> Prediction:
        """Sum over frames, atoms and edges.

        Args:
            graph: The batch.
            atomic, slope, tensors: Energies of atoms, dE/d(edge vectors), and tensors of atoms.
            asked: For forces, the virial, and forces along edges.
            described: Descriptors.
        """
        forces, virial, edge_forces = asked
        energy = atomic.new_zeros(graph.n_frames).index_add(0, graph.frame, atomic)
        force = strain = None
        if forces and slope is not None:
            force = self.to_atoms(slope, graph.edges).to(self.dtype)
        if virial and slope is not None:
            pairs = [graph.vectors.to(slope.dtype)], [slope]
            if graph.n_frames > 1:
                starts = graph.edges.row_ptr[functional.pad(graph.atoms_per_frame.cumsum(0), (1, 0))]
                pairs = tuple(of[0].split(starts.diff().tolist()) for of in pairs)
            strain = torch.stack([vectors.T @ of_frame for vectors, of_frame in zip(*pairs, strict=True)])
            strain = (strain + strain.transpose(1, 2)) / 2
            strain = strain.to(self.dtype)
        found = {}
        for wanted in self.config.properties if tensors else ():
            value = tensors[wanted.name].reshape(-1, *[3] * wanted.order)
            sums = value.new_zeros(graph.n_frames, *value.shape[1:])
            found[wanted.name] = sums.index_add(0, graph.frame, value) if wanted.per == "frame" else value.clone()
        pushes = -slope if edge_forces and slope is not None else None
        return Prediction(energy, atomic, force, strain, pushes, found, described)

    def __getstate__(self) -> dict[str, Any]:
        """A copy binds an engine of its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"} | {
            "_engine": None,
            "_watch": None,
            "_learner": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock, self._learner = Lock(), Learner(self._outputs, self, self._tables)

    def description(self) -> dict[str, Any]:
        """Everything but the weights: what a checkpoint's JSON holds."""
        return {
            "config": self.config.model_dump(mode="json"),
            "elements": list(self.elements),
            "scale": self.scale,
            "mean_neighbours": self.mean_neighbours,
            "shortest": self.shortest,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any], backend: str = "auto") -> "Potential":
        """The model a description stands for, weights not loaded."""
        return cls(
            ModelConfig(**description["config"]),
            tuple(description["elements"]),
            scale=description["scale"],
            mean_neighbours=description["mean_neighbours"],
            backend=backend,
            shortest=description.get("shortest"),  # older files have none
        )
