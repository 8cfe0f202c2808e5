"""The uncertainty of a committee: standard deviations over its members, scaled by what validation found."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.model import Potential, Prediction
from cartalg.train.checkpoint import CheckpointError, fingerprint, load_model, members
from cartalg.train.records import write_json
from cartalg.uncertainty.measure import Spread, Uncertainty, load_uncertainty

COMMITTEE_FILE = "committee.json"


@dataclass(frozen=True)
class Calibration:
    """How errors of a committee's means compare with the standard deviations over its members.

    Attributes:
        models: Fingerprints of the members.
        factors: By ``"energy"`` and ``"forces"``, what standard deviations are multiplied by.
    """

    models: list[str]
    factors: dict[str, float]

    def write(self, run: Path) -> Path:
        """Write it whole, in the folder of the committee's run: the file."""
        write_json(run / COMMITTEE_FILE, asdict(self))
        return run / COMMITTEE_FILE


def load_factors(run: str | Path, models: list[Potential]) -> dict[str, float]:
    """The factors that lie with a committee's run; none if there is no file.

    Raises:
        CheckpointError: If the file is damaged, or of other models than those that were read there.
    """
    file = Path(run) / COMMITTEE_FILE
    if len(models) < 2 or not file.is_file():
        return {}
    try:
        found = Calibration(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: not the calibration of a committee ({error}); delete it") from error
    if found.models != [fingerprint(model) for model in models]:
        raise CheckpointError(f"{file}: of other models than lie there now; delete it, or run `cartalg uncertainty`")
    return found.factors


@dataclass(frozen=True)
class Predictor:
    """One model or a committee, with what is known of its errors.

    Attributes:
        models: The model, or the members.
        measures: The uncertainty of each, None of those that have none.
        factors: Of a committee's standard deviations.
    """

    models: list[Potential]
    measures: list[Uncertainty | None]
    factors: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, run: str | Path, backend: str = "auto", trust_kernels: bool = False) -> "Predictor":
        """Read a run's folder, of a committee too, or a model file. Raises as `cartalg.train.checkpoint.load_model`."""
        places = members(run)
        models = [load_model(place, backend, trust_kernels) for place in places]
        measures = [load_uncertainty(place, model) for place, model in zip(places, models, strict=True)]
        return cls(models, measures, load_factors(run, models))

    @property
    def graded(self) -> bool:
        """Whether every model says how far atoms are from its training data."""
        return all(self.measures)

    def predict(self, graph: Graph, **asked: bool) -> tuple[Prediction, Spread]:
        """The prediction, a committee's mean, and its uncertainty. Keywords as of the model's call."""
        found = [
            model(graph, **asked, descriptors=measure is not None)
            for model, measure in zip(self.models, self.measures, strict=True)
        ]
        own = [m.spread(graph, p) for m, p in zip(self.measures, found, strict=True) if m is not None]
        if len(found) == 1:
            return found[0], own[0] if own else Spread()
        grades = torch.stack([spread.grades for spread in own]).mean(0) if self.graded else None  # type: ignore[misc]
        force = self.factors.get("forces", 1.0)
        energy = self.factors.get("energy", 1.0) * torch.stack([p.energy for p in found]).std(0, correction=0)
        forces = None
        if found[0].forces is not None:
            variances = torch.stack([p.forces.double() for p in found]).var(0, correction=0)  # type: ignore[union-attr]
            forces = force * variances.mean(1).sqrt()
        return _mean(found), Spread(grades, energy, None, forces)


def _mean(found: list[Prediction]) -> Prediction:
    """The mean of predictions."""

    def of(values: list[Tensor | None]) -> Tensor | None:
        return torch.stack(values).mean(0) if all(v is not None for v in values) else None  # type: ignore[arg-type]

    properties = {name: torch.stack([p.properties[name] for p in found]).mean(0) for name in found[0].properties}
    energy, atomic = of([p.energy for p in found]), of([p.atomic_energies for p in found])
    assert energy is not None
    assert atomic is not None
    return Prediction(energy, atomic, of([p.forces for p in found]), of([p.virial for p in found]), None, properties)
