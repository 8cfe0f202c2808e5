"""The uncertainty of a model: what it is scaled by, what it does not depend on, and where it is kept."""

import json

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read, write
from rich.progress import Progress
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.data.graphs import build_graph
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.simulate.dynamics import LeftCoverage, simulate
from cartalg.simulate.options import Simulation
from cartalg.train.checkpoint import MODEL_FILE, CheckpointError, save_model
from cartalg.train.records import read_metrics
from cartalg.train.run import evaluate_file, train_run
from cartalg.uncertainty.assess import Reliability, assess
from cartalg.uncertainty.committee import COMMITTEE_FILE, Predictor
from cartalg.uncertainty.fit import calibrate, fit
from cartalg.uncertainty.measure import Uncertainty, load_uncertainty, uncertainty_file
from uncertainty.conftest import CONFIG, ELEMENTS, make_model


def spread_of(model, measured, atoms):
    graph = build_graph(atoms, CONFIG.cutoff, ELEMENTS, "test")
    return measured.spread(graph, model(graph, descriptors=True))


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("chunk", [None, 3])
def test_descriptors_are_the_scalars_of_every_layer(backend, chunk):
    model = make_model()
    model.backend, model.chunk = backend, chunk
    graph = build_graph(molecule("CH3OH"), CONFIG.cutoff, ELEMENTS, "test")
    plain, described = make_model()(graph), model(graph, descriptors=True)
    expected = [h[:, 0] for h in make_model().features(graph, graph.vectors.float())]
    torch.testing.assert_close(described.descriptors, torch.stack(expected, 1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(described.forces, plain.forces, atol=1e-5, rtol=1e-4)
    assert plain.descriptors is None
    assert model(graph).descriptors is None


def test_errors_on_validation_frames_are_as_large_as_said(model, measured, dataset):
    found = assess(Predictor([model], [measured]), dataset("valid.xyz"), batch_size=3)
    for name in ("energy", "forces"):
        assert found.reliability[name].scale == pytest.approx(1, rel=1e-5)
    assert len(found.reliability["energy"].errors) == 8
    assert found.grades.max() <= 1 + 1e-6


def test_only_what_was_learnt_has_an_uncertainty(model, dataset):
    found = fit(model, dataset("train.xyz"), dataset("valid.xyz"), ["forces"])
    assert found.known == ("forces",)
    spread = spread_of(model, found, molecule("CH3OH"))
    assert spread.energy is None
    assert spread.energies is None
    assert (spread.forces > 0).all()


def test_grades_rise_with_the_distance_from_the_data_and_reach_1_in_it(model, measured, data):
    frames = read(data / "train.xyz", ":") + read(data / "valid.xyz", ":")
    assert max(float(spread_of(model, measured, a).grades.max()) for a in frames) == pytest.approx(1, rel=1e-6)
    atoms = molecule("CH3OH")
    away = [atoms.copy() for _ in range(4)]
    for n, one in enumerate(away):
        one.positions[1] *= 1 + 0.15 * n
    grades = [float(spread_of(model, measured, one).grades.max()) for one in away]
    assert grades == sorted(grades)
    assert grades[-1] > 2


def test_it_turns_with_the_atoms_and_adds_up(model, measured):
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, rng=np.random.default_rng(0))
    spread, turned = spread_of(model, measured, atoms), atoms.copy()
    turned.rotate(40, (1, 2, 3))
    order = [3, 1, 0, 5, 4, 2]
    for name, values in vars(spread_of(model, measured, turned[order])).items():
        own = getattr(spread, name)
        torch.testing.assert_close(values, own if name == "energy" else own[order], rtol=1e-3, atol=1e-8)
    twice = atoms.copy()
    twice.translate((50, 0, 0))
    double = spread_of(model, measured, atoms + twice)
    assert float(double.energy) == pytest.approx(2 * float(spread.energy), rel=1e-4)
    assert float(spread.energies.sum()) == pytest.approx(float(spread.energy))


def test_an_element_that_the_data_lack_is_beyond_any_grade(model, measured):
    spread = spread_of(model, measured, Atoms("CuO", [[0, 0, 0], [0, 0, 1.8]]))
    assert spread.grades[0] == torch.inf
    assert spread.energy == torch.inf


def test_files_are_whole_and_of_this_model(model, measured, run):
    file = uncertainty_file(run)
    found = load_uncertainty(run, model)
    assert vars(found).keys() == vars(measured).keys()
    assert (found.energy, found.forces, found.model) == (measured.energy, measured.forces, measured.model)
    for name in ("count", "mean", "factor"):
        torch.testing.assert_close(
            getattr(found.density, name), getattr(measured.density, name), equal_nan=True, rtol=0, atol=0
        )
    save_model(run / MODEL_FILE, make_model(1))
    with pytest.raises(CheckpointError, match="of another model"):
        CartalgCalculator(run)
    save_model(file, model)
    with pytest.raises(CheckpointError, match="not the uncertainty"):
        Uncertainty.read(file)
    file.unlink()
    assert load_uncertainty(run, make_model(1)) is None
    assert uncertainty_file(run / MODEL_FILE) == file
    save_model(run.parent / "small.safetensors", model)
    assert uncertainty_file(run.parent / "small.safetensors").name == "small.uncertainty.safetensors"


def test_the_calculator_gives_it_by_name_and_only_then(run, model, measured):
    atoms = molecule("CH3OH")
    atoms.calc = calculator = CartalgCalculator(run)
    forces = atoms.get_forces()
    assert not {"grade", "forces_std"} & calculator.results.keys()
    spread = spread_of(model, measured, atoms)
    assert calculator.get_property("grade", atoms) == pytest.approx(float(spread.grades.max()), rel=1e-5)
    results = calculator.results
    np.testing.assert_allclose(results["forces_std"], np.repeat(spread.forces.numpy()[:, None], 3, 1), rtol=1e-4)
    np.testing.assert_allclose(results["energies_std"], spread.energies, rtol=1e-4)
    assert results["energy_std"] == pytest.approx(results["energies_std"].sum())
    np.testing.assert_array_equal(results["forces"], forces)
    atoms.calc = always = CartalgCalculator(run, uncertainty=True)
    atoms.get_potential_energy()
    assert {"grade", "grades", "energy_std", "energies_std", "forces_std"} <= always.results.keys()


def test_a_calculator_says_where_there_is_none(run, model):
    uncertainty_file(run).unlink()
    with pytest.raises(CheckpointError, match="run `cartalg uncertainty`"):
        CartalgCalculator(run, uncertainty=True)
    atoms = molecule("CH3OH")
    with pytest.raises(PropertyNotImplementedError, match="grade"):
        CartalgCalculator(model).get_property("grade", atoms)


def test_a_committee_is_scaled_by_what_validation_found(dataset, tmp_path):
    models = [make_model(seed) for seed in range(3)]
    for number, one in enumerate(models):
        save_model(tmp_path / f"member-{number}" / MODEL_FILE, one)
    atoms = molecule("CH3OH")
    plain = CartalgCalculator(tmp_path)
    plain.get_property("energy_std", atoms)
    found = calibrate(tmp_path, dataset("valid.xyz"))
    found.write(tmp_path)
    scaled = CartalgCalculator(tmp_path)
    scaled.get_property("energy_std", atoms)
    for name in ("energy", "forces"):
        own = found.factors[name] * plain.results[f"{name}_std"]
        np.testing.assert_allclose(scaled.results[f"{name}_std"], own, rtol=1e-6)
    again = assess(Predictor.open(tmp_path), dataset("valid.xyz"))
    assert again.reliability["forces"].scale == pytest.approx(1, rel=1e-5)
    assert again.grades is None
    values = json.loads((tmp_path / COMMITTEE_FILE).read_text())
    (tmp_path / COMMITTEE_FILE).write_text(json.dumps(values | {"models": values["models"][::-1]}))
    with pytest.raises(CheckpointError, match="of other models"):
        CartalgCalculator(tmp_path)
    (tmp_path / COMMITTEE_FILE).write_text("[]")
    with pytest.raises(CheckpointError, match="not the calibration"):
        CartalgCalculator(tmp_path)


def simulated(run, tmp_path, atoms, **options):
    tmp_path.mkdir(exist_ok=True)
    write(tmp_path / "start.xyz", atoms)
    with Progress(disable=True) as bar:
        return simulate(run, tmp_path / "start.xyz", tmp_path / "md", Simulation(**options), "auto", bar)


def test_a_simulation_logs_grades_and_stops_at_one(run, tmp_path):
    atoms = molecule("CH3OH")
    options = {"temperature": 100, "steps": 20, "log_interval": 1, "max_grade": 1e3}
    simulated(run, tmp_path, atoms, **options)
    rows = read_metrics(tmp_path / "md" / "log.csv")
    assert len(rows) == 21
    assert all(row["grade"] > 0 and row["energy_std_eV"] > 0 for row in rows)
    assert rows[3]["grade"] != rows[4]["grade"]
    last = read(tmp_path / "md" / "final.xyz")
    assert last.info["grade"] == pytest.approx(rows[-1]["grade"], rel=1e-6)
    assert last.arrays["grades"].shape == (6,)
    limit = rows[0]["grade"] / 2
    with pytest.raises(LeftCoverage, match=rf"extrapolation grade .*; the limit is {limit:.3g}"):
        simulated(run, tmp_path / "x", atoms, **{**options, "max_grade": limit})
    with pytest.raises(LeftCoverage, match=r"the force on atom \d .* is uncertain by .* eV/A; the limit is 1e-06"):
        simulated(run, tmp_path / "y", atoms, **options, max_deviation=1e-6)


def test_a_simulation_stops_by_the_margin_and_goes_on_without_a_guard(run, tmp_path):
    atoms = molecule("CH3OH")
    atoms.positions[1] *= 1.5  # far from what the data have
    options = {"temperature": 10, "steps": 2, "max_force": 1e6}
    with pytest.raises(LeftCoverage, match=r"extrapolation grade .*; the limit is 1"):
        simulated(run, tmp_path, atoms, **options, guard_margin=0.0)
    assert simulated(run, tmp_path, atoms, **options, guard=False).steps == 2


def test_a_log_without_grades_is_not_gone_on_with(run, model, tmp_path):
    measured = uncertainty_file(run)
    kept = measured.read_bytes()
    measured.unlink()
    options = {"temperature": 100, "guard": False}
    simulated(run, tmp_path, molecule("CH3OH"), **options, steps=2)
    measured.write_bytes(kept)
    with pytest.raises(CheckpointError, match="another uncertainty"):
        simulated(run, tmp_path, molecule("CH3OH"), **options, steps=4)


def test_figures_of_reliability_are_what_they_say():
    """Normal errors of known deviations, and the same ones said to be twice as certain."""
    rng = np.random.default_rng(0)
    deviations = 10 ** rng.uniform(-3, 0, 20_000)
    right = Reliability(rng.normal(size=(20_000, 3)) * deviations[:, None], deviations)
    assert right.scale == pytest.approx(1, abs=0.01)
    assert right.miscalibration < 0.005
    assert right.rank > 0.8
    entropy = np.mean(np.log(deviations)) + (1 + np.log(2 * np.pi)) / 2
    assert right.likelihood == pytest.approx(entropy, abs=0.02)
    np.testing.assert_allclose(*right.bins(), rtol=0.05)
    certain = Reliability(right.errors, deviations / 2)
    assert certain.scale == pytest.approx(2 * right.scale)
    assert certain.miscalibration > 0.1
    assert certain.likelihood > right.likelihood + 0.5
    assert certain.rank == right.rank


def test_evaluate_sets_errors_beside_those_expected(run, data, tmp_path):
    arguments = ["evaluate", run, data / "hot.xyz", "--plot", tmp_path / "parity.png"]
    found = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)
    with Progress(disable=True) as bar:
        own = evaluate_file(run, data / "hot.xyz", {}, None, tmp_path / "p.png", "auto", bar).assessment
    assert values["uncertainty"]["forces"] == pytest.approx(own.reliability["forces"].figures())
    assert values["largest_grade"] == pytest.approx(own.grades.max())
    assert values["largest_grade"] > 1
    np.testing.assert_allclose(
        np.sqrt((own.reliability["forces"].errors ** 2).mean()) * 1e3, values["forces_rmse_meV_per_A"], rtol=1e-6
    )
    assert (tmp_path / "uncertainty.png").stat().st_size > 10_000
    table = CliRunner().invoke(app, [*map(str, arguments)])
    assert "errors beside those that the model expects" in table.output
    uncertainty_file(run).unlink()
    plain = json.loads(CliRunner().invoke(app, [*map(str, arguments), "--json"]).stdout)
    assert "uncertainty" not in plain
    assert plain["forces_rmse_meV_per_A"] == values["forces_rmse_meV_per_A"]


