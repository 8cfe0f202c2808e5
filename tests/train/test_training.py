import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.data.coverage import read_coverage
from cartalg.data.dataset import Dataset
from cartalg.data.frames import DataError
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential
from cartalg.train.checkpoint import CheckpointError, load_model, read_tensors, save_model, write_tensors
from cartalg.train.config import ConfigError, TrainingConfig, load_config, parse_config
from cartalg.train.loss import entries, loss_terms, mean_loss, penalty
from cartalg.train.records import append_metrics, read_metrics, truncate_metrics
from cartalg.train.run import EDGES_PER_THREAD, worthwhile_threads
from cartalg.train.split import load_split
from cartalg.train.start import initial_model, refit_shifts

BASE = {"data": {"train": "a.xyz"}}


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**BASE, "model": {"chanels": 8}}, r"unknown key model\.chanels; did you mean channels\?"),
        ({**BASE, "trainig": {}}, r"unknown key trainig; did you mean training\?"),
        ({**BASE, "model": {"zzz": 1}}, "valid keys are cutoff"),
        ({**BASE, "model": {"channels": "many"}}, r"model\.channels.*got 'many'"),
        ({**BASE, "model": {"correlation": 5}}, r"model\.correlation.*less than or equal to 4"),
        ({**BASE, "training": {"learning_rate": -1}}, r"training\.learning_rate.*greater than 0"),
        ({"data": {}}, r"missing key data\.train"),
        ({**BASE, "training": {"energy_weight": 0, "forces_weight": 0}}, "at least one of"),
        ({"data": {"train": "a", "valid": "b", "valid_count": 3}}, "not valid and valid_count"),
        ({"data": {"train": "a", "test": "b", "test_count": 3}}, "test or test_count, not both"),
        (["data"], "is a mapping"),
    ],
)
def test_a_bad_configuration_names_key_and_remedy(values, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(values, "config.yaml")


def test_configuration_files(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("data: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "bad.yaml")


def test_a_run_learns_and_writes_everything(data_folder, make_config, tmp_path):
    out = tmp_path / "run"
    result = run("train", make_config(training={"epochs": 25}), "--data-dir", data_folder, "--output", out)
    assert result.exit_code == 0, result.output
    with (out / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 25
    assert float(rows[-1]["train_loss"]) < 0.2 * float(rows[0]["train_loss"])
    for name in ("model.safetensors", "checkpoint.safetensors", "learning_curve.png", "parity_test.png", "errors.json"):
        assert (out / name).stat().st_size > 0
    assert list((out / "tensorboard").iterdir())
    covered = read_coverage(out / "coverage.json")
    assert covered.force is not None
    assert covered.distances.keys() == {"C-C", "C-H", "C-O", "H-H", "H-O"}
    result = run("evaluate", out, data_folder / "test.xyz", "--json")
    assert result.exit_code == 0, result.output
    errors = json.loads(result.stdout)
    stored = json.loads((out / "errors.json").read_text())["test"]
    assert errors["forces_rmse_meV_per_A"] == pytest.approx(stored["forces_rmse_meV_per_A"])
    assert errors["frames"] == 6
    frames = read(data_folder / "test.xyz", ":")
    spread = 1e3 * np.sqrt(np.mean(np.concatenate([a.arrays["REF_forces"].ravel() for a in frames]) ** 2))
    assert errors["forces_rmse_meV_per_A"] < 0.6 * spread
    table = run("evaluate", out, data_folder / "test.xyz")
    assert "RMSE" in table.stdout
    assert (out / "parity_test.png").exists()
    errors_by_group(out, data_folder / "test.xyz", errors)


def errors_by_group(out, file, errors):
    """Groups are told apart, and together they are all frames."""
    found = json.loads(run("evaluate", out, file, "--json", "--by", "kind").stdout)
    groups, key = found.pop("groups"), "forces_rmse_meV_per_A"
    found_std, told_std = found.pop("uncertainty"), errors.pop("uncertainty")
    assert found_std.keys() == told_std.keys()
    for name, of in found_std.items():
        assert of == pytest.approx(told_std[name])
    assert found == pytest.approx(errors)
    assert {name: group["frames"] for name, group in groups.items()} == {"alcohol": 3, "alkane": 3}
    components = {"alcohol": 3 * 3 * 6, "alkane": 3 * 3 * 8}
    squares = sum(groups[name][key] ** 2 * count for name, count in components.items())
    assert (squares / sum(components.values())) ** 0.5 == pytest.approx(errors[key])
    table = run("evaluate", out, file, "--by", "kind").stdout
    assert "by kind" in table
    assert "alkane" in table
    assert "no key 'species' to group by; its keys are kind" in run("evaluate", out, file, "--by", "species").stderr


def final_state(folder):
    tensors, _ = read_tensors(folder / "checkpoint.safetensors")
    return tensors


@pytest.mark.parametrize("optimizer", ["adamw", "soap"])
def test_a_killed_run_goes_on_exactly(data_folder, make_config, tmp_path, optimizer):
    """Killed at any instant and resumed, a run ends bit-identical to an undisturbed one.

    Also if it compiled the kernels that the others find in the cache.
    """
    config = make_config(training={"epochs": 40, "optimizer": optimizer})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if optimizer == "adamw":
        environment["CARTALG_CACHE_DIR"] = str(tmp_path / "cache")

    def command(out):
        return [sys.executable, "-m", "cartalg", "train", config, "--data-dir", data_folder, "--output", out]

    process = subprocess.Popen(command(tmp_path / "cut"), env=environment, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "cut" / "metrics.csv"
    for _ in range(6000):
        if metrics.exists() and metrics.read_text().count("\n") > 6:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert metrics.read_text().count("\n") < 41, "the run ended before it was killed"
    for name in ("cut", "whole"):
        subprocess.run(command(tmp_path / name), env=environment, check=True, capture_output=True)
    whole, cut = final_state(tmp_path / "whole"), final_state(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, cut[name]), name
    rows = read_metrics(tmp_path / "whole" / "metrics.csv"), read_metrics(metrics)
    for row in (row for of_run in rows for row in of_run):
        assert row.pop("seconds") > 0
    assert rows[0] == rows[1]


def test_frames_that_stay_on_the_disk_train_the_same_model(data_folder, make_config, tmp_path):
    """Bit for bit, with several files, weights and counts."""
    sets = [{"file": "train.xyz", "count": 8, "weight": 2.0}, {"file": "test.xyz"}]
    for on_disk in (False, True):
        config = make_config(training={"epochs": 3}, train=sets, valid="test.xyz", valid_count=None, on_disk=on_disk)
        result = run("train", config, "--data-dir", data_folder, "--output", tmp_path / str(on_disk))
        assert result.exit_code == 0, result.output
    memory, disk = final_state(tmp_path / "False"), final_state(tmp_path / "True")
    assert all(torch.equal(tensor, disk[name]) for name, tensor in memory.items())
    assert (tmp_path / "False" / "errors.json").read_text() == (tmp_path / "True" / "errors.json").read_text()


def test_a_checkpoint_of_another_configuration_is_refused(data_folder, make_config, tmp_path):
    out = tmp_path / "run"
    assert run("train", make_config(training={"epochs": 1}), "--data-dir", data_folder, "--output", out).exit_code == 0
    result = run("train", make_config(training={"epochs": 2}), "--data-dir", data_folder, "--output", out)
    assert result.exit_code == 2
    assert "another training.epochs" in " ".join(result.stderr.split())
    result = run("train", make_config(training={"epochs": 2}), "--data-dir", data_folder, "--output", out, "--restart")
    assert result.exit_code == 0, result.output


def test_mistakes_are_one_line_without_a_traceback(data_folder, make_config, tmp_path):
    for arguments, message in [
        (("train", tmp_path / "no.yaml", "--output", tmp_path / "r"), "cannot read the configuration"),
        (("train", make_config(train_count=100), "--data-dir", data_folder, "--output", tmp_path / "r"), "20 frames"),
        (("evaluate", tmp_path, data_folder / "test.xyz"), "no model.safetensors"),
        (("inspect", "coupling", "1", "1", "3"), "must lie between"),
        (("inspect", "projector", "2", "--format", "html"), "format must be one of c, json, julia, latex"),
        (("generate", "--max-rank", "0", "--out", tmp_path / "k"), "at least 1"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2
        text = " ".join(result.stderr.split())
        assert message in text
        assert "Traceback" not in text


def test_help_teaches_by_example():
    for command in ("train", "evaluate", "generate", "md"):
        assert f"cartalg {command} " in " ".join(run(command, "--help").stdout.split())


def test_stress_is_trained_and_reported(make_config, tmp_path):
    frames = []
    for n in range(10):
        atoms = bulk("Cu" if n % 2 else "Ag", cubic=True)
        atoms.set_cell(atoms.cell.array * (1 + 0.01 * (n - 5)), scale_atoms=True)
        atoms.rattle(0.05, seed=n)
        atoms.calc = EMT()
        atoms.info["REF_energy"], atoms.info["REF_stress"] = atoms.get_potential_energy(), atoms.get_stress()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    write(tmp_path / "train.xyz", frames, format="extxyz")
    config = make_config({"cutoff": 4.0}, {"epochs": 40, "stress_weight": 1000.0}, valid_count=2, test=None)
    result = run("train", config, "--data-dir", tmp_path, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["valid_stress_rmse_meV_per_A3"]) < float(rows[0]["valid_stress_rmse_meV_per_A3"])


def test_a_stress_on_an_open_system_is_an_error(data_folder, make_config, tmp_path):
    frames = read(data_folder / "train.xyz", ":")
    for atoms in frames:
        atoms.info["REF_stress"] = np.zeros(6)
    write(tmp_path / "train.xyz", frames, format="extxyz")
    config = make_config(training={"stress_weight": 1.0}, test=None)
    result = run("train", config, "--data-dir", tmp_path, "--output", tmp_path / "run")
    assert result.exit_code == 2
    assert "not periodic" in " ".join(result.stderr.split())


def test_splits_do_not_overlap(data_folder, make_config, tmp_path):
    split = load_split(load_config(make_config(train_count=10)), data_folder)
    assert (len(split.train), len(split.valid), len(split.test)) == (10, 4, 6)
    assert not {f.source for f in split.train} & {f.source for f in split.valid}
    drawn = [load_split(load_config(make_config(train_count=n, test=None, test_count=5)), data_folder) for n in (4, 10)]
    assert [len(s.train) for s in drawn] == [4, 10]
    tests = [{f.source for f in s.test} for s in drawn]
    assert len(tests[0]) == 5
    assert tests[0] == tests[1], "the same test frames, however many there are to train on"
    for s in drawn:
        assert not {f.source for f in s.test} & {f.source for f in (*s.train, *s.valid)}
    with pytest.raises(DataError, match="not 12 to train and 4 to validate on and 5 to test on"):
        load_split(load_config(make_config(train_count=12, test=None, test_count=5)), data_folder)
    (tmp_path / "t.txt").write_text("0\n1\n")
    (tmp_path / "v.txt").write_text("1\n2\n")
    config = make_config(train_numbers=str(tmp_path / "t.txt"), valid_numbers=str(tmp_path / "v.txt"), valid_count=None)
    with pytest.raises(DataError, match="both in"):
        load_split(load_config(config), data_folder)


def test_models_survive_the_file_in_their_precision(tmp_path):
    from cartalg.architecture import ModelConfig
    from cartalg.model import Potential

    for dtype in ("float64", "float32"):
        model = Potential(ModelConfig(channels=2, edge_rank=1, dtype=dtype), ("H", "O"), scale=0.3)
        save_model(tmp_path / "m.safetensors", model)
        loaded = load_model(tmp_path / "m.safetensors")
        assert loaded.dtype == model.dtype == getattr(torch, dtype)
        for (name, a), (_, b) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
            assert torch.equal(a, b), name


def test_damaged_and_foreign_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    from cartalg.architecture import ModelConfig

    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(tmp_path / "cut.safetensors")
    model = Potential(ModelConfig(channels=2, edge_rank=1), ("H",))
    save_model(tmp_path / "model.safetensors", model)
    content = (tmp_path / "model.safetensors").read_bytes()
    for at in (len(content) - 5, content.index(b"mean_neighbours") + 20, content.index(b"sha256") + 2):
        (tmp_path / "changed.safetensors").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(CheckpointError, match=r"changed\.safetensors: damaged"):
            load_model(tmp_path / "changed.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not written by cartalg"):
        load_model(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.safetensors"):
        load_model(tmp_path / "none.safetensors")


def test_isolated_atoms_or_a_fit_give_the_shifts(data_folder, make_config, tmp_path):
    from ase import Atoms

    atoms = [Atoms(s, info={"energy": e}) for s, e in (("H", -10.0), ("C", -30.0), ("O", -60.0))]
    write(tmp_path / "isolated.xyz", atoms, format="extxyz")

    def shifts(**data):
        config = load_config(make_config(**data))
        split = load_split(config, data_folder)
        dataset = Dataset.build(split.train, 3.0, split.elements)
        return initial_model(config, split, dataset, split.elements, "auto", data_folder, {}).shifts

    given = shifts(isolated_atoms=str(tmp_path / "isolated.xyz"))
    assert float(given[1] - given[0]) == pytest.approx(-20)
    fitted = shifts(isolated_atoms=str(tmp_path / "isolated.xyz"), shifts="fit")
    assert torch.equal(fitted, shifts())
    with pytest.raises(DataError, match="no isolated atom"):
        shifts(shifts="isolated")


def test_losses_are_what_they_say():
    difference = torch.tensor([-3.0, 0.5, 0.0])
    of = lambda **changes: penalty(difference, TrainingConfig(**changes)).tolist()  # noqa: E731
    assert of() == [9.0, 0.25, 0.0]
    assert of(loss="mae") == [3.0, 0.5, 0.0]
    assert of(loss="huber", huber_delta=1.0) == [2.5, 0.125, 0.0]


def test_loss_weights_change_with_the_epoch():
    stages = ({"epoch": 3, "energy_weight": 7.0}, {"epoch": 5, "forces_weight": 0.0, "stress_weight": 2.0})
    properties = [{"name": "dipole", "tensor": "i"}, {"name": "alpha", "tensor": "ij=ji"}]
    training = {"epochs": 9, "energy_weight": 1, "forces_weight": 4, "property_weights": {"alpha": 3}, "stages": stages}
    config = parse_config({**BASE, "model": {"properties": properties}, "training": training}, "config.yaml")
    weights = [{q.name: w for q, w in config.weights_at(epoch).items()} for epoch in (2, 4, 8)]
    assert weights[0] == {"energy": 1, "forces": 4, "stress": 0, "dipole": 1, "alpha": 3}
    assert weights[1] == weights[0] | {"energy": 7}
    assert weights[2] == weights[1] | {"forces": 0, "stress": 2}
    assert [q.name for q in config.learned] == ["energy", "forces", "stress", "dipole", "alpha"]
    assert [q.name for q in parse_config(BASE, "config.yaml").learned] == ["energy", "forces"]
    with pytest.raises(ConfigError, match="stages must begin one after the other, before epoch 9"):
        parse_config({**BASE, "training": {"epochs": 9, "stages": [{"epoch": 9}]}}, "config.yaml")
    with pytest.raises(ConfigError, match=r"unknown key training\.stages"):
        parse_config({**BASE, "training": {"stages": [{"epoch": 1, "force_weight": 1}]}}, "config.yaml")


def test_frames_of_several_files_with_weights_of_their_own(data_folder, make_config):
    config = make_config()
    values = yaml.safe_load(config.read_text())
    values["data"] |= {"train": [{"file": "train.xyz", "count": 8, "weight": 2.5}, {"file": "test.xyz"}]}
    split = load_split(parse_config(values, "config"), data_folder)
    weights = sorted(f.weight for f in (*split.train, *split.valid))
    assert weights == [1.0] * 6 + [2.5] * 8
    dataset = Dataset.build(split.train, 3.0, split.elements)
    model = Potential(parse_config(values, "config").model, split.elements)
    graph, labels = dataset.batch(range(len(split.train)))
    p = model(graph, training=True)
    settings = TrainingConfig()
    energy, forces, _ = dataset.quantities
    terms = loss_terms(p, labels, graph, {energy: 1.0, forces: 0.0}, settings)
    assert list(terms) == ["energy"]
    whole = mean_loss(terms, entries(terms))
    difference = (p.energy - labels.values["energy"]) / graph.atoms_per_frame
    assert whole.item() == pytest.approx((labels.weight * difference**2).mean().item())
    with pytest.raises(ConfigError, match="its own count"):
        parse_config({"data": {"train": [{"file": "a"}], "train_count": 3}}, "config")


def test_metrics_keep_their_columns_and_lose_later_epochs(tmp_path):
    path = tmp_path / "metrics.csv"
    append_metrics(path, {"epoch": 1.0, "a": 0.1, "b": 2.0})
    append_metrics(path, {"epoch": 2.0, "b": 3.0, "a": 0.2})  # another order
    append_metrics(path, {"epoch": 3.0, "a": 0.3, "b": 4.0})
    assert [(r["a"], r["b"]) for r in read_metrics(path)] == [(0.1, 2.0), (0.2, 3.0), (0.3, 4.0)]
    whole = path.read_bytes()
    path.write_bytes(whole + b"4,0.")  # half a line, from a version that appended
    truncate_metrics(path, 3)
    assert path.read_bytes() == whole
    truncate_metrics(path, 2)
    assert [r["epoch"] for r in read_metrics(path)] == [1, 2]
    truncate_metrics(path, 0)
    assert not path.exists()


def test_a_checkpoint_without_newer_keys_goes_on(data_folder, make_config, tmp_path):
    """What an older version did not write has the default that it had then; what it spelt otherwise is read as well."""
    out, config = tmp_path / "run", make_config(training={"epochs": 2})
    assert run("train", config, "--data-dir", data_folder, "--output", out).exit_code == 0
    tensors, description = read_tensors(out / "checkpoint.safetensors")
    for section, key in (("training", "stages"), ("model", "zbl"), ("data", "stress_key")):
        del description["config"][section][key]
    del description["model"]["config"]["zbl"]
    for model in (description["config"]["model"], description["model"]["config"]):
        model["parity"] = "even"
    write_tensors(out / "checkpoint.safetensors", tensors, description)
    assert "going on from epoch 2" in run("train", config, "--data-dir", data_folder, "--output", out).stderr
    description["config"]["training"]["seed"] = 7
    write_tensors(out / "checkpoint.safetensors", tensors, description)
    again = run("train", config, "--data-dir", data_folder, "--output", out)
    assert again.exit_code == 2
    assert "another training.seed" in " ".join(again.stderr.split())


def test_training_stops_when_nothing_gets_better(data_folder, make_config, tmp_path):
    settings = {"epochs": 40, "early_stopping": 2, "learning_rate": 1e-9}
    out = tmp_path / "run"
    result = run("train", make_config(training=settings), "--data-dir", data_folder, "--output", out)
    assert result.exit_code == 0, result.output
    rows = (out / "metrics.csv").read_text().splitlines()
    assert 2 < len(rows) < 40
    again = run("train", make_config(training=settings), "--data-dir", data_folder, "--output", out)
    assert again.exit_code == 0
    assert (out / "metrics.csv").read_text().splitlines() == rows


def test_fine_tuning_goes_on_from_a_model(data_folder, make_config, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("train", make_config(), "--data-dir", data_folder, "--output", first).exit_code == 0
    settings = {"start_from": str(first), "learning_rate": 1e-6, "epochs": 1}
    result = run("train", make_config(training=settings), "--data-dir", data_folder, "--output", second)
    assert result.exit_code == 0, result.output
    start, end = load_model(first), load_model(second)
    assert end.elements == start.elements
    torch.testing.assert_close(end.shifts, start.shifts, atol=1e-3, rtol=0)  # refitted at the end of both
    torch.testing.assert_close(end.embedding, start.embedding, atol=1e-3, rtol=1e-3)
    other = run("train", make_config({"channels": 8}, settings), "--data-dir", data_folder, "--output", tmp_path / "x")
    assert other.exit_code == 2
    assert "another model.channels" in other.stderr.replace("\n", " ")


def test_a_committee_is_trained_and_used(data_folder, make_config, tmp_path):
    out = tmp_path / "run"
    settings = {"committee": 2, "epochs": 2}
    result = run("train", make_config(training=settings), "--data-dir", data_folder, "--output", out)
    assert result.exit_code == 0, result.output
    calculator = CartalgCalculator(out)
    assert len(calculator.models) == 2
    assert not torch.equal(calculator.models[0].embedding, calculator.models[1].embedding)
    atoms = read(data_folder / "test.xyz", 0)
    atoms.calc = calculator
    atoms.get_forces()
    assert calculator.results["forces_std"].max() > 0


def test_energies_end_without_an_offset(data_folder, make_config, tmp_path):
    out = tmp_path / "run"
    settings = {"epochs": 3, "learning_rate": 1e-6}  # too little to learn an offset by steps
    assert run("train", make_config(training=settings), "--data-dir", data_folder, "--output", out).exit_code == 0
    split = load_split(load_config(out.parent / "config.yaml"), data_folder)
    model = load_model(out)
    dataset = Dataset.build(split.train, 3.0, model.elements)
    graph, labels = dataset.batch(range(len(split.train)))
    errors = (model(graph).energy - labels.values["energy"]).numpy()
    counts = np.array([[f.atoms.get_chemical_symbols().count(e) for e in model.elements] for f in split.train])
    np.testing.assert_allclose(counts.T @ errors, 0, atol=1e-4 * abs(errors).max() * len(errors))
    before = model.shifts.clone()
    refit_shifts(model, dataset)
    torch.testing.assert_close(model.shifts, before, atol=1e-6, rtol=0)


@pytest.mark.parametrize("optimizer", ["adamw", "soap"])
def test_two_processes_train_as_one(data_folder, make_config, tmp_path, optimizer):
    """The same loss curve; with SOAP, whose bases without a gradient are decided by rounding, much the same errors."""
    settings = {"epochs": 3, "batch_size": 3, "optimizer": optimizer}
    config = make_config({"dtype": "float64"}, settings, train_count=13)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "cartalg"]
    arguments = ["train", config, "--data-dir", data_folder, "--output"]
    done = subprocess.run([*command, *map(str, [*arguments, tmp_path / "two"])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert run(*arguments, tmp_path / "one").exit_code == 0
    one, two = (
        [
            [float(v) for key, v in row.items() if key != "seconds"]
            for row in csv.DictReader((tmp_path / name / "metrics.csv").read_text().splitlines())
        ]
        for name in ("one", "two")
    )
    np.testing.assert_allclose(one, two, rtol=1e-7 if optimizer == "adamw" else 0.5)
    if optimizer == "adamw":
        first, second = load_model(tmp_path / "one"), load_model(tmp_path / "two")
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_threads_follow_the_work_of_a_batch(data_folder, make_config, monkeypatch):
    monkeypatch.setattr("cartalg.train.run.cores", lambda: 8)
    split = load_split(load_config(make_config()), data_folder)
    dataset = Dataset.build(list(split.train) * 60, 3.0, split.elements)
    edges = np.mean([len(graph.vectors) for graph in dataset.graphs[:32]])

    def threads(work, channels=32, processes=1, data=dataset):
        config = load_config(make_config({"channels": channels}, {"batch_size": int(work * EDGES_PER_THREAD / edges)}))
        return worthwhile_threads(config, data, processes)

    assert threads(0.2) == threads(1.2) == 1
    assert (threads(3), threads(3, channels=64), threads(3, channels=512)) == (3, 6, 8)
    assert threads(3, channels=512, processes=3) == 2
    few = Dataset(dataset.frames[:4], dataset.graphs[:4])
    assert threads(3, data=few) == 1  # a batch has no more frames than there are
