"""Far above the temperatures of its data a potential holds its atoms apart; and the judge of that sees a collapse."""

import json

import ase.io
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from benchmarks.collapse import closest_pair, judge, run
from cartalg.cli import app
from cartalg.data.coverage import read_coverage
from cartalg.datasets import dataset_folder
from cartalg.train.checkpoint import load_model
from cartalg.train.pairs import scan_pairs

SMALL = {"cutoff": 4.0, "channels": 8, "hidden_rank": 1, "edge_rank": 2, "correlation": 2, "n_bessel": 4}
SMALL["radial_hidden"] = [16]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A few seconds of training on acetamide: a poor potential, which must hold all the same."""
    folder = tmp_path_factory.mktemp("collapse")
    source = dataset_folder()
    frames = ase.io.read(source / "acetamide.xyz.gz", ":")
    ase.io.write(folder / "train.xyz", frames[::4], format="extxyz")
    training = {"epochs": 20, "batch_size": 5, "energy_weight": 500.0, "forces_weight": 10.0, "threads": 1}
    config = {"data": {"train": "train.xyz", "valid_count": 10}, "model": SMALL, "training": training}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(app, ["train", str(folder / "config.yaml"), "--output", str(folder / "run")])
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("kelvin", [1000.0, 3000.0])
def test_it_does_not_collapse(trained, kelvin):
    found = run(trained / "run", trained / "train.xyz", trained / f"{kelvin:g}", kelvin, 0.5, 0.5)
    assert found.why == ""
    assert found.picoseconds == 0.5
    assert found.kelvin > kelvin / 3


def test_no_pair_has_a_hole(trained):
    shortest = read_coverage(trained / "run" / "coverage.json").distances
    assert [str(scan) for scan in scan_pairs(load_model(trained / "run"), shortest) if scan.hole] == []


def test_the_judge_sees_a_collapse(trained, tmp_path):
    covered = read_coverage(trained / "run" / "coverage.json")
    (atoms,) = ase.io.read(trained / "train.xyz", ":1")
    ratio, _ = closest_pair([atoms], covered.distances)
    assert ratio >= 1 - 1e-6
    first = atoms.positions[1] - atoms.positions[0]
    atoms.positions[1] = atoms.positions[0] + 0.5 / np.linalg.norm(first) * first
    ase.io.write(tmp_path / "trajectory.xyz", atoms)
    low = covered.energy[0] * len(atoms) + sum(covered.shifts[s] for s in atoms.get_chemical_symbols())
    (tmp_path / "log.csv").write_text(f"time_fs,potential_eV,temperature_K\n0.5,{low - 1.0},300\n")
    why = judge(tmp_path, covered).why
    assert f"falls by {1 / len(atoms):.2g} eV/atom" in why
    assert "of its shortest distance" in why
    assert judge(tmp_path, covered, "no numbers").why.startswith("no numbers; ")
    assert json.loads((trained / "run" / "coverage.json").read_text())["distances"] == covered.distances
