import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import write

from cartalg.architecture import ModelConfig
from cartalg.data.coverage import COVERAGE_FILE
from cartalg.model import Potential
from cartalg.train.checkpoint import MODEL_FILE, save_model
from cartalg.train.records import write_json

CONFIG = ModelConfig(cutoff=3.5, channels=4, edge_rank=1, correlation=2, radial_hidden=(8,), knots=64, zbl=True)
#: As wide as a model with random weights needs it.
WIDE = {"shifts": {}, "energy": None, "force": 50.0, "typical_force": 5.0, "distances": {"Cu-Cu": 1.0, "H-O": 0.3}}


def make_run(folder, seed=0, coverage=WIDE):
    """A run folder with a model of random weights, smooth, repulsive at short distances."""
    torch.manual_seed(seed)
    save_model(folder / MODEL_FILE, Potential(CONFIG, ("H", "C", "O", "Cu"), scale=0.1, mean_neighbours=10.0))
    if coverage:
        write_json(folder / COVERAGE_FILE, coverage)
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def structures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("structures")
    crystal = bulk("Cu", cubic=True) * (2, 1, 1)
    crystal.rattle(0.03, rng=np.random.default_rng(0))
    write(folder / "crystal.xyz", crystal)
    write(folder / "molecule.xyz", molecule("H2O"))
    return folder
