import json
import subprocess
import sys

import pytest
import torch
from cartalg_codegen.forms import Product, pair

from cartalg.ops import KernelNotFound, KernelSet, harmonics
from cartalg_codegen import emit
from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.program import Program, Ref, Slot, evaluate, statement


@pytest.fixture(scope="module")
def rendered():
    return emit.render(2)


def test_generated_is_current():
    kernels = KernelSet()
    assert emit.differences(emit.render(kernels.max_rank), kernels.folder) == []


def test_a_tampered_or_stray_file_is_found(rendered, tmp_path):
    emit.write(rendered, tmp_path)
    assert emit.differences(rendered, tmp_path) == []
    target = tmp_path / "numba_kernels" / "coupling_1_1_2.py"
    target.write_text(target.read_text().replace("3 / 4", "3 / 5", 1))
    (tmp_path / "torch_kernels" / "stray.py").write_text("")
    (tmp_path / "torch_kernels" / "coupling_1_1_0.py").unlink()
    assert emit.differences(rendered, tmp_path) == [
        "changed: numba_kernels/coupling_1_1_2.py",
        "missing: torch_kernels/coupling_1_1_0.py",
        "not part of the set: torch_kernels/stray.py",
    ]


def test_writing_removes_what_is_no_longer_in_the_set(rendered, tmp_path):
    emit.write(rendered, tmp_path)
    (tmp_path / "numba_kernels" / "coupling_9_9_9.py").write_text("")
    emit.write(rendered, tmp_path)
    assert emit.differences(rendered, tmp_path) == []


def test_a_users_folder_is_not_overwritten(rendered, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="empty folder"):
        emit.write(rendered, tmp_path)


def test_output_does_not_depend_on_the_hash_seed():
    code = "import hashlib; from cartalg_codegen.emit import render; "
    code += "print(hashlib.sha256(repr(sorted(render(1).items())).encode()).hexdigest())"
    digests = set()
    for seed in ("1", "2"):
        run = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        digests.add(run.stdout)
    assert len(digests) == 1


def test_the_manifest_lists_every_file_with_its_hash(rendered):
    manifest = json.loads(rendered[emit.MANIFEST])
    for name, facts in manifest["kernels"].items():
        assert set(facts["sha256"]) == ({"numba"} if facts["kind"] == "linear" else set(emit.BACKENDS))
        for backend, digest in facts["sha256"].items():
            assert f"{backend}_kernels/{name}.py" in rendered
            assert len(digest) == 64
        assert facts["operations"]


def test_another_rank_is_loaded_from_a_folder_of_the_users(tmp_path):
    emit.write(emit.render(4), tmp_path / "rank4")
    kernels = KernelSet(tmp_path / "rank4")
    v = torch.randn(3, 3, dtype=torch.float64)
    for backend in emit.BACKENDS:
        assert harmonics(v, 4, backend=backend, kernels=kernels).shape == (3, 25)
    with pytest.raises(KernelNotFound, match="generate --max-rank"):
        harmonics(v, 7, kernels=kernels)


@pytest.mark.parametrize("bad", [0, -1, 1.5])
def test_a_bad_maximum_rank(bad):
    with pytest.raises(ValueError, match=r"max_rank"):
        emit.render(bad)


def test_a_statement_that_uses_an_unset_value_is_refused():
    body = (statement(Ref("out", 0), [(1, (Ref("b", 0),))]),)
    with pytest.raises(ValueError, match="before it is set"):
        Program("p", "", (Slot("a", 1),), (Slot("out", 1),), body)


def test_gradient_and_tangent_are_adjoint():
    from fractions import Fraction as F

    program = pair(2, 1, 2)
    a, b, da, db = ([F(n, d) for n in range(k)] for k, d in ((5, 2), (3, 5), (5, 7), (3, 4)))
    g = [F(n * n - 3, 2) for n in range(5)]
    grads = evaluate(gradient(program, ("a", "b"), "", ""), {"a": a, "b": b, "g": g})
    moved = evaluate(tangent(program, ("a", "b"), "", ""), {"a": a, "b": b, "t_a": da, "t_b": db})
    left = sum(x * y for x, y in zip([*grads["d_a"], *grads["d_b"]], [*da, *db], strict=True))
    assert left == sum(x * y for x, y in zip(g, moved["t_out"], strict=True))


