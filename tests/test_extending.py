"""docs/extending.md, taken literally: its files are written into a copy of the sources, and what they add is used."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()
SOURCES = ("cartalg", "codegen", "generated")
WALKS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


class Copy:
    """A copy of the sources that a walk has changed."""

    def __init__(self, folder, walk):
        self.folder, self.new, self.changed = folder, set(), []
        for name in SOURCES:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for block in re.findall(r"```python\n(.*?)```", WALKS[walk], re.DOTALL):
            first, _, rest = block.partition("\n")
            if match := re.fullmatch(r'# (\S+/\S+?)(?:, (after|in place of) (["\'])(.*)\3:)?', first):
                self.apply(folder / match[1], match[2], match[4], rest)

    def apply(self, path, how, anchor, text):
        if how is None:
            assert not path.exists(), f"{path} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            self.new.add(path)
        else:
            pattern = rf"^(.*{re.escape(anchor)}.*\n)"
            before, line, after = re.split(pattern, path.read_text(), maxsplit=1, flags=re.MULTILINE)
            path.write_text(before + (line if how == "after" else "") + text + after)
            self.changed.append(path)

    def __call__(self, *arguments):
        """Run Python on the copy; returns what it printed."""
        roots = [str(self.folder), *(str(self.folder / name) for name in SOURCES[1:])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        environment["CARTALG_CACHE_DIR"] = str(self.folder / "cache")
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def walked(tmp_path):
    return lambda walk: Copy(tmp_path / "copy", walk)


def test_the_table_counts_files_and_places(tmp_path):
    rows = re.findall(r"^\| \[(.*?)\]\(#.*?\) \| (\d+)[^|]* \| (\d+)[^|]* \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(WALKS)
    for n, (title, new, places) in enumerate(rows):
        (walk,) = (w for w in WALKS if w.lower() == title)
        copy = Copy(tmp_path / str(n), walk)
        assert (len(copy.new), len(copy.changed)) == (int(new), int(places)), title


def test_a_format(walked):
    copy = walked("A format of `cartalg inspect`")
    assert copy("-m", "cartalg", "inspect", "projector", "2", "--format", "srepr").startswith("Immutable")
    assert "srepr" in copy("-m", "cartalg", "inspect", "projector", "--help")


def test_a_kind_of_kernel(walked):
    copy = walked("A kind of kernel")
    copy("-m", "cartalg", "generate", "--only", "square_2", "--out", "squares")
    proved = copy("-m", "cartalg", "prove", "--max-rank", "2", "--kernels", "squares", "--all")
    assert "numba square_2" in proved
    assert "torch square_2" in proved
    code = """
import torch
from cartalg.ops import KernelSet, couple, evaluate
from cartalg_codegen.specs import SquareSpec, parse
from cartalg.testing import assert_invariant

assert parse("square_2") == SquareSpec(2)
a = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
scale = 3 / 2  # of the harmonic normalisation: (2, 2) -> 0 of T_2(n) with itself is 1, its square 3/2
for backend in ("numba", "torch"):
    square = lambda a: evaluate(SquareSpec(2), a, kernels=KernelSet("squares"), backend=backend)
    torch.testing.assert_close(square(a), scale * couple(a, a, (2, 2, 0), backend="torch"))
    assert_invariant(square, "2e")
    assert torch.autograd.gradcheck(square, (a,))
    assert torch.autograd.gradgradcheck(square, (a,))
print("all of it")
"""
    assert copy("-c", code).strip() == "all of it"


def test_a_backend(walked):
    copy = walked("A backend")
    kernels = ("harmonics_l2", "coupling_1_1_2", "product_natural_limited_a1_o1_n3", "pack_ij_ji", "unpack_ij_ji")
    copy("-m", "cartalg", "generate", *(word for name in kernels for word in ("--only", name)), "--out", "set")
    code = f"""
import sys
import torch
from cartalg.ops import KernelSet, couple, evaluate, harmonics
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.specs import parse

