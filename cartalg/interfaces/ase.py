"""ASE calculator: ``atoms.calc = CartalgCalculator("RUN")``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.geometry import complete_cell
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress

from cartalg.data.graphs import Graph, Pairs, build_graph, find_pairs, move_graph
from cartalg.flow import Flow, Flows, pair_virials
from cartalg.model import Potential, Prediction
from cartalg.quantities import QUANTITIES, Quantity, request
from cartalg.train.checkpoint import CheckpointError
from cartalg.uncertainty.committee import Predictor


def _results(prediction: Prediction, graph: Graph, quantities: Sequence[Quantity]) -> dict[str, np.ndarray[Any, Any]]:
    """What one model says of a single frame, under ASE's names."""
    found = {"energies": prediction.atomic_energies.detach().numpy()}
    for quantity in quantities:
        predicted = quantity.predicted(prediction, graph)
        if predicted is None:  # a row of the table that this model has no head for
            continue
        values = predicted.detach().double().numpy()
        values = values if quantity.atomic else values[0]
        found[quantity.name] = full_3x3_to_voigt_6_stress(values) if quantity.symmetric else values
    if prediction.edge_forces is not None:
        of_atoms = pair_virials(graph, prediction.edge_forces.detach().double()) / graph.volume
        found["stresses"] = full_3x3_to_voigt_6_stress(of_atoms.numpy())
    return found


class CartalgCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces, stress and per-atom energies of a trained potential, or the means of a committee of them.

    Units are ASE's: eV, eV/angstrom, eV/angstrom^3 with tension positive. The neighbour list is searched to cutoff +
    skin and kept while no pair can have come within the cutoff unseen, also when the cell changes. With a committee,
    `results` holds standard deviations over its members as well: ``energy_std``, ``forces_std`` [atoms, 3] and, in a
    periodic cell, ``stress_std``, scaled if the run's folder says how they compare with errors.

    One model says how wrong it may be if `cartalg train` or `cartalg uncertainty` has measured that: asked for by name,
    as in ``calc.get_property("forces_std", atoms)``, or with ``uncertainty=True`` in every calculation, `results` have
    ``grades`` (extrapolation grade of each atom: 1 is the farthest in the training data), ``grade`` (the largest),
    ``energy_std``, ``energies_std`` and ``forces_std`` [atoms, 3]. Grades are given of a committee as well.

    ``stresses`` of atoms share each edge's part of the stress between its two atoms, and sum to it. They do not give
    the flow of heat: `get_heat_flux` and `get_centroid_virials` do.

    Tensor properties that the model has heads for are in `results` under their names, in the units of their labels: one
    called ``dipole`` is what ASE's own method returns.

    A calculator is for one thread at a time; calculators of several threads may share a `Potential`. Copies, deep or
    pickled, compute the same.

    Args:
        model: A potential, a model file or the folder of a training run (of a committee, too), or a list of such.
        skin: In angstrom; 0 searches in every step.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        trust_kernels: As in `cartalg.train.checkpoint.load_model`.
        uncertainty: Whether to give it in every calculation.
    Raises:
        FileNotFoundError, CheckpointError, UntrustedKernels: If the model cannot be read, or if nothing says how wrong
            it may be and that is asked for.
        DataError: On calculation, for an unknown element, overlapping atoms or a singular cell.
        PropertyNotImplementedError: If a stress is asked of a system that is not periodic along all three axes.
    """

    implemented_properties: ClassVar[list[str]] = [*(q.name for q in QUANTITIES), "free_energy", "energies", "stresses"]

    def __init__(
        self,
        model: Potential | str | Path | Sequence[Potential | str | Path],
        skin: float = 0.5,
        backend: str = "auto",
        trust_kernels: bool = False,
        uncertainty: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(skin=skin, **kwargs)
        every: Sequence[Any] = model if isinstance(model, list | tuple) else [model]
        found = [
            Predictor([one], [None]) if isinstance(one, Potential) else Predictor.open(one, backend, trust_kernels)
            for one in every
        ]
        self.models: list[Potential] = [m for predictor in found for m in predictor.models]
        self.measures = [measure for predictor in found for measure in predictor.measures]
        self.factors = found[0].factors if len(found) == 1 else {}
        if not self.models:
            raise ValueError("a calculator needs at least one model")
        self.model = self.models[0]
        if any((m.elements, m.config.cutoff) != (self.model.elements, self.model.config.cutoff) for m in self.models):
            raise ValueError("the models of a committee must know the same elements and have one cutoff")
        self.uncertainty, graded = uncertainty, all(self.measures)
        if uncertainty and not graded:
            raise CheckpointError(
                "nothing says how wrong this model may be: run `cartalg uncertainty` with its training frames"
            )
        self.uncertain = ["grade", "grades"] if graded else []  # what is computed only if it is asked for
        if graded and len(self.models) == 1 and self.measures[0] is not None:
            self.uncertain += [f"{name}_std" for name in self.measures[0].known]
        spreads = ["energy_std", "forces_std"] if len(self.models) > 1 else []
        tensors = [q.name for q in self.model.config.quantities if q.name not in self.implemented_properties]
        self.implemented_properties = [*type(self).implemented_properties, *tensors, *self.uncertain, *spreads]  # type: ignore[misc]
        self.searches = 0
        self.graph: Graph | None = None  # of the last calculation
        self._known: tuple[Atoms, Pairs, Graph] | None = None
        self._flows: dict[torch.dtype | None, list[Flows]] = {}

    @property
    def skin(self) -> float:
        """Of the neighbour list, in angstrom."""
        return float(self.parameters["skin"])

    def set(self, **changes: Any) -> dict[str, Any]:
        """Change the skin, in angstrom; ASE's way. Returns what has changed.

        Raises:
            TypeError: For anything else.
            ValueError: For a skin below 0.
        """
        unknown = changes.keys() - {"skin"}
        if unknown:
            raise TypeError(f"a CartalgCalculator has no parameter {', '.join(sorted(unknown))}; it has skin")
        if changes.get("skin", 0) < 0:
            raise ValueError(f"skin must not be negative, got {changes['skin']}")
        changed = super().set(**changes)
        if changed:
            self._known = None
        return changed  # type: ignore[no-any-return]

    def export_properties(self) -> Properties:
        """The results that ASE has a name for."""
        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    def _get_name(self) -> str:
        return "cartalg"

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What has changed since the last calculation, of all that results depend on: exactly, whatever `tol`.

        ASE's own comparison, of charges and magnetic moments too, takes up to half a millisecond a step.
        """
        if self.atoms is None:
            return list(all_changes)
        known = ("positions", "numbers", "cell", "pbc")
        return [name for name in known if not np.array_equal(getattr(self.atoms, name), getattr(atoms, name))]

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Compute what is asked for; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        system = self.atoms
        periodic = bool(np.all(system.pbc))
        asked = properties or ()
        for name in ("stresses", *(q.name for q in self.model.config.quantities if q.per_volume)):
            if name in asked and not periodic:
                raise PropertyNotImplementedError(
                    f"{name} needs a cell that is periodic along all three axes; pbc is {system.pbc.tolist()}"
                )
        self.graph = graph = self.graph_of(system)
        found: list[dict[str, Any]] = []
        doubted = self.uncertainty or any(name in asked for name in self.uncertain)
        spreads = []
        for model, measure in zip(self.models, self.measures, strict=True):
            wanted = [q for q in model.config.quantities if periodic or not q.per_volume]
            said = model(graph, **request(wanted), edge_forces="stresses" in asked, descriptors=doubted)
            found.append(_results(said, graph, wanted))
            if doubted and measure is not None:
                spreads.append(measure.spread(graph, said))
        alone = len(found) == 1
        self.results = found[0] if alone else {name: np.mean([f[name] for f in found], axis=0) for name in found[0]}
        self.results["energy"] = self.results["free_energy"] = float(self.results["energy"])
        if not alone:
            for name in found[0].keys() - {"energies", "stresses"}:
                self.results[f"{name}_std"] = self.factors.get(name, 1.0) * np.std([f[name] for f in found], axis=0)
        if spreads:
            self.results["grades"] = np.mean([s.grades.numpy() for s in spreads if s.grades is not None], axis=0)
            self.results["grade"] = float(self.results["grades"].max(initial=0.0))
        for spread in spreads if alone else ():
            if spread.energies is not None:
                self.results["energies_std"] = spread.energies.numpy()
                self.results["energy_std"] = float(spread.energies.sum())
            if spread.forces is not None:
                self.results["forces_std"] = np.repeat(spread.forces.numpy()[:, None], 3, axis=1)

    def get_hessian(self, atoms: Atoms) -> np.ndarray[Any, Any]:
        """Exact second derivatives of the energy in eV/angstrom^2, [3 atoms, 3 atoms]; a committee's mean.

        `ase.vibrations.VibrationsData.from_2d(atoms, calc.get_hessian(atoms))` gives modes and frequencies.

        Raises:
            DataError: As a calculation does.
        """
        graph = self.graph_of(atoms)
        return np.mean([model.hessian(graph).numpy() for model in self.models], axis=0)  # type: ignore[no-any-return]

    def get_centroid_virials(self, atoms: Atoms, dtype: torch.dtype | None = None) -> np.ndarray[Any, Any]:
        """Of each atom i, the sum over atoms j of (r_i - r_j) dU_j/dr_i in eV, [atoms, 3, 3]; a committee's mean.

        Their sum is the stress times the volume. Source: docs/theory.md, eq. 59.

        Args:
            atoms: Periodic or not.
            dtype: To compute in, such as ``torch.float64``; by default the model's.
        Raises:
            DataError: As a calculation does.
        """
        return np.mean([flow.centroid.numpy() for flow in self._flow(atoms, dtype)], axis=0)  # type: ignore[no-any-return]

    def get_heat_flux(self, atoms: Atoms, dtype: torch.dtype | None = None) -> np.ndarray[Any, Any]:
        """Heat flux and its convective part, eV angstrom over ASE's unit of time, [2, 3]; a committee's mean.

        Neither is divided by the volume. Energies of single atoms are in it as they are: where elements move against
        each other, take the flow of their enthalpies into account. Source: docs/theory.md, eq. 59.

        Args:
            atoms: With momenta, periodic or not.
            dtype: As in `get_centroid_virials`.
        Raises:
            DataError: As a calculation does.
        """
        velocities, masses = (torch.from_numpy(of) for of in (atoms.get_velocities(), atoms.get_masses()))
        fluxes = [flow.heat_flux(velocities, masses) for flow in self._flow(atoms, dtype)]
        return np.mean([[part.sum(0).numpy() for part in flux] for flux in fluxes], axis=0)  # type: ignore[no-any-return]

    def _flow(self, atoms: Atoms, dtype: torch.dtype | None) -> list[Flow]:
        if dtype not in self._flows:
            self._flows[dtype] = [Flows(model, dtype) for model in self.models]
        graph, positions = self.graph_of(atoms), torch.from_numpy(atoms.positions)
        return [flows(graph, positions) for flows in self._flows[dtype]]

    def graph_of(self, atoms: Atoms, source: str = "atoms") -> Graph:
        """The graph of atoms: pairs of the last search, if these are certain to be all within the cutoff, or new ones.

        Args:
            atoms: The atoms.
            source: Named in messages.
        Raises:
            DataError: As a calculation does.
        """
        cutoff = self.model.config.cutoff
        if self._known is not None and self._still_valid(atoms, self._known[0], cutoff):
            return move_graph(self._known[2], atoms, self._known[1], source)
        self.searches += 1
        return self.search(atoms, source)

    def search(self, atoms: Atoms, source: str = "atoms") -> Graph:
        """Find neighbours anew, and keep them for what comes: the graph of these atoms.

        After `search(searched)` a calculator has the list, in its order, of another one that searched there.

        Raises:
            DataError: As a calculation does.
        """
        cutoff = self.model.config.cutoff
        pairs = find_pairs(atoms, cutoff + self.skin, source)
        graph = build_graph(atoms, cutoff, self.model.elements, source, pairs)
        reference = atoms.copy()
        reference.calc = None
        self._known = (reference, pairs, graph)
        return graph

    @property
    def searched(self) -> Atoms | None:
        """The atoms of the last search; None before the first."""
        return self._known[0] if self._known else None

    def _still_valid(self, atoms: Atoms, reference: Atoms, cutoff: float) -> bool:
        """A pair farther than cutoff + skin then is farther than the cutoff now.

        With x = x_ref F + u for the cell's deformation F, a pair's distance is at least
        sigma_min(F) (cutoff + skin) - 2 max |u|.
        """
        if self.skin == 0 or len(atoms) != len(reference) or (atoms.pbc != reference.pbc).any():
            return False
        if (atoms.numbers != reference.numbers).any() or not np.isfinite(atoms.positions).all():
            return False
        old, new = complete_cell(reference.cell), complete_cell(atoms.cell)
        if np.array_equal(old, new):
            shrink, moved = 1.0, atoms.positions - reference.positions
        else:
            deformation = np.linalg.solve(old, new)
            shrink = float(np.linalg.svd(deformation, compute_uv=False)[-1])
            # a matrix product of all atoms would wake NumPy's own threads
            moved = atoms.positions - np.einsum("ai,ij->aj", reference.positions, deformation)
        reach = shrink * (cutoff + self.skin) - 2 * float(np.linalg.norm(moved, axis=1).max())
        return bool(reach > cutoff)