@pytest.mark.parametrize(("rank", "correlation"), [(1, 2), (1, 3), (2, 2), (2, 3)])
def test_the_complete_product_spans_every_symmetric_power(rank, correlation):
    """The dimension of the span for each output equals the multiplicity counted with characters."""
    import random
    from fractions import Fraction as F

    import sympy as sp
    from sympy.polys.domains import QQ
    from sympy.polys.matrices import DomainMatrix

    from cartalg.symbolic import irreps_up_to

    features = irreps_up_to(rank)
    rng = random.Random(0)
    for out in irreps_up_to(1):
        program, weights = Product(features, (out,), correlation, complete=True).build()
        chosen = [i for i, w in enumerate(weights) if w.order == correlation]
        points = [[F(rng.randint(-9, 9)) for _ in range((rank + 1) ** 2)] for _ in range(40)]
        rows = []
        for i in chosen:
            one = [F(int(i == j)) for j in range(len(weights))]
            values = [v for a in points for v in evaluate(program, {"a": a, "w": one})["out"]]
            rows.append([QQ(v.numerator, v.denominator) for v in values])
        spanned = DomainMatrix(rows, (len(rows), len(rows[0])), QQ).rank()
        assert spanned == symmetric_multiplicity(features, correlation, out, sp)


def symmetric_multiplicity(features, order, out, sp):
    """Multiplicity of (L, p) in Sym^order of a sum of irreps: characters in z^m s^[odd], highest weights."""
    states = {(0, 0, 1): 1}  # (degree, m, parity) -> number of monomials
    for rank, parity in features:
        for m in range(-rank, rank + 1):
            new = dict(states)
            for (degree, total, p), number in states.items():
                for extra in range(1, order - degree + 1):
                    key = (degree + extra, total + extra * m, p * parity**extra)
                    new[key] = new.get(key, 0) + number
            states = new
    rank, parity = out
    return states.get((order, rank, parity), 0) - states.get((order, rank + 1, parity), 0)


def test_kernels_beyond_the_usual_ones_are_emitted_by_name(tmp_path):
    """A potential of hidden rank 3: its kernels are asked for by name, and it runs."""
    from ase.build import molecule

    from cartalg.architecture import ModelConfig
    from cartalg.data.graphs import build_graph
    from cartalg.model import Potential

    also = ("product_even_limited_a3_o3_n2",)
    emit.write(emit.render(3, also=also), tmp_path / "set")
    settings = {"hidden_rank": 3, "edge_rank": 3, "correlation": 2, "channels": 2, "dtype": "float64"}
    with pytest.raises(KernelNotFound, match=f"--also {also[0]}"):
        Potential(ModelConfig(**settings), ("H", "O"))
    model = Potential(ModelConfig(**settings, kernels=str(tmp_path / "set")), ("H", "O"), backend="torch")
    atoms = molecule("H2O")
    first = model(build_graph(atoms, 5.0, model.elements)).energy
    atoms.rotate(50, (1, 2, 3))
    torch.testing.assert_close(model(build_graph(atoms, 5.0, model.elements)).energy, first)


@pytest.mark.parametrize(
    ("name", "message"),
    [("product_odd_a1", "no kernel can be named"), ("convolution_even_h1_e5", "raise max_rank, which is 2")],
)
def test_a_name_that_stands_for_no_kernel(name, message):
    with pytest.raises(ValueError, match=message):
        emit.render(2, also=(name,))


def test_a_set_of_chosen_kernels_alone(tmp_path):
    names = ("harmonics_l2", "product_even_limited_a2_o2_n4")  # the second is beyond the usual
    emit.write(emit.render(2, only=names), tmp_path / "set")
    assert sorted(KernelSet(tmp_path / "set").manifest["kernels"]) == sorted(names)
    with pytest.raises(ValueError, match="no kernel can be named 'harmonics_l9'"):
        emit.render(2, only=("harmonics_l9",))
