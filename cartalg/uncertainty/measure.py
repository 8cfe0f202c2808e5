"""The uncertainty of one model without a committee: distances from the training data, scaled by what validation found.

A force is the first derivative of what a model has learnt, an energy what the errors of forces add up to on the way
from the data: errors of energies grow with the square of the distance, those of forces with its power 3/2 (measured:
docs/uncertainty.md). One factor for each is what the validation frames say.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.model import Potential, Prediction
from cartalg.train.checkpoint import MODEL_FILE, CheckpointError, fingerprint, model_file, read_tensors, write_tensors
from cartalg.uncertainty.density import Density

UNCERTAINTY_FILE = "uncertainty.safetensors"
VERSION = 1
#: Powers of the distance that errors go with.
ENERGY_POWER, FORCE_POWER = 2.0, 1.5


@dataclass(frozen=True)
class Spread:
    """What may be wrong with a prediction: standard deviations, None if they are not known.

    Attributes:
        grades: Extrapolation grade of each atom, float64 [atoms]: 1 is the farthest atom of its element in the training
            and validation frames.
        energy: In eV, float64 [frames].
        energies: Of each atom's energy in eV, float64 [atoms].
        forces: Of the components of an atom's force in eV/angstrom, float64 [atoms].
    """

    grades: Tensor | None = None
    energy: Tensor | None = None
    energies: Tensor | None = None
    forces: Tensor | None = None


@dataclass(frozen=True)
class Uncertainty:
    """What a trained model says of its own errors.

    Attributes:
        model: Fingerprint of the model.
        density: Of the training data.
        farthest: Largest distance of each element's atoms there and in the validation frames, float64 [elements].
        energy, forces: Standard deviations at distance 1 in eV/atom and eV/angstrom; None without such labels.
    """

    model: str
    density: Density
    farthest: Tensor
    energy: float | None
    forces: float | None

    def spread(self, graph: Graph, prediction: Prediction) -> Spread:
        """Of a prediction with descriptors. Raises ValueError if it has none."""
        if prediction.descriptors is None:
            raise ValueError("an uncertainty needs a prediction with descriptors=True")
        species = graph.of_atoms.cpu()
        distances = self.density.distances(species, prediction.descriptors.flatten(1).cpu())
        energy = energies = None
        if self.energy is not None:
            energies = self.energy * distances**ENERGY_POWER
            energy = energies.new_zeros(graph.n_frames).index_add(0, graph.frame.cpu(), energies)
        forces = None if self.forces is None else self.forces * distances**FORCE_POWER
        return Spread(distances / self.farthest[species], energy, energies, forces)

    @property
    def known(self) -> tuple[str, ...]:
        """What there are standard deviations of: ``"energy"`` and ``"energies"``, ``"forces"``."""
        energy = () if self.energy is None else ("energy", "energies")
        return energy if self.forces is None else (*energy, "forces")

    def write(self, path: Path) -> None:
        """Write it whole."""
        scales = {"model_sha256": self.model, "energy_eV": self.energy, "forces_eV_per_A": self.forces}
        density = self.density
        tensors = {"count": density.count, "mean": density.mean, "factor": density.factor, "farthest": self.farthest}
        write_tensors(path, tensors, {"uncertainty": VERSION, **scales})

    @classmethod
    def read(cls, path: Path) -> "Uncertainty":
        """Read it. Raises FileNotFoundError, and CheckpointError if it holds something else."""
        tensors, found = read_tensors(path)
        if found.get("uncertainty") != VERSION:
            raise CheckpointError(f"{path}: not the uncertainty of this version; run `cartalg uncertainty` again")
        farthest = tensors.pop("farthest")
        return cls(found["model_sha256"], Density(**tensors), farthest, found["energy_eV"], found["forces_eV_per_A"])


def uncertainty_file(model: str | Path) -> Path:
    """Where the uncertainty of a model is: in its run's folder, or beside a model file under its name."""
    file = model_file(model)
    return file.with_name(UNCERTAINTY_FILE if file.name == MODEL_FILE else f"{file.stem}.{UNCERTAINTY_FILE}")


def load_uncertainty(path: str | Path, model: Potential) -> Uncertainty | None:
    """The uncertainty that lies with a model; None if there is none.

    Args:
        path: Model file or folder of a run.
        model: What was read there.
    Raises:
        CheckpointError: If the file is damaged, or of another model.
    """
    file = uncertainty_file(path)
    if not file.is_file():
        return None
    found = Uncertainty.read(file)
    if found.model != fingerprint(model):
        raise CheckpointError(f"{file}: of another model than lies there now; delete it, or run `cartalg uncertainty`")
    return found
