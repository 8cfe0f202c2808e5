"""The proof report: everything shipped is proved, and what is broken is named, whatever the manifest says of it."""

import hashlib
import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
from flint import fmpq
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.files import OBJECTS, shipped_folder, write_file
from cartalg_codegen import emit
from cartalg_codegen.proofs import report as prove
from cartalg_codegen.proofs.identities import Space, Sparse, exact, gradient, tangent
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import parse


@pytest.fixture(scope="module")
def rows():
    return prove.report(2, shipped_folder())


def test_every_rule_and_kernel_is_proved(rows):
    assert [(row.name, row.failure) for row in rows if row.failure] == []
    listed = json.loads((shipped_folder() / emit.MANIFEST).read_text())["kernels"]
    named = {row.name for row in rows}
    assert {f"{path.split('_')[0]} {name}" for name, entry in listed.items() for path in entry["sha256"]} <= named
    assert {"(2, 1) -> 2", "(2, 2): all couplings together", "rank 2: basis, projector, harmonic"} <= named
    assert {"numba convolution_full_h2_e2", "numba product_full_limited_a2_o1_n2"} <= named  # emitted anew


def test_each_kernel_states_what_it_can(rows):
    for row in rows:
        if row.kind == "kernel":
            assert {"closed form", "facts"} <= set(row.claims), row.name
            assert ("derivatives" in row.claims) == (row.name.startswith("numba") and "linear" not in row.name)
            if not any(part in row.name for part in ("edge", "message", "frame")):
                assert {"equivariant", "parity"} <= set(row.claims), row.name
        assert set(row.claims) <= set(prove.CLAIMS)


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "kernels"
    shutil.copytree(shipped_folder(), copy, ignore=shutil.ignore_patterns("__pycache__", "objects"))
    return copy


def changed(folder, file, change, rehash=True):
    """Change a file of a set, and by default its hash in the manifest: a fault of the generator, not of the disk."""
    path = folder / file
    before = path.read_text()
    text = change(before)
    assert text != before, f"nothing to change in {file}"
    path.write_text(text)
    if rehash:
        manifest = (folder / emit.MANIFEST).read_text()
        old, new = (hashlib.sha256(t.encode()).hexdigest() for t in (before, text))
        assert old in manifest
        (folder / emit.MANIFEST).write_text(manifest.replace(old, new))


def proved(folder, name):
    """The row of a name, or of the whole set."""
    return prove.prove(next(task for task in prove.tasks(1, folder) if task.name == name))


ALIGNED, MESSAGE = "aligned_natural_h1_e2", "aligned_message_h1_e2"
CONV, PROD, PAIR = "convolution_natural_h1_e2", "product_natural_limited_a1_o1_n3", "coupling_2_1_2"
NOT_FORWARD, NOT_DERIVATIVE = "is not the closed form", "is not the derivative of forward"
TAKEN = "which another atom or thread has"

