import numpy as np
import pytest
import yaml
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write


def labelled(n, seed):
    """Ethane and water-like frames labelled with ASE's EMT: real numbers from a real calculator, cheap."""
    atoms = molecule("CH3OH" if n % 2 else "C2H6")
    atoms.rattle(0.05, rng=np.random.default_rng(seed * 1000 + n))
    atoms.calc = EMT()
    atoms.info["kind"] = "alcohol" if n % 2 else "alkane"
    atoms.info["REF_energy"] = atoms.get_potential_energy()
    atoms.arrays["REF_forces"] = atoms.get_forces()
    atoms.calc = None
    return atoms


SMALL_MODEL = {
    "cutoff": 3.0,
    "channels": 4,
    "hidden_rank": 1,
    "edge_rank": 1,
    "correlation": 2,
    "layers": 2,
    "radial_hidden": [8],
    "n_bessel": 4,
    "knots": 64,
}


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write(folder / "train.xyz", [labelled(n, 0) for n in range(20)], format="extxyz")
    write(folder / "test.xyz", [labelled(n, 1) for n in range(6)], format="extxyz")
    return folder


@pytest.fixture
def make_config(tmp_path):
    def make(model=None, training=None, **data):
        values = {
            "data": {"train": "train.xyz", "valid_count": 4, "test": "test.xyz", **data},
            "model": {**SMALL_MODEL, **(model or {})},
            "training": {"epochs": 6, "batch_size": 4, "learning_rate": 0.02, "ema_decay": 0.9, **(training or {})},
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return make
