import json

from typer.testing import CliRunner

from cartalg.cli import app


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_inspect_prints_every_format():
    assert "ε_iqr" in run("inspect", "coupling", "2", "1", "2").stdout
    assert r"\delta_{ij}" in run("inspect", "projector", "3", "--format", "latex").stdout
    stored = json.loads(run("inspect", "harmonic", "2", "--format", "json").stdout)
    assert (stored["kind"], len(stored["components"])) == ("harmonic", 5)


def test_generate_checks_and_writes(tmp_path):
    assert "files are current" in " ".join(run("generate", "--check").stdout.split())
    out = tmp_path / "kernels"
    assert run("generate", "--max-rank", "1", "--out", str(out)).exit_code == 0
    assert run("generate", "--out", str(out), "--check").exit_code == 0
    (out / "numba_kernels" / "coupling_1_1_0.py").write_text("def forward(): ...")
    result = run("generate", "--out", str(out), "--check")
    assert result.exit_code == 1
    assert "changed: numba_kernels/coupling_1_1_0.py" in result.stderr


def test_version():
    assert run("--version").stdout.startswith("cartalg ")