#: (backend, kernel, what to change, to what, what the report says): what a review found, and others.
FAULTS = [
    # numbers that are not exact
    ("numba", "coupling_1_1_2", "real(3 / 2)", "real(1.5)", "1.5 is no whole number"),
    ("numba", PROD, "real(2)", "real(2.9)", "2.9 is no whole number"),
    ("torch", "coupling_1_1_2", "(3 / 2)", "1.5", "1.5 is no whole number"),
    ("torch", PROD, "* w0", "* 1.75 * w0", "1.75 is no whole number"),
    # an edge: root, knot, cutoff, its gradient, its tangent
    ("numba", CONV, "real(1) / np.sqrt(rr)", "real(1) / rr", NOT_FORWARD),
    ("numba", CONV, "real(1) / np.sqrt(rr)", "real(1)", NOT_FORWARD),
    ("numba", CONV, "block[e] * rows + under", "block[e] * rows", NOT_FORWARD),
    ("numba", CONV, "block[e] * rows + under", "under", NOT_FORWARD),
    ("numba", CONV, "block[e] * rows", "block[at] * rows", "Disproved"),
    ("numba", CONV, "rows = int(intervals) + 3", "rows = int(intervals) + 2", NOT_FORWARD),
    ("numba", CONV, "below[0, count] = real(under)", "below[0, count] = real(0)", NOT_FORWARD),
    ("numba", CONV, "limit = real(intervals)", "limit = real(intervals + 1)", "there is no table"),
    ("numba", CONV, "limit = real(intervals)", "limit = real(intervals - 1)", NOT_FORWARD),
    ("numba", CONV, "limit = real(intervals)", "limit = real(4)", NOT_FORWARD),
    ("numba", CONV, "if real(0) < rr:", "if real(1) < rr:", NOT_FORWARD),
    ("numba", CONV, "d_vectors[place[n], 0] = d_v[0, n]", "d_vectors[place[n], 0] = v[0, n]", NOT_DERIVATIVE),
    ("numba", CONV, "d_vectors[e, 0] = real(0)", "d_vectors[e, 0] = v0", NOT_DERIVATIVE),
    ("numba", CONV, "t_v[1, count] = t_vectors[e, 1]", "t_v[1, count] = v1", NOT_DERIVATIVE),
    # sums, rows, edges of an atom
    ("numba", CONV, "out[own + row, c] = real(0)", "out[own + row, c] += real(0)", NOT_FORWARD),
    ("numba", CONV, "at = row_ptr[atom]", "at = row_ptr[0]", NOT_FORWARD),
    ("numba", CONV, "last = row_ptr[atom + 1]", "last = row_ptr[atom] + 1", NOT_FORWARD),
    ("numba", CONV, "last = col_ptr[atom + 1]", "last = col_ptr[atom] + 1", NOT_DERIVATIVE),
    ("numba", CONV, "e = col_edge[at]", "e = at", "Disproved"),
    ("numba", CONV, "sender[e] * 4", "sender[e] * 3", NOT_FORWARD),
    ("numba", CONV, "sender[e] * 4", "e * 4", "there is no x"),
    ("numba", CONV, "own = atom * 2", "own = atom * 1", "Disproved"),
    ("numba", CONV, "other[count] = receiver[e]", "other[count] = atom", NOT_DERIVATIVE),
    ("numba", CONV, "count < 16", "count < 17", "there is no scratch"),
    ("numba", CONV, "for atom in range(start, stop)", "for atom in range(start, start + 1)", NOT_FORWARD),
    ("numba", CONV, "for atom in range(start, stop)", "for atom in range(0, stop)", TAKEN),
    ("numba", CONV, "real(d_edge[n, part])", "real(d_edge[0, part])", NOT_DERIVATIVE),
    ("numba", CONV, "at += 1", "at += 0", "a loop without end"),
    # gradients that Torch would not see
    ("torch", PAIR, "a0 = a[..., 0, :]", "a0 = a[..., 0, :].detach()", "stops gradients"),
    ("torch", CONV, "edge(v, 1 / length, below", "edge(v.detach(), 1 / length, below", "stops gradients"),
    # threads, species, channels, rows
    ("numba", "message_1_1_2", "d_table[thread, k0,", "d_table[0, k0,", "does not add the derivative"),
    ("numba", "message_1_1_2", "for c in range(x.shape[1])", "for c in range(1)", "does not add|forward"),
    ("numba", "message_1_1_2", "d_edge[n, 5] +=", "d_edge[n, 5] =", "backward"),
    ("numba", PROD, "d_w[thread, z, 0, c]", "d_w[0, z, 0, c]", "gradient to w"),
    ("numba", PROD, "z = species[n]", "z = 0", NOT_FORWARD),
    ("numba", PROD, "z = species[n]", "z = species[start]", NOT_FORWARD),
    ("numba", PROD, "range(start, stop)", "range(start, start + 1)", NOT_FORWARD),
    ("numba", PROD, "range(start, stop)", "range(stop)", "which another row"),
    ("numba", PROD, "out[n, 0, c] = ", "out[n, 0, c] += ", NOT_FORWARD),
    ("numba", PROD, "d_w[thread, z, 0, c] += ", "d_w[thread, z, 0, c] = ", "gradient to w"),
    ("numba", PROD, "range(a.shape[2])", "range(2)", NOT_FORWARD),
    ("numba", PROD, "range(a.shape[2])", "range(a.shape[2] - a.shape[2] // 8)", "leaves a remainder"),
    ("numba", PROD, "a1 = a[n, 1, c]", "a1 = a[n, -3, c]", "there is no a"),
    ("numba", "harmonics_l2", "range(start, stop)", "range(start, stop + 1)", "harmonics_l2|there is no|written"),
    ("numba", "linear", "min(first + 1, last)", "first + 1", "Disproved"),
    ("numba", "linear", "s0_0 += ", "s0_0 = ", "not a matrix product"),
    # closed forms and derivatives
    ("numba", PAIR, "-a1 * b0", "a1 * b0", NOT_FORWARD),
    ("torch", PAIR, "-a1 * b0", "a1 * b0", NOT_FORWARD),
    ("numba", "pack_ij_ji", "c1_3 * (t0 + t4 + t8)", "c1_3 * (t0 + t4 - t8)", NOT_FORWARD),
    ("numba", "edge_e2", "unit0 = inverse[0, n] * v[0, n]", "unit0 = v[0, n]", "edge: y"),
    ("torch", "edge_e2", "unit0 = inverse0 * v0", "unit0 = v0", "edge: y"),
    ("torch", "message_1_1_2", "wx0 = w0 * x0", "wx0 = x0", "closed form"),
    ("numba", CONV, "forward_1_1_2(count, own, 1,", "forward_1_1_2(count, own, 0,", NOT_FORWARD),
    # frames, and what happens along the edge
    ("numba", "frame_h1_e2", "half[0, n] * side[0, n] * unit1 * unit1", "half[0, n] * unit1 * unit1", "edge: turn"),
    ("numba", "frame_h1_e2", "range(16)", "range(15)", "leaves out an edge"),
    ("torch", "frame_h1_e2", "turn1 = unit1", "turn1 = unit0", "edge: turn"),
    ("numba", MESSAGE, "w1 = s[0, n] * row0[p1]", "w1 = s[0, n] * row0[p0]", "forward does not add"),
    ("numba", MESSAGE, "kept[n, 1] = along3", "kept[n, 1] = along2", "forward does not add"),
    ("numba", MESSAGE, "row1 = table[k0 + 1, ", "row1 = table[k0, ", "does not add"),
    ("numba", MESSAGE, "d_row0 = d_table[thread * table.shape[0] + k0", "d_row0 = d_table[k0", "does not add"),
    ("torch", MESSAGE, "turn0 * x1", "turn1 * x1", "closed form"),
    ("numba", ALIGNED, "side[0, count] = real(0) - real(1)", "side[0, count] = real(1)", "NotFinite|quotient"),
    ("numba", ALIGNED, "if v2 < real(0):", "if v1 < real(0):", "NotFinite|quotient"),
    ("numba", ALIGNED, "real(1) / (real(1) + side[0, count] * v2 * inverse0)", "real(1)", NOT_FORWARD),
    ("torch", ALIGNED, "v[:, 2:] < 0", "v[:, 1:2] < 0", "zero"),
    # Torch: geometry, edges without a length
    ("torch", CONV, "inside = some * (", "inside = (", NOT_FORWARD),
    ("torch", CONV, "torch.where(some, vectors, torch.ones_like(vectors))", "vectors", "the square root of zero"),
    ("torch", CONV, "some[:, :, None] * w", "w", "apply is not the closed form"),
    ("torch", CONV, "(below < intervals)", "(below < intervals + 1)", NOT_FORWARD),
    ("torch", CONV, "table[knot + p]", "table[p + 1]", NOT_FORWARD),
    ("torch", CONV, "knot + block * (intervals + 3)", "knot", NOT_FORWARD),
    ("torch", CONV, "knot + block * (intervals + 3)", "knot + block * intervals", NOT_FORWARD),
    ("torch", CONV, "x.index_select(0, sender)", "x.index_select(0, receiver)", NOT_FORWARD),
    # what else a file can say
    ("numba", PAIR, '"reassoc"})', '"reassoc", "nnan"})', "is decorated with"),
    ("numba", PAIR, 'fastmath={"contract", "nsz", "reassoc"}', "fastmath=True", "is decorated with"),
    ("numba", PAIR, "@njit(", "@njit(parallel=True, ", "is decorated with"),
    ("numba", PAIR, "\n\n\n@njit", "\nfrom math import sin\n\n\n@njit", "no import that an emitted file may have"),
    ("numba", PAIR, "def backward(", "def was_backward(", "functions beyond those of its kind"),
    ("numba", PAIR, "real = a.dtype.type", "real = b.shape", "not callable"),
    ("numba", CONV, "    forward as forward_0_1_1", "    backward as forward_0_1_1", "missing 2 required positional"),
    ("numba", CONV, "        own = atom", "        if at < 3:\n            at = 1\n        own = atom", "variable"),
    ("numba", PAIR, "range(start, stop):", "range(start, stop):\n        if n < 7:\n            n = n", "never"),
]  # fmt: skip