kernels, make = KernelSet("set"), torch.Generator().manual_seed(0)
assert list(BACKENDS) == ["numba", "torch", "numpy"]
for name in {kernels}:
    spec = parse(name)
    inputs = []
    for slot in spec.named("feature", "geometry", "parameter"):
        argument = spec.argument(slot)
        shape = (3, spec.components[slot], *([4] if argument.lanes else []))
        inputs.append(torch.randn(*shape, dtype=torch.float64, generator=make, requires_grad=True))
    index = tuple(torch.tensor([0, 2, 0]) for _ in spec.index)
    results = []
    for backend in BACKENDS:
        out = evaluate(spec, *inputs, index=index, kernels=kernels, backend=backend)
        first = torch.autograd.grad((out**2).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum((f**2).sum() for f in first), inputs)
        results.append([out, *first, *second])
    for other in results[1:]:
        for ours, theirs in zip(other, results[0], strict=True):
            torch.testing.assert_close(ours, theirs)
assert any(".numpy_kernels.product." in module for module in sys.modules)
print("all of it")
"""
    assert copy("-c", code).strip() == "all of it"


def test_an_option_of_a_layer(walked):
    copy = walked("An option of a layer")
    code = """
import torch
from ase.build import molecule
from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph
from cartalg.model import Potential

settings = {"channels": 2, "edge_rank": 1, "correlation": 2, "cutoff": 3.0, "dtype": "float64"}
found = []
for damped in (False, True):
    torch.manual_seed(0)
    model = Potential(ModelConfig(**settings, damped=damped), ("H", "O"))
    graph = build_graph(molecule("H2O"), 3.0, model.elements)
    ours, reference = model(graph), model(graph, training=True)
    torch.testing.assert_close(ours.forces, reference.forces.detach())
    found.append(ours.forces)
assert float((found[0] - found[1]).norm()) > 1e-3 * float(found[0].norm())
print("all of it")
"""
    assert copy("-c", code).strip() == "all of it"


def test_a_kind_of_label(walked, tmp_path):
    import json

    import numpy as np
    from ase.build import molecule
    from ase.io import write

    def labelled(n):
        atoms = molecule("H2O")
        atoms.rattle(0.05, rng=np.random.default_rng(n))
        atoms.info["energy"], atoms.arrays["forces"] = 0.0, np.zeros((3, 3))
        atoms.arrays["charges"] = np.array([-0.8, 0.4, 0.4])
        return atoms

    copy, folder = walked("A kind of label"), tmp_path / "data"
    folder.mkdir()
    write(folder / "train.xyz", [labelled(n) for n in range(12)], format="extxyz")
    settings = {
        "data": {"train": "train.xyz", "valid_count": 2},
        "model": {"cutoff": 3.0, "channels": 4, "edge_rank": 1, "correlation": 1, "layers": 1, "radial_hidden": [8]},
        "training": {"epochs": 80, "batch_size": 2, "charges_weight": 1.0, "learning_rate": 0.02, "ema_decay": 0.5},
    }
    (folder / "config.yaml").write_text(json.dumps(settings))
    copy("-m", "cartalg", "train", folder / "config.yaml", "--output", tmp_path / "run", "--backend", "torch")
    errors = json.loads(copy("-m", "cartalg", "evaluate", tmp_path / "run", folder / "train.xyz", "--json"))
    assert errors["charges_rmse_me"] < 150  # of a spread of 570


def test_a_data_set(walked, tmp_path):
    from ase.build import molecule
    from ase.io import read, write

    copy, folder = walked("A data set"), tmp_path / "published"
    folder.mkdir()
    write(folder / "ammonia.xyz", [molecule("NH3"), molecule("NH3")], format="extxyz")
    assert "ammonia" in copy("-m", "cartalg", "data", "list")
    copy("-m", "cartalg", "data", "get", "ammonia", "--from", folder, "--unchecked", "--to", tmp_path / "got")
    assert len(read(tmp_path / "got" / "ammonia.xyz", ":")) == 2
