import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cartalg.cli import app


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_inspect_prints_every_format():
    assert "ε_iqr" in run("inspect", "coupling", "2", "1", "2").stdout
    assert r"\delta_{ij}" in run("inspect", "projector", "3", "--format", "latex").stdout
    stored = json.loads(run("inspect", "harmonic", "2", "--format", "json").stdout)
    assert (stored["kind"], len(stored["components"])) == ("harmonic", 5)


def test_inspect_prints_formula_table_count_and_kernel():
    for arguments in (("coupling", "2", "1", "2"), ("harmonic", "2"), ("projector", "2")):
        text = run("inspect", *arguments).stdout
        assert "multiplications and additions a channel" in text
        assert "def forward(" in text
    assert "(P x)_ij = xi xj − 1/3 δij r²" in run("inspect", "projector", "2").stdout
    assert "2x0 + 2x2 + 1x4" in run("inspect", "tensor", "ijkl=jikl=klij").stdout
    assert json.loads(run("inspect", "tensor", "ij=ji", "--format", "json").stdout)["dimension"] == 6
    for arguments in (("projector", "l"), ("harmonic", "l"), ("coupling", "l1", "l2", "l3")):
        assert "Σ" in run("inspect", *arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("projector", "-1"), "non-negative integer"),
        (("harmonic", "1.5"), "whole number"),
        (("coupling", "1", "1", "3"), "must lie between"),
        (("coupling", "1", "x", "2"), "whole number"),
        (("tensor", "ij=jk"), "not a permutation"),
        (
            ("tensor", "ij=ji", "--format", "html"),
            "format must be one of c, json, julia, latex, mathml, python, sympy, unicode, wolfram",
        ),
        (("tensor", "ij=ji=-ji"), "contradicts itself"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(arguments, says):
    result = run("inspect", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_generate_checks_and_writes(tmp_path):
    assert "files are current" in " ".join(run("generate", "--check").stdout.split())
    out = tmp_path / "kernels"
    assert run("generate", "--max-rank", "1", "--out", str(out)).exit_code == 0
    assert run("generate", "--out", str(out), "--check").exit_code == 0
    changed = Path("numba_kernels/coupling/coupling_1_1_0.py")
    (out / changed).write_text("def forward(): ...")
    result = run("generate", "--out", str(out), "--check")
    assert result.exit_code == 1
    *_, said, remedy = result.stderr.splitlines()
    assert said == f"changed: {changed}"
    assert remedy == f"{out} is not current: run `cartalg generate`"


def test_version():
    assert run("--version").stdout.startswith("cartalg ")


@pytest.mark.parametrize(
    ("load", "told", "expected"), [(9.0, {}, "0"), (0.1, {}, None), (9.0, {"GOMP_SPINCOUNT": "7"}, "7")]
)
def test_threads_that_wait_sleep_on_a_busy_machine(load, told, expected):
    """A process of its own that says what Torch's OpenMP will read, as long as nothing has loaded Torch."""
    script = (
        "import os, sys; os.cpu_count = lambda: 2; os.getloadavg = lambda: (%s, 0, 0)\n"
        "from cartalg.cli import give_way; give_way()\n"
        "print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
    )
    hidden = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | told | {"PYTHONPATH": ":".join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", script % load], env=environment, capture_output=True, text=True, check=False
    )
    assert said.stdout.split() == ["False", str(expected)], said.stderr
