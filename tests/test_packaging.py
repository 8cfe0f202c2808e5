"""The wheel, built from the checkout and used away from it, with and without each extra.

An environment of a test holds the wheel and links to what its metadata asks for, taken from the environment that runs
the tests: nothing is downloaded, and what is not declared is not there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cartalg import __version__
from cartalg.extras import EXTRAS, MissingExtra, require

ROOT = Path(__file__).parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "cartalg", "codegen", "generated")
PACKAGES = {"cartalg": "cartalg", "cartalg_codegen": "codegen/cartalg_codegen"}
PACKAGES |= {"cartalg_kernels": "generated/cartalg_kernels"}
RUBBISH = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".*")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A wheel of the checkout as it is; the build reads nothing but its sources."""
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, target = ROOT / name, checkout / name
        shutil.copytree(source, target, ignore=RUBBISH) if source.is_dir() else shutil.copy(source, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", out, checkout], check=True)
    (built,) = out.glob("*.whl")
    return built


def closure(requirements, seen):
    """Distributions of this environment that requirements ask for, theirs included: {name: extras}."""
    for requirement in map(Requirement, requirements):
        name, extras = re.sub(r"[-_.]+", "-", requirement.name).lower(), frozenset(requirement.extras)
        known = seen.get(name)
        if known is not None and extras <= known:
            continue
        seen[name] = extras | (known or frozenset())
        found = distribution(name)
        assert requirement.specifier.contains(found.version, prereleases=True), f"{requirement}, not {found.version}"
        closure(asked_for(found, seen[name]), seen)
    return seen


def asked_for(dist, extras=frozenset()):
    """The requirements of a distribution with some of its extras, its own extras that these name included."""
    extras, wanted = set(extras), set()
    while True:
        found = {r for r in map(Requirement, dist.requires or ()) if applies(r, extras)}
        if found == wanted:
            return [str(r).partition(";")[0] for r in wanted if r.name != dist.name]
        wanted, extras = found, extras | {e for r in found if r.name == dist.name for e in r.extras}


def applies(requirement, extras):
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


class Environment:
    """A fresh environment with the wheel, and links to what it asks for with some extras."""

    def __init__(self, folder, wheel, *extras):
        venv.create(folder / "env", with_pip=False)
        self.folder = folder
        self.python = folder / "env" / "bin" / "python"
        (site,) = (folder / "env" / "lib").glob("python*/site-packages")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        (own,) = PathDistribution.discover(name="cartalg", path=[str(site)])
        assert own.version == __version__
        for name in closure(asked_for(own, extras), {}):
            dist = distribution(name)
            for top in {Path(file).parts[0] for file in dist.files or () if ".." not in Path(file).parts}:
                source, target = Path(dist.locate_file(top)), site / top
                if source.exists() and not target.exists() and not top.endswith(".pth"):
                    target.symlink_to(source)

    def __call__(self, *arguments, code=0, **variables):
        """Run Python in an empty folder; returns what it printed."""
        away = self.folder / "away"
        away.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **variables}
        command = [str(a) for a in (self.python, *arguments)]
        done = subprocess.run(command, cwd=away, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout


@pytest.fixture(scope="session")
def plain(wheel, tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("plain"), wheel)


def test_the_wheel_holds_the_sources_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {n for n in archive.namelist() if ".dist-info/" not in n}
        licences = [n for n in archive.namelist() if n.endswith("licenses/LICENSE")]
    wanted = set()
    for package, folder in PACKAGES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wanted.add(str(Path(package) / path.relative_to(ROOT / folder)))
    assert held == wanted
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert {"cartalg_kernels/manifest.json", "cartalg/atlas/templates/base.html"} <= held
    assert licences


def test_inspect_generate_and_prove_need_no_extra(plain, tmp_path):
    assert "xi xj − 1/3 δij r²" in plain("-m", "cartalg", "inspect", "projector", "2")
    assert "<math" in plain("-m", "cartalg", "inspect", "coupling", "1", "1", "2", "--format", "mathml")
    assert "2x0 + 2x2 + 1x4" in plain("-m", "cartalg", "inspect", "tensor", "ijkl=jikl=klij")
    assert "current" in " ".join(plain("-m", "cartalg", "generate", "--check").split())
    own = tmp_path / "own"
    plain("-m", "cartalg", "generate", "--max-rank", "1", "--out", own)
    report = tmp_path / "proofs.json"
    plain("-m", "cartalg", "prove", "--max-rank", "1", "--kernels", own, "--out", report)
    rows = json.loads(report.read_text())
    assert any(row["kind"] == "kernel" for row in rows)
    assert not [row["name"] for row in rows if row["failure"]]


def test_the_rules_are_imported_with_no_extra(plain):
    code = "import sys, cartalg.symbolic, cartalg.symbolic.spherical, cartalg.symbolic.reducible, cartalg_codegen.emit;"
    code += f"print(sorted(set(sys.modules) & set({[m for e in EXTRAS.values() for m in e]})))"
    assert plain("-c", code).strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("train", "config.yaml", "--output", "out"), "train"),
        (("evaluate", "model", "frames.xyz"), "train"),
        (("demo",), "train"),
        (("lammps", "run"), "lammps"),
        (("data", "get", "rmd17"), "train"),
        (("atlas",), "atlas"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_missing_extra_is_one_line(plain, arguments, extra):
    said = plain("-m", "cartalg", *arguments, code=2)
    command = "cartalg " + " ".join(arguments[: 2 if arguments[0] == "data" else 1])
    assert said.startswith(f"error: {command} needs cartalg[{extra}]: pip install 'cartalg[{extra}]'")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("ops", "torch"),
        ("data.frames", "train"),
        ("train.run", "train"),
        ("interfaces.ase", "train"),
        ("atlas.site", "atlas"),
    ],
)
def test_a_package_says_which_extra_it_needs(plain, module, extra):
    said = plain("-c", f"import cartalg.{module}", code=1).strip().splitlines()[-1]
    package = module.partition(".")[0]
    assert f"MissingExtra: cartalg.{package} needs cartalg[{extra}]: pip install 'cartalg[{extra}]'" in said


