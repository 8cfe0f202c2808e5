"""The potential: energies, forces and virials from generated kernels.

    elements -> [ radial table -> edge convolution -> mixing -> product basis -> linear + residual ] x layers
             -> readouts -> scale and shift per element -> energy; forces and virial by differentiation

Source: docs/theory.md, section 5; Zaverkin et al. 2024 (arXiv:2405.14253).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import Graph
from cartalg.inference import Engine, Watch
from cartalg.nn.heads import TensorHead
from cartalg.nn.interaction import EdgeConvolution, Interaction, ProductBasis, Residual
from cartalg.nn.nonlinear import Gate, RMSNorm
from cartalg.nn.repulsion import zbl_energy
from cartalg.ops import Edges, open_kernels
from cartalg.ops.functions import resolve
from cartalg.symbolic.coupling import irreps_up_to
from cartalg.symbolic.irreps import Irrep


@dataclass(frozen=True)
class Prediction:
    """What the model says of a batch.

    Attributes:
        energy: eV, float64, shape [frames].
        atomic_energies: eV, float64, shape [atoms].
        forces: eV/angstrom, shape [atoms, 3]; None if not asked for.
        virial: Strain derivative dE/d(strain) in eV, shape [frames, 3, 3]; None if not asked for.
        properties: Tensors by name, [frames, 3, ..] or, if atomic, [atoms, 3, ..], in the units of the training data.
    """

    energy: Tensor
    atomic_energies: Tensor
    forces: Tensor | None = None
    virial: Tensor | None = None
    properties: dict[str, Tensor] = field(default_factory=dict)


class Potential(nn.Module):
    """Message-passing potential on irreducible Cartesian tensors.

    On a CPU, predictions that are not for training run without autograd, as kernel calls alone: `cartalg.inference`.

    Args:
        config: The architecture.
        elements: Chemical symbols the model knows.
        shifts: Energy of each element in eV, shape [elements].
        scale: Energy scale of the network's output in eV.
        mean_neighbours: Average number of neighbours of an atom.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
    Raises:
        KernelNotFound: If the kernel set lacks a kernel that the architecture needs.
        ValueError: If an element is unknown or listed twice.
    """

    shifts: Tensor
    numbers: Tensor
    radii: Tensor

    def __init__(
        self,
        config: ModelConfig,
        elements: tuple[str, ...],
        shifts: Tensor | None = None,
        scale: float = 1.0,
        mean_neighbours: float = 10.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        unknown = [e for e in elements if e not in atomic_numbers]
        if unknown or len(set(elements)) != len(elements) or not elements:
            raise ValueError(f"elements must be distinct chemical symbols, got {list(elements)}")
        self.config, self.elements, self.backend = config, tuple(elements), backend
        self.scale, self.mean_neighbours = float(scale), float(mean_neighbours)
        kernels = open_kernels(config.kernels)
        self.kernels = kernels
        count, channels, full = len(elements), config.channels, config.parity == "full"
        latent = config.latent_channels or channels
        self.register_buffer("shifts", torch.zeros(count, dtype=torch.float64) if shifts is None else shifts.double())
        numbers = [atomic_numbers[e] for e in elements]
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
        self.register_buffer("radii", torch.tensor(covalent_radii[numbers], dtype=torch.float64), persistent=False)
        self.embedding = nn.Parameter(torch.randn(count, channels))
        radial = (config.cutoff, config.n_bessel, config.radial_hidden, config.knots)
        self.interactions = nn.ModuleList()
        self.readouts = nn.ParameterList()
        outputs: list[tuple[Irrep, ...]] = []
        incoming = irreps_up_to(0)
        features = irreps_up_to(config.edge_rank, full)
        for convolution_name, product_name in config.kernel_specs():
            own = count if config.element_weights else 1
            product = ProductBasis(kernels, product_name, own, latent, channels)
            convolution = EdgeConvolution(
                kernels, convolution_name, channels, latent, features, radial, mean_neighbours
            )
            after: list[nn.Module] = []
            if len(self.interactions) < config.layers - 1:  # between layers
                after += [RMSNorm(product.outputs, channels, config.kernels, backend)] if config.norm else []
                after += [Gate(product.outputs, channels)] if config.gate else []
            residual = Residual(incoming, product.outputs, count, channels)
            self.interactions.append(Interaction(convolution, product, residual, after))
            self.readouts.append(nn.Parameter(torch.randn(channels)))
            incoming = product.outputs
            outputs.append(product.outputs)
        self.last_readout = nn.Sequential(
            nn.Linear(channels, config.readout_hidden), nn.SiLU(), nn.Linear(config.readout_hidden, 1)
        )
        self.heads = nn.ModuleDict(
            {p.name: TensorHead(p.tensor, outputs, channels, count, kernels, backend) for p in config.properties}
        )
        self._engine: Engine | None = None
        self._watch: Watch | None = None
        self.to(getattr(torch, config.dtype))
        self.shifts = self.shifts.double()

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return self.embedding.dtype

    def features(self, graph: Graph, vectors: Tensor) -> list[Tensor]:
        """Features of every layer, [atoms, components, channels], from edge vectors [edges, 3] in angstrom."""
        h, found = self.embedding[graph.species][:, None, :], []
        direct = self.config.radial_mode == "direct"
        for interaction in self.interactions:
            h = interaction(graph.species, h, graph.edges, vectors, self.backend, direct)
            found.append(h)
        return found

    def energies(self, graph: Graph, vectors: Tensor, features: list[Tensor] | None = None) -> Tensor:
        """Energy of each atom in eV, float64 [atoms], differentiable to the edge vectors [edges, 3] in angstrom."""
        features = self.features(graph, vectors) if features is None else features
        total = vectors.new_zeros(len(graph.species))
        for h, readout in zip(features, self.readouts, strict=True):
            total = total + h[:, 0] @ readout / self.config.channels**0.5
        total = self._with_shifts(graph, total + self.last_readout(features[-1][:, 0])[:, 0])
        return total + self._repulsion(graph, vectors) if self.config.zbl else total

    def properties(self, graph: Graph, features: list[Tensor]) -> dict[str, Tensor]:
        """Tensor properties by name: of atoms, or summed over each frame."""
        found = {}
        for wanted in self.config.properties:
            values = self.heads[wanted.name](graph.species, features)
            if wanted.per == "frame":
                values = values.new_zeros(graph.n_frames, *values.shape[1:]).index_add(0, graph.frame, values)
            found[wanted.name] = values
        return found

    def _repulsion(self, graph: Graph, vectors: Tensor) -> Tensor:
        return zbl_energy(graph, vectors, self.numbers, self.radii)

    def forward(
        self,
        graph: Graph,
        forces: bool = True,
        virial: bool = False,
        training: bool = False,
        properties: bool = False,
    ) -> Prediction:
        """Predict a batch.

        Args:
            graph: A batch of frames.
            forces: Ask for forces.
            virial: Ask for the strain derivative of the energy; divide by the cell volume for the stress.
            training: Keep the graph, so that a loss on forces can be differentiated.
            properties: Ask for the tensor properties that the model has heads for.
        """
        wanted = forces or virial
        if not training and self._engine_serves(graph):
            self._watch = self._watch or Watch(self)
            if self._watch.changed() or self._engine is None:
                layers = [(i, r) for i, r in zip(self.interactions, self.readouts, strict=True)]
                self._engine = Engine(self.kernels, self.embedding, layers, self.last_readout)  # type: ignore[arg-type]
            network, d_network = self._engine(graph, wanted)
            d_vectors = None if d_network is None else self.scale * d_network
            atomic = self._with_shifts(graph, network)
            if self.config.zbl:
                with torch.enable_grad():
                    leaf = graph.vectors.detach().requires_grad_()
                    repulsion = self._repulsion(graph, leaf)
                    (push,) = torch.autograd.grad(repulsion.sum(), leaf)
                atomic = atomic + repulsion.detach()
                d_vectors = None if d_vectors is None else d_vectors + push.to(d_vectors.dtype)
            found = self._prediction(graph, atomic, d_vectors, forces, virial)
            if properties and self.config.properties:
                with torch.no_grad():
                    tensors = self.properties(graph, self.features(graph, graph.vectors.to(self.dtype)))
                found = replace(found, properties=tensors)
            return found
        vectors = graph.vectors.to(self.dtype).detach()  # a leaf of its own: the graph is shared
        with torch.set_grad_enabled(wanted or training):
            if wanted:
                vectors.requires_grad_()
            features = self.features(graph, vectors)
            atomic = self.energies(graph, vectors, features)
            tensors = self.properties(graph, features) if properties else {}
            slope = torch.autograd.grad(atomic.sum(), vectors, create_graph=training)[0] if wanted else None
        if not training:
            atomic, tensors = atomic.detach(), {name: value.detach() for name, value in tensors.items()}
        return replace(self._prediction(graph, atomic, slope, forces, virial), properties=tensors)

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
        count, edges = 3 * len(graph.species), graph.edges
        vectors = graph.vectors.to(self.dtype).detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.energies(graph, vectors).sum(), vectors, create_graph=True)
        gradient = -self._to_atoms(slope, edges).flatten()
        rows = vectors.new_zeros(count, count, dtype=torch.float64)
        for place in range(count):
            if gradient.requires_grad:  # without edges there is nothing to differentiate
                (second,) = torch.autograd.grad(gradient[place], vectors, retain_graph=True)
                rows[place] = -self._to_atoms(second, edges).flatten()
            if progress:
                progress(place + 1, count)
        return rows

    @staticmethod
    def _to_atoms(slope: Tensor, edges: Edges) -> Tensor:
        """Minus the derivative with respect to positions, from that with respect to edge vectors: [atoms, 3]."""
        total = slope.new_zeros(len(edges.col_ptr) - 1, 3)
        return total.index_add(0, edges.receiver, slope).index_add(0, edges.sender, slope, alpha=-1)

    def _engine_serves(self, graph: Graph) -> bool:
        """Whether the engine computes this model: Numba kernels, tabulated radial weights, nothing between layers."""
        numba = not resolve(self.backend, self.embedding, graph.vectors).autograd
        plain = self.config.radial_mode == "table" and not (self.config.gate or self.config.norm)
        return numba and plain

    def _with_shifts(self, graph: Graph, network: Tensor) -> Tensor:
        return self.scale * network.double() + self.shifts[graph.species]

    @staticmethod
    def _prediction(graph: Graph, atomic: Tensor, slope: Tensor | None, forces: bool, virial: bool) -> Prediction:
        """Sum over frames, atoms and edges; `slope` is dE/d(edge vectors)."""
        energy = atomic.new_zeros(graph.n_frames).index_add(0, graph.frame, atomic)
        force = strain = None
        if forces and slope is not None:
            force = Potential._to_atoms(slope, graph.edges)
        if virial and slope is not None:
            outer = graph.vectors.to(slope.dtype)[:, :, None] * slope[:, None, :]
            outer = (outer + outer.transpose(1, 2)) / 2
            strain = slope.new_zeros(graph.n_frames, 3, 3).index_add(0, graph.frame[graph.edges.receiver], outer)
        return Prediction(energy, atomic, force, strain)

    def __getstate__(self) -> dict[str, Any]:
        """A copy binds an engine of its own."""
        return {**self.__dict__, "_engine": None, "_watch": None}

    def description(self) -> dict[str, Any]:
        """Everything but the weights: what a checkpoint's JSON holds."""
        return {
            "config": self.config.model_dump(mode="json"),
            "elements": list(self.elements),
            "scale": self.scale,
            "mean_neighbours": self.mean_neighbours,
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
        )
