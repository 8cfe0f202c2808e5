import json
import subprocess
import sys

import pytest
import torch

from cartalg.ops import KernelNotFound, KernelSet, harmonics
from cartalg_codegen import emit
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.program import Program, Ref, Slot, evaluate, statement
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import CouplingSpec, ProductSpec, parse


@pytest.fixture(scope="module")
def rendered():
    return emit.render(Set(2))


def test_generated_is_current():
    kernels = KernelSet()
    assert emit.differences(emit.render(kernels.manifest.chosen), kernels.folder) == []


def test_a_tampered_or_stray_file_is_found(rendered, tmp_path):
    emit.write(rendered, tmp_path)
    assert emit.differences(rendered, tmp_path) == []
    target = tmp_path / "numba_kernels" / "coupling" / "coupling_1_1_2.py"
    target.write_text(target.read_text().replace("3 / 4", "3 / 5", 1))
    (tmp_path / "torch_kernels" / "coupling" / "stray.py").write_text("")
    (tmp_path / "torch_kernels" / "coupling" / "coupling_1_1_0.py").unlink()
    assert emit.differences(rendered, tmp_path) == [
        "changed: numba_kernels/coupling/coupling_1_1_2.py",
        "missing: torch_kernels/coupling/coupling_1_1_0.py",
        "not part of the set: torch_kernels/coupling/stray.py",
    ]


def test_writing_removes_what_is_no_longer_in_the_set(rendered, tmp_path):
    emit.write(rendered, tmp_path)
    (tmp_path / "numba_kernels" / "coupling" / "coupling_9_9_9.py").write_text("")
    emit.write(rendered, tmp_path)
    assert emit.differences(rendered, tmp_path) == []


def test_a_users_folder_is_not_overwritten(rendered, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="empty folder"):
        emit.write(rendered, tmp_path)


def test_output_does_not_depend_on_the_hash_seed():
    code = "import hashlib; from cartalg_codegen.emit import render; from cartalg_codegen.sets import Set; "
    code += "print(hashlib.sha256(repr(sorted(render(Set(1)).items())).encode()).hexdigest())"
    digests = set()
    for seed in ("1", "2"):
        run = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        digests.add(run.stdout)
    assert len(digests) == 1


def test_the_manifest_lists_every_file_with_its_hash(rendered):
    manifest = emit.Manifest.from_json(json.loads(rendered[emit.MANIFEST]))
    listed = {path: digest for kernel in manifest.kernels.values() for path, digest in kernel.sha256.items()}
    assert set(listed) == set(rendered) - {emit.MANIFEST, "__init__.py"}
    assert all(emit.digest(rendered[path]) == digest for path, digest in listed.items())
    for name, kernel in manifest.kernels.items():
        assert kernel.spec == parse(name)
        assert kernel.spec.to_json() == parse(name).to_json()  # what is slow to derive is what the rules give
        backends = {path.partition("_")[0] for path in kernel.sha256}
        assert len(backends) == (1 if kernel.spec.kind == "linear" else len(BACKENDS))


def test_a_long_kernel_has_a_file_for_each_of_its_functions():
    spec = ProductSpec("natural", "limited", 3, 1, 3)
    files = emit.kernel_files(spec)
    assert f"numba_kernels/product/{spec.name}__backward_w.py" in files
    assert max(text.count("\n") for text in files.values()) < 2500


def test_another_rank_is_loaded_from_a_folder_of_the_users(tmp_path):
    emit.write(emit.render(Set(4, only=("harmonics_l4",))), tmp_path / "rank4")
    kernels = KernelSet(tmp_path / "rank4")
    v = torch.randn(3, 3, dtype=torch.float64)
    for backend in BACKENDS:
        assert harmonics(v, 4, backend=backend, kernels=kernels).shape == (3, 25)
    with pytest.raises(KernelNotFound, match="generate --only harmonics_l7"):
        harmonics(v, 7, kernels=kernels)


@pytest.mark.parametrize("bad", [0, -1, 1.5])
def test_a_bad_maximum_rank(bad):
    with pytest.raises(ValueError, match=r"max_rank"):
        Set(bad)