def test_kernels_run_with_the_torch_extra_alone(wheel, tmp_path):
    run = Environment(tmp_path, wheel, "torch")
    code = "import sys, torch; from cartalg.ops import couple; t = torch.ones(2, 3, 16, requires_grad=True);"
    code += "z = couple(t, t, (1, 1, 0), backend='numba'); z.sum().backward();"
    code += "print(z.sum().item(), t.grad.sum().item());"
    code += "from cartalg.ops import KernelSet; print(KernelSet().folder); print('ase' in sys.modules)"
    numbers, folder, ase = run("-c", code, CARTALG_CACHE_DIR=str(tmp_path / "cache")).splitlines()
    assert numbers == "96.0 192.0"
    assert Path(folder).is_relative_to(tmp_path / "env")
    assert ase == "False"
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    said = run("-m", "cartalg", "train", "config.yaml", "--output", "out", code=2)
    assert said.startswith("error: cartalg train needs cartalg[train]")


def test_a_potential_is_trained_with_the_train_extra(wheel, tmp_path):
    run = Environment(tmp_path, wheel, "train")
    folder = run("-c", "from cartalg.datasets import dataset_folder; print(dataset_folder())").strip()
    assert Path(folder).is_relative_to(tmp_path / "env")
    settings = {
        "data": {"train": "acetamide.xyz.gz", "train_count": 4, "valid_count": 2},
        "model": {"cutoff": 3.0, "channels": 2, "hidden_rank": 0, "edge_rank": 1, "correlation": 1, "layers": 1},
        "training": {"epochs": 1, "batch_size": 2},
    }
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    arguments = ("train", config, "--data-dir", folder, "--output", tmp_path / "out", "--backend", "torch")
    run("-m", "cartalg", *arguments)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_the_wheel_compiles_no_usual_kernel(wheel, tmp_path):
    """Where `make` has made objects; a checkout without them makes a wheel without them."""
    if not (ROOT / "generated/cartalg_kernels/objects/index.json").exists():
        pytest.skip("no objects in this checkout: make env")
    run = Environment(tmp_path, wheel, "train")
    folder = run("-c", "from cartalg.datasets import dataset_folder; print(dataset_folder())").strip()
    settings = {
        "data": {"train": "acetamide.xyz.gz", "train_count": 4, "valid_count": 2},
        "model": {"cutoff": 3.0, "channels": 16, "hidden_rank": 1, "edge_rank": 2},
        "training": {"epochs": 1, "batch_size": 2},
    }
    config, cache = tmp_path / "config.yaml", tmp_path / "cache"
    for more, compiles in (({}, False), ({"channels": 5}, True)):
        config.write_text(json.dumps({**settings, "model": {**settings["model"], **more}}))
        arguments = ("train", config, "--data-dir", folder, "--output", tmp_path / f"out{compiles}")
        run("-m", "cartalg", *arguments, CARTALG_CACHE_DIR=str(cache))
        assert bool(list(cache.rglob("*.o"))) == compiles


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (("--help",), {"sympy", "numpy", "cartalg_codegen"}),
        (("data", "list"), {"sympy", "numpy", "cartalg_codegen"}),
        (("inspect", "projector", "2"), {"flint.test", "cartalg_codegen.proofs"}),
        (("generate", "--check"), {"cartalg_codegen.proofs"}),
        (("train", "--help"), {"sympy", "numpy"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_imports_no_more_than_it_needs(arguments, unwanted):
    code = "import sys, runpy\ntry: runpy.run_module('cartalg', run_name='__main__')\n"
    code += "finally: print('LOADED', *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.rpartition("LOADED")[2].split())
    assert "typer" in loaded
    own = {"pydantic", "pygments"}  # Typer takes the one, Rich the other, where they are installed
    heavy = {module for extra in EXTRAS.values() for module in extra} - own
    assert loaded & (heavy | unwanted) == set()


def test_an_extra_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(EXTRAS, "train", ("torch", "no_such_module"))
    with pytest.raises(MissingExtra, match=r"cartalg train needs cartalg\[train\]: pip install .* no_such_module"):
        require("train", "cartalg train")


def test_versions_agree():
    """One version, in the package; files that repeat it for people say the same."""
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] in (__version__, "Unreleased")


def test_every_dependency_is_pinned_within_its_range():
    """constraints.txt pins what pyproject.toml leaves open, and torch, whose newer releases come with gigabytes."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    listed = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    requirements = [r for r in map(Requirement, listed) if r.name != "cartalg"]
    assert len(requirements) > 30
    for requirement in requirements:
        assert requirement.specifier.contains(pins[re.sub(r"[-_.]+", "-", requirement.name).lower()]), requirement
    assert pins["torch"] == "2.13.0"