@pytest.mark.parametrize(("backend", "name", "old", "new", "says"), FAULTS)
def test_a_fault_in_a_file_is_named(folder, backend, name, old, new, says):
    kind = parse(name).kind

    def change(text):
        assert old in text
        return text.replace(old, new, 1)

    changed(folder, f"{backend}_kernels/{kind}/{name}.py", change)
    row = proved(folder, f"{backend} {name}")
    assert any(word in row.failure for word in says.split("|")), row.failure


#: What may be appended to a file, and what the report says.
APPENDED = {
    "from os import forward": "an import after the first function",
    "def forward(a): return a": "defined twice",
    "forward = None": "stands beside the functions",
    "print(1)": "stands beside the functions",
}


@pytest.mark.parametrize("code", APPENDED)
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_code_that_is_appended_is_refused(folder, backend, code):
    changed(folder, f"{backend}_kernels/coupling/{PAIR}.py", lambda text: f"{text}\n\n{code}\n")
    assert APPENDED[code] in proved(folder, f"{backend} {PAIR}").failure


def test_a_part_of_a_convolution_is_proved_where_it_is_used_and_by_itself(folder):
    changed(folder, "numba_kernels/message/message_1_1_2.py", lambda text: text.replace("d_wx0 * w0", "d_wx1 * w0", 1))
    for name in (CONV, "message_1_1_2"):
        assert "backward" in proved(folder, f"numba {name}").failure