def test_a_statement_that_uses_an_unset_value_is_refused():
    body = (statement(Ref("out", 0), [(1, (Ref("b", 0),))]),)
    with pytest.raises(ValueError, match="before it is set"):
        Program("p", "", (Slot("a", 1),), (Slot("out", 1),), body)


def test_gradient_and_tangent_are_adjoint():
    from fractions import Fraction as F

    program = CouplingSpec(2, 1, 2).forward()
    a, b, da, db = ([F(n, d) for n in range(k)] for k, d in ((5, 2), (3, 5), (5, 7), (3, 4)))
    g = [F(n * n - 3, 2) for n in range(5)]
    grads = evaluate(gradient(program, ("a", "b"), "", ""), {"a": a, "b": b, "g": g})
    moved = evaluate(tangent(program, ("a", "b"), "", ""), {"a": a, "b": b, "t_a": da, "t_b": db})
    left = sum(x * y for x, y in zip([*grads["d_a"], *grads["d_b"]], [*da, *db], strict=True))
    assert left == sum(x * y for x, y in zip(g, moved["t_out"], strict=True))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_independent_product_has_a_weight_for_each_dimension(rank):
    """Of every symmetric power to the fourth and every output: as many as characters count."""
    import sympy as sp

    spec = ProductSpec("natural", "independent", rank, 2 if rank == 2 else 1, 4)
    for order in (1, 2, 3, 4):
        for out in spec.output_irreps.irreps:
            found = [w for w in spec.weights if (w.order, w.out) == (order, out)]
            assert len(found) == symmetric_multiplicity(spec.feature_irreps.irreps, order, out, sp)
    assert spec.degree_in_weights == 1


@pytest.mark.parametrize(
    ("basis", "rank", "correlation"),
    [
        ("complete", 1, 2),
        ("complete", 1, 3),
        ("complete", 2, 2),
        ("complete", 2, 3),
        ("independent", 2, 3),
        ("independent", 1, 4),
    ],
)
def test_a_product_spans_every_symmetric_power(basis, rank, correlation):
    """The dimension of the span for each output equals the multiplicity counted with characters."""
    import random
    from fractions import Fraction as F

    import sympy as sp
    from sympy.polys.domains import QQ
    from sympy.polys.matrices import DomainMatrix

    spec = ProductSpec("natural", basis, rank, 1, correlation)
    rng = random.Random(0)
    for out, place in zip(spec.output_irreps.irreps, spec.output_irreps.slices, strict=True):
        chosen = [i for i, w in enumerate(spec.weights) if (w.order, w.out) == (correlation, out)]
        points = [[F(rng.randint(-9, 9)) for _ in range((rank + 1) ** 2)] for _ in range(40)]
        rows = []
        for i in chosen:
            one = [F(int(i == j)) for j in range(len(spec.weights))]
            values = [v for a in points for v in evaluate(spec.forward(), {"a": a, "w": one})["out"][place]]
            rows.append([QQ(v.numerator, v.denominator) for v in values])
        spanned = DomainMatrix(rows, (len(rows), len(rows[0])), QQ).rank()
        assert spanned == symmetric_multiplicity(spec.feature_irreps.irreps, correlation, out, sp)


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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("product_odd_a1", "no kernel can be named"),
        ("convolution_natural_h1_e5", "raise max_rank, which is 2"),
        ("coupling_1_1_3", "no coupling"),
    ],
)
def test_a_name_that_stands_for_no_kernel(name, message):
    for chosen in ({"also": (name,)}, {"only": (name,)}):
        with pytest.raises(ValueError, match=message):
            Set(2, **chosen)


def test_a_set_of_chosen_kernels_has_the_parts_that_they_import(tmp_path):
    names = ("convolution_natural_h0_e1", "product_natural_limited_a2_o2_n4")  # the second is beyond the usual
    emit.write(emit.render(Set(2, only=names)), tmp_path / "set")
    parts = {"edge_e1", "message_0_0_0", "message_0_1_1"}
    assert set(KernelSet(tmp_path / "set").manifest.kernels) == {*names, *parts}
