"""A named set from its data to a result, also after a kill; results as tables; the page is what its results give."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write
from typer.testing import CliRunner

from cartalg.benchmark import table
from cartalg.benchmark.record import Clock, hash_of, thinned
from cartalg.benchmark.render import BEGIN, END, picture_of, read_results, tables, written_into
from cartalg.benchmark.run import settings_of
from cartalg.benchmark.table import BENCHMARKS, LENGTHS, Benchmark, Published
from cartalg.cli import app
from cartalg.datasets import registry
from cartalg.datasets.registry import SETS
from cartalg.train.config import parse_config

ROOT = Path(__file__).parents[2]
MODEL = {"cutoff": 3.0, "channels": 4, "hidden_rank": 1, "edge_rank": 1, "correlation": 2, "radial_hidden": [8]}


def run(*arguments):
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A data set, its files as published, and settings for it."""
    folder = tmp_path_factory.mktemp("published")
    for part, count in (("train", 12), ("test", 4)):
        frames = []
        for n in range(count):
            atoms = molecule("C2H6" if n % 2 else "CH3OH")
            atoms.rattle(0.05, seed=n)
            atoms.calc = EMT()
            atoms.info |= {"REF_energy": atoms.get_potential_energy(), "kind": "odd" if n % 2 else "even"}
            atoms.arrays["REF_forces"] = atoms.get_forces()
            atoms.calc = None
            frames.append(atoms)
        write(folder / f"{part}.xyz", frames, format="extxyz")
    training = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01}
    values = {"data": {"train": "train.xyz", "valid_count": 4, "test": "test.xyz"}, "model": MODEL}
    (folder / "small.yaml").write_text(yaml.safe_dump({**values, "training": training}))
    return folder


@pytest.fixture
def small(files, monkeypatch):
    """The benchmark `small` of that set."""
    ready = {name: table_hash(files / name) for name in ("train.xyz", "test.xyz")}
    about = replace(SETS["3bpa"], title="small", form="final", frames={"train.xyz": 12, "test.xyz": 4}, ready=ready)
    monkeypatch.setitem(registry.SETS, "small", about)
    monkeypatch.setattr(table, "SETTINGS", files)
    others = Published("other", "a paper", {"energy_mae_meV": 1.5, "forces_mae_meV_per_A": 20.0}, "other frames")
    row = Benchmark(
        "a small one", "small", "small.yaml", table.MAE, {"short": 2, "long": 5}, by="kind", published=(others,)
    )
    monkeypatch.setitem(BENCHMARKS, "small", row)
    return files


def table_hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_benchmark_is_a_valid_run():
    """Its data set has a name, its settings are an example's, each length of it is a configuration."""
    assert {"mlearn_li", "mlearn_si", "ethanol_botnet", "acetylacetone", "3bpa"} <= BENCHMARKS.keys()
    for name, about in BENCHMARKS.items():
        assert about.dataset in SETS
        assert about.member in ("", *SETS[about.dataset].members)
        assert about.file.read_bytes() == (ROOT / "docs" / "examples" / about.settings).read_bytes()
        for length in LENGTHS:
            config = parse_config(settings_of(about, length), name)
            assert config.training.threads == 1
        assert config.training.epochs == 1
        data = SETS[about.dataset]
        assert {config.data.train, config.data.test or config.data.train} <= data.frames.keys()
        assert all(set(about.measure) <= p.errors.keys() for p in about.published)


