import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from cartalg.architecture import ModelConfig
from cartalg.data.dataset import Dataset
from cartalg.data.frames import read_frames
from cartalg.model import Potential
from cartalg.train.checkpoint import MODEL_FILE, save_model
from cartalg.uncertainty.fit import fit
from cartalg.uncertainty.measure import uncertainty_file

CONFIG = ModelConfig(cutoff=3.5, channels=4, edge_rank=1, correlation=2, radial_hidden=(8,), knots=64)
ELEMENTS = ("H", "C", "O", "Cu")


def labelled(n, seed, spread=0.05):
    """Frames labelled with ASE's EMT."""
    atoms = molecule("CH3OH" if n % 2 else "C2H6")
    atoms.rattle(spread, rng=np.random.default_rng(seed * 1000 + n))
    atoms.calc = EMT()
    atoms.info["REF_energy"] = atoms.get_potential_energy()
    atoms.arrays["REF_forces"] = atoms.get_forces()
    atoms.calc = None
    return atoms


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Files of frames: to train and validate on, and hotter ones."""
    folder = tmp_path_factory.mktemp("data")
    write(folder / "train.xyz", [labelled(n, 0) for n in range(24)], format="extxyz")
    write(folder / "valid.xyz", [labelled(n, 1) for n in range(8)], format="extxyz")
    write(folder / "hot.xyz", [labelled(n, 2, 0.05 + 0.01 * n) for n in range(20)], format="extxyz")
    return folder


@pytest.fixture(scope="session")
def dataset(data):
    """The dataset of one of these files."""
    return lambda name: Dataset.build(read_frames(data / name), CONFIG.cutoff, ELEMENTS)


def make_model(seed=0, **changes):
    torch.manual_seed(seed)
    return Potential(CONFIG.model_copy(update=changes), ELEMENTS, scale=0.1, mean_neighbours=7.0)


@pytest.fixture(scope="session")
def model():
    """With random weights: distances from training data and their scale do not ask for a good one."""
    return make_model()


@pytest.fixture(scope="session")
def measured(model, dataset):
    return fit(model, dataset("train.xyz"), dataset("valid.xyz"), ["energy", "forces"])


@pytest.fixture
def run(model, measured, tmp_path):
    """The folder of a run with its uncertainty."""
    save_model(tmp_path / "run" / MODEL_FILE, model)
    measured.write(uncertainty_file(tmp_path / "run"))
    return tmp_path / "run"
