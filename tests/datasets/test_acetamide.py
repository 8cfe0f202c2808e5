"""The shipped acetamide set: splits by temperature, and scans that are what they say."""

import ase.io
import numpy as np
import pytest
from ase import Atoms

from cartalg.datasets import dataset_folder
from cartalg.train.config import load_config
from cartalg.train.split import load_split

FOLDER = dataset_folder()


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    return ase.io.read(FOLDER / "acetamide.xyz.gz", ":", format="extxyz")


@pytest.fixture(scope="module")
def scans() -> list[Atoms]:
    return ase.io.read(FOLDER / "scans.xyz.gz", ":", format="extxyz")


def numbers(name: str) -> set[int]:
    return set(map(int, (FOLDER / name).read_text().split()))


def test_training_at_300_kelvin_sees_no_other_temperature(frames):
    kelvin = [frame.info["temperature_K"] for frame in frames]
    train, valid, test = (numbers(f"{name}.txt") for name in ("train_300K", "val_300K", "test_1000K"))
    assert {kelvin[n] for n in train | valid} == {300}
    assert train == {n for n in numbers("train.txt") if kelvin[n] == 300}
    assert valid == {n for n in numbers("val.txt") if kelvin[n] == 300}
    assert test == {n for n, t in enumerate(kelvin) if t == 1000}
    split = load_split(load_config(FOLDER / "config_300K.yaml"), FOLDER)
    assert (len(split.train), len(split.valid), len(split.test)) == (95, 10, 125)


def test_scans_start_at_a_minimum_and_move_what_they_name(scans):
    first, *others = scans
    assert first.info["scan"] == "minimum"
    assert np.linalg.norm(first.arrays["REF_forces"], axis=1).max() < 0.05
    before = first.get_all_distances()
    assert len(others) > 50
    for frame in others:
        assert frame.symbols.get_chemical_formula() == first.symbols.get_chemical_formula()
        assert frame.info["REF_energy"] > first.info["REF_energy"] - 0.001
        kind, pair = frame.info["scan"].split()
        bonds = (before < 1.7) & (before > 0) & ~_hydrogens(first)
        changed = np.abs(frame.get_all_distances() - before)[bonds]
        if kind == "torsion":
            assert changed.max() < 1e-3  # no bond is stretched
        else:
            assert (changed > 1e-3).sum() == 2  # one bond, in both directions
            a, b = np.argwhere(bonds)[changed.argmax()]
            assert {first.symbols[a], first.symbols[b]} == set(pair.replace("=", "-").split("-"))
            assert frame.get_distance(a, b) == pytest.approx(frame.info["coordinate"], abs=2e-4)


def _hydrogens(atoms: Atoms) -> np.ndarray:
    hydrogen = np.array([s == "H" for s in atoms.symbols])
    return hydrogen[:, None] & hydrogen[None]


def test_forces_of_a_scan_are_slopes_of_its_energies(scans):
    """The DFT's own consistency along the torsion, where neighbouring frames are ten degrees apart."""
    turn = [scans[0], *(f for f in scans if f.info["scan"] == "torsion C-N")]
    for one, middle, other in zip(turn, turn[1:], turn[2:], strict=False):
        # along the way from one neighbour to the other, to the third order in the step
        way = (other.positions - one.positions) / 2
        slope = (other.info["REF_energy"] - one.info["REF_energy"]) / 2
        assert slope == pytest.approx(-float((middle.arrays["REF_forces"] * way).sum()), abs=0.03)


def test_all_shipped_sets_are_less_than_a_megabyte():
    assert sum(path.stat().st_size for path in FOLDER.parent.rglob("*") if path.is_file()) < 1_000_000
