"""TorchSim: a trained potential as a model of it, for many systems at once (extra ``cartalg[torchsim]``)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cartalg.data.graphs import collate
from cartalg.extras import require
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential
from cartalg.train.checkpoint import load_model

require("torchsim", "cartalg.interfaces.torchsim")

import torch_sim  # noqa: E402
from torch_sim.models.interface import ModelInterface  # noqa: E402


class CartalgModel(ModelInterface):  # type: ignore[misc]
    """Energies, forces and stresses of the systems of a TorchSim state, side by side in one batch.

    The neighbour list of each system is searched to cutoff + skin and kept, as the ASE calculator does.

    Args:
        model: A potential, a model file or the folder of a training run.
        dtype: Of the results, and of states that TorchSim makes; the potential computes in its own precision.
        skin: In angstrom; 0 searches in every step.
        compute_forces, compute_stress: Whether the results have them. Of open systems the stress is 0.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
    Raises:
        FileNotFoundError, CheckpointError: If the model cannot be read.
        DataError: When called, for an unknown element, overlapping atoms or a singular cell; it names the system.
    """

    def __init__(
        self,
        model: Potential | str | Path,
        dtype: torch.dtype = torch.float64,
        skin: float = 0.5,
        compute_forces: bool = True,
        compute_stress: bool = True,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.potential = model if isinstance(model, Potential) else load_model(model, backend)
        self._device, self._dtype, self._skin = self.potential.embedding.device, dtype, skin
        self._compute_forces, self._compute_stress = compute_forces, compute_stress
        self._lists: list[CartalgCalculator] = []

    @ModelInterface.compute_forces.setter  # type: ignore[untyped-decorator]
    def compute_forces(self, value: bool) -> None:
        """Set whether results have forces."""
        self._compute_forces = value

    @ModelInterface.compute_stress.setter  # type: ignore[untyped-decorator]
    def compute_stress(self, value: bool) -> None:
        """Set whether results have stresses."""
        self._compute_stress = value

    def forward(self, state: torch_sim.SimState | dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """Compute a state.

        Args:
            state: Systems one after the other, or a dictionary that one can be made of.
        Returns:
            ``energy`` in eV [systems], and ``forces`` in eV/angstrom [atoms, 3], ``stress`` in eV/angstrom^3 with
            tension positive [systems, 3, 3], where asked for; further tensors that the model predicts, by name.
        """
        state = state if isinstance(state, torch_sim.SimState) else torch_sim.SimState(**state)
        frames = torch_sim.io.state_to_atoms(state)
        self._lists += [CartalgCalculator(self.potential, self._skin) for _ in frames[len(self._lists) :]]
        pairs = enumerate(zip(self._lists, frames, strict=False))  # there may be fewer than there were
        graph = collate([known.graph_of(atoms, f"system {number}") for number, (known, atoms) in pairs])
        said = self.potential(graph, forces=self.compute_forces, virial=self.compute_stress, properties=True)
        found = {"energy": said.energy, **said.properties}
        if said.forces is not None:
            found["forces"] = said.forces
        if said.virial is not None:
            found["stress"] = (said.virial / graph.volume[:, None, None]).nan_to_num()
        return {name: value.detach().to(state.positions) for name, value in found.items()}