def test_from_the_data_to_a_result(small, tmp_path):
    out = tmp_path / "out"
    result = run("small", "--from", small, "--output", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout[result.stdout.index("{") :])
    assert found == json.loads((out / "result.json").read_text())
    assert (found["benchmark"], found["length"]) == ("small", "example")
    assert found["config"]["training"] == {"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "threads": 1}
    assert found["data"]["sha256"] == {name: table_hash(small / name) for name in ("train.xyz", "test.xyz")}
    assert found["model_sha256"] == table_hash(out / "run" / "model.safetensors")
    assert found["config_sha256"] == hash_of(parse_config(found["config"], "").model_dump(mode="json"))
    assert [row["epoch"] for row in found["curve"]] == [1, 2, 3]
    assert 0 < found["curve"][0]["cpu_s"] <= found["time"]["cpu_s"]
    assert {"torch", "python", "cartalg"} <= found["versions"].keys()
    assert found["machine"]["cores"] > 0
    assert {name: of["frames"] for name, of in found["groups"].items()} == {"even": 2, "odd": 2}
    assert found["errors"]["test"]["forces_mae_meV_per_A"] > 0
    assert {"C-C", "C-H", "C-O", "H-H", "H-O"} <= found["pairs"].keys()
    assert found["published"][0]["forces_mae_meV_per_A"] == 20
    assert (out / "learning.png").stat().st_size > 0
    before = (out / "run" / "model.safetensors").stat().st_mtime_ns
    again = run("small", "--from", small, "--output", out)
    assert again.exit_code == 0, again.output
    assert "other: 1.5, 20 [1, other frames]" in again.stdout
    assert "other: a paper" in again.stdout
    assert (out / "run" / "model.safetensors").stat().st_mtime_ns == before
    other = run("small", "--from", small, "--output", out, "--short")
    assert other.exit_code == 2
    assert "another training.epochs; choose another --output, or --restart" in " ".join(other.stderr.split())


def test_a_killed_run_is_gone_on_with(small, tmp_path, monkeypatch):
    """Its time is that of all sessions, its curve has each epoch once, its model is that of an undisturbed run."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run("small", "--from", small, "--output", whole).exit_code == 0
    epoch, seen = Clock.epoch, []

    def killed(self, row):
        epoch(self, row)
        seen.append(row["epoch"])
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Clock, "epoch", killed)
    assert run("small", "--from", small, "--output", broken).exit_code != 0
    assert not (broken / "result.json").exists()
    first = json.loads((broken / "clock.json").read_text())["time"]["cpu_s"]
    result = run("small", "--from", small, "--output", broken)
    assert result.exit_code == 0, result.output
    found, expected = (json.loads((folder / "result.json").read_text()) for folder in (broken, whole))
    assert [row["epoch"] for row in found["curve"]] == [1, 2, 3]
    assert found["time"]["sessions"] == 2
    assert found["time"]["cpu_s"] > first
    assert found["model_sha256"] == expected["model_sha256"]
    assert found["errors"] == expected["errors"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give the NAME of a benchmark"),
        (("nothing",), "no benchmark 'nothing'; there are acetylacetone, 3bpa"),
        (("3bpa", "--short", "--long"), "give one of --short and --long"),
        (("--write", "page.md"), "--write PAGE and --results FOLDER belong together"),
        (("mlearn_li", "--quick", "--from", "/nowhere", "--output", "/tmp/never"), "no folder /nowhere"),
    ],
)
def test_bad_input_is_one_line(arguments, says):
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_what_there_is_is_listed():
    text = run("--list").stdout
    assert all(name in text for name in BENCHMARKS)


def test_thinned_curves_end_where_they_ended():
    curve = [{"epoch": n} for n in range(1, 1001)]
    assert [row["epoch"] for row in thinned(curve, 4)] == [250, 500, 750, 1000]
    assert thinned(curve[:3], 4) == curve[:3]


def test_a_page_is_written_between_its_marks(tmp_path):
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "results")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert run("--results", tmp_path / "results", "--write", page).exit_code == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert sorted(re.findall(r"\((images/.*?)\)", text)) == [
        f"images/{p.name}" for p in sorted((tmp_path / "images").iterdir())
    ]
    page.write_text("no marks")
    assert "has no line" in run("--results", tmp_path / "results", "--write", page).stderr
    (tmp_path / "results" / "bad.json").write_text("{}")
    assert "bad.json: not a result" in " ".join(run("--results", tmp_path / "results", "--write", page).stderr.split())
    assert "holds no result" in run("--results", tmp_path, "--write", page).stderr


def test_the_page_of_results_is_what_its_results_give():
    text, results = (ROOT / "docs" / "results.md").read_text(), read_results(ROOT / "docs" / "results")
    assert written_into(text, tables(results)) == text, (
        "run `cartalg benchmark --results docs/results --write docs/results.md`"
    )
    for result in results:
        assert (ROOT / "docs" / picture_of(result)).is_file()
        about = BENCHMARKS[result["benchmark"]]
        assert re.fullmatch(r"[0-9a-f]{64}", result["model_sha256"])
        assert set(result["data"]["sha256"].values()) <= {*SETS[about.dataset].ready.values()}
