"""Fine-tuning with a second data set drawn into each epoch."""

import json

import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.data.dataset import Dataset
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.train.checkpoint import read_tensors
from cartalg.train.config import parse_config
from cartalg.train.records import read_metrics
from cartalg.train.replay import Replay
from cartalg.train.split import load_split
from cartalg.train.start import initial_model, moves
from cartalg.train.trainer import Trainer

MODEL = {
    **{"cutoff": 3.0, "channels": 8, "hidden_rank": 1, "edge_rank": 1, "correlation": 2, "layers": 2},
    **{"radial_hidden": [8], "n_bessel": 4, "knots": 64, "zbl": False},
}
#: Energies of another level of theory: so much more for each atom, in eV.
OFFSET = {"C": 3.0, "H": -0.5, "O": 1.0}
ENERGY = "energy_per_atom_rmse_meV_per_atom"
FORCES = "forces_rmse_meV_per_A"


def frames(name, count, seed, other_level=False):
    found = []
    for number in range(count):
        atoms = molecule(name)
        atoms.rattle(0.08, rng=np.random.default_rng(1000 * seed + number))
        atoms.calc = EMT()
        move = sum(OFFSET[e] for e in atoms.get_chemical_symbols()) if other_level else 0.0
        atoms.info["REF_energy"] = atoms.get_potential_energy() + move
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of two molecules, what it was trained on, and one of them at another level of theory to fine-tune on."""
    folder = tmp_path_factory.mktemp("replay")
    write(folder / "old.xyz", [*frames("CH3OH", 16, 0), *frames("CH3CH2OH", 16, 1)], format="extxyz")
    write(folder / "new.xyz", frames("CH3OCH3", 12, 2, other_level=True), format="extxyz")
    write(folder / "same.xyz", frames("CH3OCH3", 12, 2), format="extxyz")
    run(folder, "base", {"train": "old.xyz", "valid_count": 4}, epochs=40)
    return folder


def run(folder, name, data, **training):
    settings = {"batch_size": 4, "learning_rate": 0.02, "ema_decay": 0.5, **training}
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump({"data": data, "model": MODEL, "training": settings}))
    result = CliRunner().invoke(app, ["train", str(config), "--output", str(folder / name)])
    return result if result.exit_code else json.loads((folder / name / "errors.json").read_text())


def test_less_is_forgotten(place):
    """Fine-tuned on another molecule at another level, the model is better on the old ones with them in its epochs."""
    data = {"train": "new.xyz", "valid_count": 4, "shifts": "fit", "test": "old.xyz"}
    tuned = {"start_from": "base", "epochs": 25}
    without = run(place, "without", data, **tuned)
    assert "replay" not in without
    errors = run(place, "with", {**data, "replay": {"file": "old.xyz", "fraction": 2}}, **tuned)
    base = json.loads((place / "base" / "errors.json").read_text())
    assert without["test"][FORCES] > 1.5 * base["valid"][FORCES] > errors["replay"][FORCES]
    assert errors["test"][FORCES] < 0.6 * without["test"][FORCES]
    assert errors["valid"][FORCES] < 1.3 * without["valid"][FORCES]
    assert errors["replay"][ENERGY] < 3 * base["valid"][ENERGY]
    rows = (place / "with" / "metrics.csv").read_text().splitlines()
    assert f"replay_{FORCES}" in rows[0]


def test_energies_of_the_second_set_keep_their_level(place):
    """Shifts move by what the new level is off by at the start, and the old energies with them."""
    data = {"train": "new.xyz", "valid_count": 4, "shifts": "fit", "replay": {"file": "old.xyz"}}
    errors = run(place, "levels", data, start_from="base", epochs=1, learning_rate=1e-7)
    base = json.loads((place / "base" / "errors.json").read_text())
    for name in ("valid", "replay"):
        assert errors[name][ENERGY] < 10 * base["valid"][ENERGY] < 300


def test_a_run_that_is_stopped_goes_on_exactly(place, monkeypatch):
    """Bit for bit: what an epoch draws follows from the seed and the epoch."""
    data = {"train": "new.xyz", "valid_count": 4, "shifts": "fit", "replay": {"file": "old.xyz", "fraction": 0.7}}
    tuned = {"start_from": "base", "epochs": 6}
    run(place, "whole", data, **tuned)
    save = Trainer.save

    def stopping(trainer):
        save(trainer)
        if trainer.state.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "save", stopping)
        run(place, "cut", data, **tuned)
    assert len((place / "cut" / "metrics.csv").read_text().splitlines()) == 4
    run(place, "cut", data, **tuned)
    (whole, _), (cut, _) = (read_tensors(place / name / "checkpoint.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
    errors = [(place / name / "errors.json").read_text() for name in ("whole", "cut")]
    assert errors[0] == errors[1]
    rows = [read_metrics(place / name / "metrics.csv") for name in ("whole", "cut")]
    for row in (row for of_run in rows for row in of_run):
        assert row.pop("seconds") > 0
    assert rows[0] == rows[1]


def test_a_weight_has_an_effect(place):
    data = {"train": "same.xyz", "valid_count": 4, "replay": {"file": "old.xyz"}}
    tuned = {"start_from": "base", "epochs": 20}
    found = []
    for weight in (0.01, 100.0):
        data["replay"]["weight"] = weight
        found.append(run(place, f"weight{weight}", data, **tuned))
    assert found[1]["replay"][FORCES] < found[0]["replay"][FORCES]
    assert found[0]["valid"][FORCES] < found[1]["valid"][FORCES]


def test_isolated_atoms_are_met_by_a_model_that_is_fine_tuned(place):
    atoms = [molecule("H"), molecule("C"), molecule("O")]
    for single, energy in zip(atoms, (-13.0, -1000.0, -2000.0), strict=True):
        single.info["REF_energy"] = energy
    write(place / "atoms.xyz", atoms, format="extxyz", columns=["symbols", "positions"])
    data = {"train": "same.xyz", "valid_count": 4, "shifts": "isolated", "isolated_atoms": "atoms.xyz"}
    config = parse_config({"data": data, "model": MODEL, "training": {"start_from": "base"}}, "here")
    split = load_split(config, place)
    dataset = Dataset.build(split.train, 3.0, ("H", "C", "O"))
    model = initial_model(config, split, dataset, ("H", "C", "O"), "auto", place, {})
    for single in atoms:
        energy = single.info["REF_energy"]
        single.calc = CartalgCalculator(model)
        assert abs(single.get_potential_energy() - energy) < 1e-3
    assert moves(model, place / "base")["C"] < -900


def test_epochs_draw_all_frames_before_one_twice():
    frames = Dataset(range(5), range(5))
    generator = torch.Generator().manual_seed(0)
    numbers = Replay(frames, frames, 13, 1.0).draw(generator).tolist()
    assert sorted(numbers[:5]) == sorted(numbers[5:10]) == [0, 1, 2, 3, 4]
    assert len(set(numbers[10:])) == 3
    few = Replay(frames, frames, 3, 1.0)
    drawn = [tuple(few.draw(generator).tolist()) for _ in range(6)]
    assert all(len(set(numbers)) == 3 for numbers in drawn)
    assert len(set(drawn)) > 1


def test_mistakes_are_named(place):
    data = {"train": "same.xyz", "valid_count": 4}
    bare = [atoms.copy() for atoms in read(place / "old.xyz", ":4")]
    for atoms in bare:
        atoms.info.pop("REF_energy")
    write(place / "bare.xyz", bare, format="extxyz")
    for replay, training, message in [
        ({"file": "old.xyz"}, {}, "name a model as training.start_from"),
        ({"file": "none.xyz"}, {"start_from": "base"}, "no file"),
        ({"file": "bare.xyz"}, {"start_from": "base"}, "no energy"),
        ({"file": "old.xyz", "valid_count": 32}, {"start_from": "base"}, "has 32 frames, not 32 to validate on"),
        ({"file": "old.xyz", "fractoin": 1}, {"start_from": "base"}, "did you mean fraction?"),
    ]:
        result = run(place, "wrong", {**data, "replay": replay}, epochs=1, **training)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
