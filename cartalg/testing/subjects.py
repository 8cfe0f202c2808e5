"""What the contract of a potential is about: frames in, answers out, whatever computes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.stress import voigt_6_to_full_3x3_stress

from cartalg.data.graphs import build_graph, collate

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Answer:
    """What a potential says of a frame.

    Attributes:
        energy: eV.
        forces: eV/angstrom, [atoms, 3].
        stress: eV/angstrom^3, [3, 3]; None for a frame that is not periodic along all axes, or if there is none.
    """

    energy: float
    forces: Array
    stress: Array | None = None


class Subject(Protocol):
    """What is tested: frames in, answers out, in one batch if the potential has batches.

    Attributes:
        elements: Chemical symbols that it knows; the suite's frames are made of them.
        cutoff: Distance in angstrom from which on two atoms alone do not interact.
    """

    elements: Sequence[str]
    cutoff: float

    def __call__(self, frames: Sequence[Atoms]) -> Sequence[Answer]:
        """An answer for each frame; the frames stay as they are."""
        ...


@dataclass(frozen=True)
class FromCalculator:
    """An ASE calculator as a subject, frame by frame."""

    calculator: Calculator
    elements: Sequence[str]
    cutoff: float

    def __call__(self, frames: Sequence[Atoms]) -> list[Answer]:
        """An answer for each frame; a stress if the calculator has it and the frame a volume."""
        found = []
        for frame in frames:
            atoms = frame.copy()
            atoms.calc = self.calculator
            stress = None
            if atoms.pbc.all() and "stress" in self.calculator.implemented_properties:
                stress = voigt_6_to_full_3x3_stress(atoms.get_stress())
            found.append(Answer(float(atoms.get_potential_energy()), atoms.get_forces().copy(), stress))
        return found


class FromModel:
    """A model that takes a `cartalg.data.graphs.Graph` and returns a `cartalg.model.Prediction`, all frames at once.

    Args:
        model: Called as `model(graph, virial=True)`; has `elements` and, if not given here, `config.cutoff`.
        cutoff: In angstrom.
    """

    def __init__(self, model: Any, cutoff: float | None = None) -> None:
        self.model, self.elements = model, model.elements
        self.cutoff = float(model.config.cutoff if cutoff is None else cutoff)

    def __call__(self, frames: Sequence[Atoms]) -> list[Answer]:
        """One batch."""
        batch = collate([build_graph(atoms, self.cutoff, self.elements) for atoms in frames])
        said, found, start = self.model(batch, virial=True), [], 0
        forces, virial = (x.detach().double().numpy() for x in (said.forces, said.virial))
        for n, atoms in enumerate(frames):
            stress = virial[n] / float(batch.volume[n]) if atoms.pbc.all() else None
            found.append(Answer(float(said.energy[n]), forces[start : start + len(atoms)], stress))
            start += len(atoms)
        return found
