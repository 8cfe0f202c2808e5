"""Machine code: laid out, kept, shipped, found again; and made once, whoever asks for it."""

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm
import pytest
import torch

from cartalg.architecture import ModelConfig
from cartalg.compilation import asked_for, ship
from cartalg.ops import bind, open_kernels
from cartalg_codegen.backends.numba import binder, making, objects, worker
from cartalg_codegen.backends.numba.linking import Unlinkable, link
from cartalg_codegen.backends.numba.making import assembled
from cartalg_codegen.backends.numba.objects import Library
from cartalg_codegen.backends.numba.targets import LEVELS, NATIVE, level, level_of
from cartalg_codegen.backends.numba.workers import Workers, _python, workers
from cartalg_codegen.specs import CouplingSpec, HarmonicsSpec

SPEC = CouplingSpec(1, 1, 2)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """No object anywhere: an empty cache, and none that came with the library."""
    monkeypatch.setenv("CARTALG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "shipped_objects", lambda: tmp_path / "shipped")
    objects._shipped.cache_clear()
    yield tmp_path
    objects._shipped.cache_clear()


def jobs_of(spec, stage="forward", channels=16):
    """The job of a row kernel's stage, and the tensors that it was bound to."""
    roles = spec.roles(stage)
    tensors = {n: torch.zeros(5, spec.components[r.name], *((channels,) * r.lanes)) for n, r in roles.items()}
    with binder.collected(level()) as jobs:
        bind(open_kernels(), spec, stage, {}, tensors, 1, "numba")()
    (job,) = jobs
    return job, tensors


def test_the_level_is_the_highest_that_a_processor_has_whole():
    v3 = "fpu sse2 avx2 bmi1 bmi2 f16c fma abm movbe"
    v4 = f"{v3} avx512f avx512bw avx512cd avx512dq avx512vl"
    found = [level_of(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: none\n") for flags in (v4, v3, v4[:-9], "avx512f")]
    assert found == ["x86-64-v4", "x86-64-v3", "x86-64-v3", NATIVE]
    assert level_of("model name: ARM\nFeatures: neon\n") == NATIVE


CODE = """
@table = internal constant [3 x float] [float 2.0, float 3.0, float 5.0], align 64
@others = internal constant [2 x double] [double 7.0, double 11.0], align 16
define internal double @helper(i64 %n) noinline {
  %at = getelementptr [2 x double], ptr @others, i64 0, i64 %n
  %value = load double, ptr %at
  ret double %value
}
define double @first(i64 %n) {
  %at = getelementptr [3 x float], ptr @table, i64 0, i64 %n
  %value = load float, ptr %at
  %wide = fpext float %value to double
  ret double %wide
}
define double @second(i64 %n) {
  %one = call double @first(i64 %n)
  %value = call double @helper(i64 1)
  %sum = fadd double %one, %value
  ret double %sum
}
"""


def called(code, place, number):
    library = Library(code)
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(library.addresses[place])(number)


@pytest.mark.skipif(level() == NATIVE, reason="images are for x86-64")
def test_an_image_runs_where_it_is_put_with_its_constants_and_calls():
    code = assembled(CODE, level(), ("first", "second"))
    assert not code.startswith(b"\x7fELF")
    assert [called(code, 0, n) for n in range(3)] == [2.0, 3.0, 5.0]
    assert [called(code, 1, n) for n in range(3)] == [13.0, 14.0, 16.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "declare i64 @abs(i64)\ndefine i64 @f(i64 %x) { %y = call i64 @abs(i64 %x) %z = add i64 %y, 1 ret i64 %z }",
            "refers to abs",
        ),
        ("@v = global i64 3\ndefine i64 @f() { %x = load i64, ptr @v ret i64 %x }", "variables"),
        ("define void @g() { ret void }", "lacks one of f"),
    ],
)
def test_what_needs_a_true_linker_is_not_laid_out(text, says):
    machine, _ = making.machine(level())
    with pytest.raises(Unlinkable, match=says):
        link(machine.emit_object(llvm.parse_assembly(text)), ("f",))


def test_an_object_that_is_no_image_is_linked_by_llvm(empty, monkeypatch):
    """As on machines other than x86-64, and where a kernel calls what it does not hold."""
    job, tensors = jobs_of(SPEC)
    image = making.made(job)

    def never(code, names):
        raise Unlinkable("not here")

    monkeypatch.setattr(making, "link", never)
    code = making.made(job)
    assert code.startswith(b"\x7fELF") != image.startswith(b"\x7fELF")
    monkeypatch.setattr(binder, "kept", lambda job: code)
    entries = open_kernels().functions(SPEC, "numba").entries
    entries.clear()
    tensors["a"].normal_()
    tensors["b"].normal_()
    bind(open_kernels(), SPEC, "forward", {}, tensors, 1, "numba")()
    entries.clear()
    expected = torch.empty_like(tensors["out"])
    bind(open_kernels(), SPEC, "forward", {}, {**tensors, "out": expected}, 1, "torch")()
    torch.testing.assert_close(tensors["out"], expected)


@pytest.mark.parametrize("target", [*LEVELS, NATIVE])
def test_code_for_every_level_gives_the_same_numbers(target, empty, monkeypatch):
    if target == "x86-64-v4" and level() != target:
        pytest.skip("this processor has not its instructions")
    monkeypatch.setattr(binder, "level", lambda: target)
    for spec, shape in ((SPEC, (5, 3, 16)), (HarmonicsSpec(3), (37, 3))):
        given = {name: torch.randn(shape) for name in spec.named("feature")}
        results = {}
        for backend in ("numba", "torch"):
            out = torch.empty(shape[0], spec.components["out"], *shape[2:])
            kernels = type(open_kernels())()  # one that has loaded nothing
            source = kernels.functions(spec, "numba")
            source.entries.clear()
            bind(kernels, spec, "forward", {}, {**given, "out": out}, 1, backend)()
            results[backend] = out
            source.entries.clear()
        torch.testing.assert_close(results["numba"], results["torch"], rtol=1e-5, atol=1e-5)


def test_an_object_is_named_by_all_that_it_is_made_of(tmp_path):
    job, _ = jobs_of(SPEC)
    wide, _ = jobs_of(SPEC, channels=8)
    others = [replace(job, target=t) for t in LEVELS if t != job.target]
    others += [wide, jobs_of(SPEC, "backward")[0], jobs_of(CouplingSpec(1, 1, 0))[0], replace(job, columns=(1, 2, -3))]
    keys = [job.key(), job.key("0.1"), *(other.key() for other in others)]
    assert len(set(keys)) == len(keys)
    assert replace(job, folder=job.folder).key() == job.key()
    assert objects.Job.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_shipped_objects_are_found_and_checked(empty, caplog):
    job, _ = jobs_of(SPEC)
    other, _ = jobs_of(CouplingSpec(1, 1, 0))
    folder = empty / "shipped"
    assert objects.kept(job) is None
    assert ship([job, other], folder, lambda *about: None) == 2
    objects._shipped.cache_clear()
    code = objects.kept(job)
    assert code == making.made(job)
    assert not (empty / "cache").exists()  # what is shipped was not kept there as well
    assert ship([job], folder, lambda *about: None) == 0  # there and whole
    assert sorted(p.name for p in folder.iterdir()) == sorted([job.file(), "index.json"])  # the other is gone
    index = json.loads((folder / "index.json").read_text())
    assert index["objects"][job.file()]["function"] == "coupling_1_1_2 forward"
    path = folder / job.file()
    # changed by someone who knows the format: the list tells
    forged = code[:-1] + bytes([code[-1] ^ 1])
    path.write_bytes(hashlib.sha256(forged).digest() + forged)
    with caplog.at_level("WARNING"):
        assert objects.kept(job) is None
    assert str(path) in caplog.text
    assert "coupling_1_1_2 forward" in caplog.text
    assert ship([job], folder, lambda *about: None) == 0 or objects.content(path) == code


def test_objects_of_another_llvmlite_are_found_by_the_list_that_came_with_them(empty):
    job, _ = jobs_of(SPEC)
    folder, code = empty / "shipped", b"anything"
    folder.mkdir()
    (folder / job.file("0.1.2")).write_bytes(hashlib.sha256(code).digest() + code)
    about = {job.file("0.1.2"): {"sha256": hashlib.sha256(code).hexdigest()}}
    (folder / "index.json").write_text(json.dumps({"llvmlite": "0.1.2", "objects": about}))
    objects._shipped.cache_clear()
    assert objects.kept(job) == code


def test_those_who_start_at_once_compile_once(empty, monkeypatch):
    job, _ = jobs_of(SPEC)
    made, found = [], []

    def slow(job):
        time.sleep(0.3)
        made.append(job)
        return b"code"

    monkeypatch.setattr(worker, "made", slow)
    threads = [threading.Thread(target=lambda: found.append(worker.made_once(job))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [job]
    assert found == [b"code"] * 4
    assert [path.suffix for path in (empty / "cache" / "objects").iterdir()] == [".o"]  # no lock is left behind


def test_where_nothing_can_be_written_code_is_made_all_the_same(empty, monkeypatch):
    job, _ = jobs_of(SPEC)
    (empty / "cache").write_text("a file, not a folder")
    assert worker.made_once(job) == making.made(job)
    (empty / "cache").unlink()

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "keep", full)
    assert worker.made_once(job) == making.made(job)


def test_a_worker_that_was_lost_is_replaced_and_an_error_is_told(empty):
    job, _ = jobs_of(SPEC)
    one = Workers(1)
    try:
        code = one.wait(job)
        (lost,) = one._started
        os.kill(lost._process.pid, signal.SIGKILL)
        lost._process.wait()
        assert one.wait(replace(job, target=NATIVE)) != code
        with pytest.raises(RuntimeError, match=r"coupling_1_1_2 nonsense was not compiled"):
            one.wait(replace(job, stage="nonsense"))
    finally:
        one.close()


def test_a_fork_has_workers_of_its_own_and_leaves_those_of_its_parent(empty):
    job, _ = jobs_of(SPEC)
    own = workers()
    code = own.wait(job)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        own.close()
        os._exit(0 if workers() is not own and workers().wait(replace(job, target=NATIVE)) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [worker._process.poll() for worker in own._started] == [None] * len(own._started)
    assert own.wait(job) == code


def test_another_program_with_python_inside_finds_an_interpreter(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/usr/bin/lmp")
    found = subprocess.run([_python(), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
    assert found.stdout.strip() == sys.prefix


CONFIG = {"cutoff": 3.0, "channels": 4, "hidden_rank": 1, "edge_rank": 1, "correlation": 2}


@pytest.mark.parametrize(
    "more",
    [{}, {"dtype": "float64", "properties": [{"name": "dipole", "tensor": "i"}], "norm": True, "gate": True}],
    ids=["plain", "properties"],
)
def test_training_and_predictions_ask_for_what_was_foreseen(more, monkeypatch):
    """Everything that a training step and all predictions compile, of which `asked_for` has run nothing."""
    config = ModelConfig(**{**CONFIG, **more})
    foreseen, asked = asked_for(config, level()), set()
    real = binder.Entry

    def entry(job):
        asked.add(job)
        return real(job)

    monkeypatch.setattr(binder, "Entry", entry)
    run_for_real(config)
    assert asked
    assert asked <= foreseen
    assert foreseen == asked | {job for job in foreseen if job.source == "linear.linear"}


def run_for_real(config):
    from ase import Atoms

    from cartalg.data.graphs import build_graph
    from cartalg.model import Potential

    source_entries_forgotten()
    model = Potential(config, ("H", "O"))
    atoms = Atoms("OHH", [[0, 0, 0], [0, 0, 1], [0, 1, 0]])
    graph = build_graph(atoms, config.cutoff, model.elements, "water")
    found = model(graph, virial=True, properties=True, training=True)
    total = found.energy.sum() + found.forces.square().sum() + found.virial.sum()
    (total + sum(t.sum() for t in found.properties.values())).backward(inputs=list(model.parameters()))
    assert torch.isfinite(model(graph, virial=True, properties=True).energy).all()


def source_entries_forgotten():
    from cartalg_codegen.backends.numba import loader

    loader.read.cache_clear()
    open_kernels()._functions.clear()


def test_the_command_fills_the_cache(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{train: x.xyz}}\nmodel: {json.dumps(CONFIG)}\n")
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "cartalg", "compile", str(config)]
    for again in (False, True):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        count, now = (int(word) for word in done.stdout.split() if word.isdigit())
        there = len(list(Path(tmp_path, "cache", "objects").glob("*.o")))
        assert count >= there > 0  # the library may have come with some
        assert now == (0 if again else there)
    refused = subprocess.run([*command, "--level", "x86-64-v3"], env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--level is for --out" in refused.stderr