@pytest.mark.parametrize("file", [f"numba_kernels/coupling/{PAIR}.py", f"torch_kernels/coupling/{PAIR}.py"])
def test_a_file_that_is_not_the_generated_one_is_named(folder, file):
    changed(folder, file, lambda text: text.replace("# Kernel", "# kernel", 1), rehash=False)
    assert "its sha256 is not the manifest's" in proved(folder, f"{file.split('_')[0]} {PAIR}").failure


def weight(entry):
    return entry["weights"][-1]


#: (kernel, change of its entry, what the report says)
FACTS = [
    (PROD, lambda e: weight(e).update(orthonormal_squared="77"), "the weight"),
    (PROD, lambda e: weight(e).update(label="(A0e A0e)0e"), "the weight"),
    (PROD, lambda e: e["weights"].pop(), "components"),
    (PROD, lambda e: e["weights"].reverse(), "the weight"),
    (PROD, lambda e: e.update(degree_in_weights=2), "the degree"),
    (PROD, lambda e: e.update(correlation=2), "is described as"),
    (CONV, lambda e: e.update(hidden=2), "is described as"),
    (CONV, lambda e: e.update(chunk=1), "says ['chunk']"),
    (CONV, lambda e: e["operations"].popitem(), "operations"),
    ("pack_ij_ji", lambda e: e.update(irreps="0e + 2o"), "does not transform as"),
    (PAIR, lambda e: e.update(kind="harmonics"), "does not describe"),
    (PAIR, lambda e: e["sha256"].update(dict.fromkeys(e["sha256"], "")), "no hash"),
    (PAIR, lambda e: e["sha256"].clear(), "no hash"),
    (PAIR, lambda e: e["sha256"].update({"numba_kernels/coupling/other.py": "ab"}), "other.py"),
]


@pytest.mark.parametrize(("name", "change", "says"), FACTS)
def test_a_wrong_fact_is_named(folder, name, change, says):
    manifest = json.loads((folder / emit.MANIFEST).read_text())
    change(manifest["kernels"][name])
    (folder / emit.MANIFEST).write_text(json.dumps(manifest))
    assert says in proved(folder, f"numba {name}").failure


def rewrite(change):
    def on(folder):
        manifest = json.loads((folder / emit.MANIFEST).read_text())
        change(manifest)
        (folder / emit.MANIFEST).write_text(json.dumps(manifest))

    return on


