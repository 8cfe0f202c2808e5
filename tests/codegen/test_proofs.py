"""The proof report: everything shipped is proved, and what is broken is named."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.files import shipped_folder
from cartalg_codegen import emit
from cartalg_codegen.proofs import report as prove
from cartalg_codegen.proofs.identities import Space, Sparse, gradient, tangent


@pytest.fixture(scope="module")
def rows():
    return prove.report(3, shipped_folder())


def test_every_rule_and_kernel_is_proved(rows):
    assert [row.name for row in rows if row.failure] == []
    listed = json.loads((shipped_folder() / emit.MANIFEST).read_text())["kernels"]
    named = {row.name for row in rows}
    assert {f"{b} {name}" for name, facts in listed.items() for b in facts["sha256"]} <= named
    assert {"(2, 1) -> 2", "(3, 3): all couplings together", "rank 3: basis, projector, harmonic"} <= named


def test_each_kernel_states_what_it_can(rows):
    for row in rows:
        if row.name.startswith("numba") and "linear" not in row.name:
            assert {"equivariant", "parity", "closed form", "derivatives"} <= set(row.claims)


#: (kernel, what to change, to what, what the report says)
TAMPERED = [
    ("numba", "coupling_2_1_2", "-a1 * b0", "a1 * b0", "forward is not the closed form"),
    ("torch", "coupling_2_1_2", "-a1 * b0", "a1 * b0", "forward is not the closed form"),
    ("numba", "harmonics_l3", "def backward", "def was_backward", "KeyError"),
    ("numba", "pack_ij_ji", "c1_3 * (t0 + t4 + t8)", "c1_3 * (t0 + t4 - t8)", "forward is not the closed form"),
    ("numba", "product_even_limited_a1_o1_n3", "d_w[thread, z, 0, c] += ", "d_w[thread, z, 0, c] -= ", "backward_w"),
    ("numba", "convolution_even_h1_e2", "out0 += wx0", "out0 += c0 * wx0", "Disproved|NameError"),
    ("numba", "convolution_even_h1_e2", "partial[first + n, 5] += d_m0", "partial[first + n, 5] -= d_m0", "gradient"),
    ("numba", "convolution_even_h1_e2", "rr * q0 * per_knot", "rr * per_knot * q0 * q0", "sha256"),
    ("torch", "convolution_even_h1_e2", "edge_rows[1:2:2] = message_1", "edge_rows[0:1:2] = message_1", "Error"),
    ("numba", "linear", "real = x.dtype.type", "real = x.dtype.type  # changed", "sha256"),
]


@pytest.mark.parametrize(("backend", "name", "old", "new", "says"), TAMPERED, ids=lambda v: str(v)[:24])
def test_a_tampered_file_is_named_with_what_is_wrong(tmp_path, backend, name, old, new, says):
    folder = tmp_path / "kernels"
    shutil.copytree(shipped_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / f"{backend}_kernels" / f"{name}.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    task = next(t for t in prove.tasks(1, folder) if t.name == f"{backend} {name}")
    row = prove.prove(task)
    assert any(word in row.failure for word in says.split("|"))


def test_the_command_fails_loudly_and_writes_the_report(tmp_path):
    folder = tmp_path / "kernels"
    emit.write(emit.render(1, only=("coupling_1_1_1", "linear")), folder)
    ask = ["prove", "--max-rank", "1", "--kernels", str(folder), "--out"]
    good = CliRunner().invoke(app, [*ask, str(tmp_path / "good.md")])
    assert good.exit_code == 0, good.output
    assert "| numba coupling_1_1_1 | proved |" in (tmp_path / "good.md").read_text()
    file = folder / "numba_kernels" / "coupling_1_1_1.py"
    file.write_text(file.read_text().replace(" - ", " + ", 1))
    bad = CliRunner().invoke(app, [*ask, str(tmp_path / "bad.json")])
    assert bad.exit_code == 1
    assert "not proved: numba coupling_1_1_1: Disproved" in bad.stderr.replace("\n", " ")
    failures = [r["name"] for r in json.loads((tmp_path / "bad.json").read_text()) if r["failure"]]
    assert failures == ["numba coupling_1_1_1"]


@pytest.mark.parametrize("rank", [0, -1, 1.5])
def test_a_bad_rank(rank):
    with pytest.raises(ValueError, match="max_rank"):
        list(prove.tasks(rank, shipped_folder()))


def test_polynomials_differentiate():
    space = Space()
    x, (w,) = space.variables(2), space.variables(1)
    f = x[0] * x[0] * x[1] + 3 * x[1] - w * x[0]
    functions, weights = np.array([f], dtype=object), np.array([Sparse.of(2)], dtype=object)
    first = gradient(functions, weights, {"x": x})["x"]
    assert first[0] == 4 * x[0] * x[1] - 2 * w
    assert first[1] == 2 * x[0] * x[0] + 6
    assert tangent(functions, {"x": x}, {"x": x})[0] == 3 * x[0] * x[0] * x[1] + 3 * x[1] - w * x[0]
