"""What training and the calculator import before they do anything: each second of it is a second at every start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Slow to import: 0.1 to 1 s each.
TORCH, SYMPY, SCIPY, MATPLOTLIB = "torch", "sympy", "scipy", "matplotlib"
COMPILER = "torch._dynamo"
FRAMES = "cartalg/datasets/acetamide"
CONFIG = """
data: {train: acetamide.xyz.gz, train_count: 4, valid_count: 2}
model: {cutoff: 3.0, channels: 4, hidden_rank: 1, edge_rank: 1, correlation: 2}
training: {epochs: 1, batch_size: 2}
"""


def imported(code, *arguments):
    """Third-party modules that are imported when a piece of code has run in a process of its own."""
    end = "import json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    text = f"try:\n    {code}\nexcept SystemExit as e:\n    assert not e.code\n{end}"
    path = os.pathsep.join(map(str, (ROOT, ROOT / "codegen", ROOT / "generated")))
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


COMMAND = "from cartalg.cli import app; app()"


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import cartalg", {TORCH, SYMPY, "numpy"}),
        ("import cartalg.ops; cartalg.ops.open_kernels()", {SYMPY, "ase", COMPILER}),
        ("import cartalg.interfaces.ase", {SYMPY, SCIPY, MATPLOTLIB, "yaml", "rich", COMPILER}),
    ],
)
def test_a_start_imports_what_it_needs(code, without):
    found = imported(code)
    assert "cartalg" in found
    assert found & without == set()


def test_training_imports_neither_algebra_nor_compilers(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    options = ("--data-dir", str(ROOT / FRAMES), "--output", str(tmp_path / "run"))
    found = imported(COMMAND, "train", str(tmp_path / "config.yaml"), *options)
    assert {TORCH, "ase.io", MATPLOTLIB} <= found
    assert found & {SYMPY, COMPILER, "matplotlib.pyplot", "numba"} == set()