#: Change of a folder -> what the row of the set says.
FOLDERS = {
    "a stray file": (lambda f: (f / "numba_kernels" / "coupling" / "more.py").write_text(""), "more.py"),
    "a package file": (lambda f: (f / "numba_kernels" / "__init__.py").write_text("x = 1"), "__init__.py"),
    "a library": (lambda f: (f / "numba_kernels" / "numpy.so").write_bytes(b"1"), "numpy.so"),
    "code in the package": (lambda f: (f / "__init__.py").write_text("import os\n"), "does something"),
    "a file that is no machine code": (
        lambda f: write_file(f / OBJECTS, json.dumps({"objects": {"../numba_kernels/numpy.so": {}}})),
        "no machine code",
    ),
    "machine code that is not listed": (
        lambda f: (write_file(f / OBJECTS, '{"objects": {}}'), write_file(f / "objects" / f"{'0' * 64}.o", b"1")),
        "0000.o",
    ),
    "a missing file": (lambda f: (f / "numba_kernels" / "linear" / "linear.py").unlink(), "missing"),
    "a kernel left out": (rewrite(lambda m: m["kernels"].pop(PAIR)), PAIR),
    "a hash left out": (rewrite(lambda m: m["kernels"]["linear"]["sha256"].clear()), "no hash"),
    "another rank": (rewrite(lambda m: m.update(max_rank=2)), "other kernels"),
    "another generator": (rewrite(lambda m: m.update(generator="0")), "generator"),
    "one entry more": (rewrite(lambda m: m.update(trusted=True)), "other entries"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_that_is_not_its_manifest_is_named(folder, what):
    assert proved(folder, "kernel set: files, manifest").failure == ""
    change, says = FOLDERS[what]
    change(folder)
    assert says in proved(folder, "kernel set: files, manifest").failure


def test_a_key_that_is_there_twice_is_named(folder):
    """Readers of JSON see the last one alone, and a person the first."""
    path = folder / emit.MANIFEST
    path.write_text(path.read_text().replace('"kernels": {', '"max_rank": 3, "kernels": {'))
    with pytest.raises(AssertionError, match="max_rank is there twice"):
        list(prove.tasks(1, folder))


@pytest.mark.parametrize("name", ["(1, 1) -> 1", "rank 1: basis, projector, harmonic", f"numba {PAIR}", "tensors ij"])
def test_generators_that_are_zero_prove_nothing(monkeypatch, name):
    from cartalg.symbolic import rotation
    from cartalg.symbolic.proofs import actions, couplings, spaces
    from cartalg_codegen.proofs import rows as kernels

    kernels._prove_generators.cache_clear()

    for module in (rotation, actions, couplings, spaces, kernels):
        if hasattr(module, "generator"):
            monkeypatch.setattr(
                module, "generator", lambda rank, axis: [[Fraction(0)] * (2 * rank + 1)] * (2 * rank + 1)
            )
    assert "J^2 is not -l(l+1)" in proved(shipped_folder(), name).failure


def test_the_command_fails_loudly_and_writes_the_report(tmp_path):
    folder = tmp_path / "kernels"
    emit.write(emit.render(Set(1, only=("coupling_1_1_1", "linear"))), folder)
    ask = ["prove", "--max-rank", "1", "--kernels", str(folder), "--out"]
    good = CliRunner().invoke(app, [*ask, str(tmp_path / "good.md")])
    assert good.exit_code == 0, good.output
    assert "| numba coupling_1_1_1 | proved |" in (tmp_path / "good.md").read_text()
    file = folder / "numba_kernels" / "coupling" / "coupling_1_1_1.py"
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


@pytest.mark.parametrize("value", [2.9, 1.0, True, np.float64(2), np.int64(2), "1", None, 1j])
def test_only_exact_numbers_are_numbers(value):
    x = Space().variable()
    for operation in (
        lambda: x + value,
        lambda: x * value,
        lambda: x - value,
        lambda: exact(value),
        lambda: x == value,
    ):
        with pytest.raises(TypeError, match="exact"):
            operation()


def test_polynomials_differentiate():
    space = Space()
    x, (w,) = space.variables(2), space.variables(1)
    f = x[0] * x[0] * x[1] + 3 * x[1] - w * x[0]
    functions, weights = np.array([f], dtype=object), np.array([Sparse.of(2)], dtype=object)
    first = gradient(functions, weights, {"x": x})["x"]
    assert first[0] == 4 * x[0] * x[1] - 2 * w
    assert first[1] == 2 * x[0] * x[0] + 6
    assert tangent(functions, {"x": x}, {"x": x})[0] == 3 * x[0] * x[0] * x[1] + 3 * x[1] - w * x[0]


def test_long_sums_are_the_same_in_any_order():
    x = Space().variables(60)
    forward, backward = Sparse.of(0), Sparse.of(0)
    for n in range(60):
        forward, backward = forward + x[n] * n, x[59 - n] * (59 - n) + backward
    assert forward == backward
    assert (forward - backward).terms == {}
    assert forward.at(dict.fromkeys(range(60), fmpq(1, 2))) == fmpq(59 * 60, 4)