def test_training_measures_it_and_a_run_can_be_measured_again(data, tmp_path):
    model = {name: getattr(CONFIG, name) for name in ("cutoff", "channels", "edge_rank", "correlation", "knots")}
    values = {"data": {"train": "train.xyz", "valid": "valid.xyz"}, "model": {**model, "radial_hidden": [8]}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**values, "training": {"epochs": 2, "committee": 2}}))
    with Progress(disable=True) as bar:
        train_run(tmp_path / "c.yaml", tmp_path / "run", data, False, "auto", bar)
    files = [uncertainty_file(tmp_path / "run" / f"member-{n}") for n in (0, 1)]
    first = Uncertainty.read(files[0])
    assert first.known == ("energy", "energies", "forces")
    for file in (*files, tmp_path / "run" / COMMITTEE_FILE):
        file.unlink()
    found = CliRunner().invoke(app, ["uncertainty", str(tmp_path / "run"), "--data-dir", str(data)])
    assert found.exit_code == 0, found.output
    again = Uncertainty.read(files[0])
    assert (again.model, again.energy, again.forces) == (first.model, first.energy, first.forces)
    calculator = CartalgCalculator(tmp_path / "run", uncertainty=True)
    assert calculator.get_property("grade", molecule("CH3OH")) > 0
    assert set(calculator.factors) == {"energy", "forces"}
    found = CliRunner().invoke(app, ["evaluate", str(tmp_path / "run"), str(data / "hot.xyz"), "--json"])
    assert json.loads(found.stdout)["uncertainty"]["energy"]["error_over_std"] > 0
