import os
import stat
import subprocess
import sys

import pytest
import torch

from cartalg.ops import KernelSet, bind, couple, harmonics, open_kernels
from cartalg_codegen import emit
from cartalg_codegen.backends.numba.binder import lane_width
from cartalg_codegen.backends.numba.targets import level
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import CouplingSpec, HarmonicsSpec


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_kernels_work_where_no_cache_can_be_written(tmp_path, kind):
    """A cache folder that cannot be made costs compile time and nothing else; no traceback, the same numbers."""
    blocked = tmp_path / "cache"
    if kind == "file":
        blocked.write_text("a file where a folder should be")
    else:
        blocked = tmp_path / "locked" / "cache"
        blocked.parent.mkdir()
        os.chmod(blocked.parent, stat.S_IRUSR | stat.S_IXUSR)
        if os.geteuid() == 0:
            blocked = "/proc/cartalg-cache"  # root writes anywhere else
    code = "import torch; from cartalg.ops import couple; t = torch.ones(1, 3, 1); "
    code += "print(couple(t, t, (1, 1, 0), backend='numba').item())"
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(blocked)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == 3.0


def test_a_full_disk_is_no_error(tmp_path):
    """A limit on the size of any file stands for a disk that fills up while the cache is written."""
    code = "import resource, torch; resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512)); "
    code += "from cartalg.ops import couple; t = torch.ones(1, 3, 1); print(couple(t, t, (1, 1, 0)).item())"
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == 3.0
    assert not list(tmp_path.rglob("*.o"))


def test_processes_that_start_at_once_share_a_cold_cache(tmp_path):
    code = (
        "import torch; from cartalg.ops import couple; t = torch.ones(1, 3, 16); print(couple(t, t, (1, 1, 0)).sum())"
    )
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path)}
    start = lambda: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(2):  # the second round finds what the first wrote
        for process in [start() for _ in range(3)]:
            out, errors = process.communicate()
            assert process.returncode == 0, errors
            assert out.strip() == "tensor(48.)"


@pytest.mark.parametrize("channels", [1, 2, 6, 16, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_lane_width_gives_the_same_numbers(channels, dtype):
    width = lane_width(channels, dtype, level())
    assert channels % width == 0
    a, b = random(3, 5, channels, dtype=dtype, seed=1), random(3, 3, channels, dtype=dtype, seed=2)
    ours = couple(a, b, (2, 1, 2), backend="numba")
    one_by_one = [couple(a[..., c : c + 1], b[..., c : c + 1], (2, 1, 2), backend="numba") for c in range(channels)]
    torch.testing.assert_close(ours, torch.cat(one_by_one, -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 17, 63, 64, 65, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_harmonics_of_any_number_of_rows(rows, dtype):
    """Rows are taken in blocks of lanes; every remainder must come out, and nothing past the end be written."""
    vectors = random(rows, 3, dtype=dtype)
    for rank in (1, 3, 4):
        ours, reference = (harmonics(vectors, rank, backend=b) for b in ("numba", "torch"))
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)
        guarded = torch.full((rows + 2, (rank + 1) ** 2), 7.0, dtype=dtype)
        bind(open_kernels(), HarmonicsSpec(rank), "forward", {}, {"v": vectors, "out": guarded[:rows]}, 2, "numba")()
        assert torch.equal(guarded[:rows], ours)
        assert (guarded[rows:] == 7).all()


def test_without_an_openmp_runtime_a_thread_pool_does_the_work(tmp_path):
    code = "import cartalg_codegen.backends.numba.team as team; team.openmp = lambda: None; "
    code += "import torch; from cartalg.ops import couple; torch.set_num_threads(2); t = torch.ones(64, 3, 1); "
    code += "print(couple(t, t, (1, 1, 0)).sum().item())"
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == 192.0


def test_compiled_kernels_are_cached(tmp_path):
    code = "import torch; from cartalg.ops import couple; t = torch.ones(1, 3, 1); couple(t, t, (1, 1, 0))"
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (kept,) = tmp_path.glob("objects/*.o")
    before = kept.stat().st_mtime_ns
    again = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert kept.stat().st_mtime_ns == before  # read, not made again


def test_a_damaged_cache_and_a_kernel_set_that_moved_are_no_error(tmp_path):
    files, code = (
        emit.render(Set(1, only=("coupling_1_1_0",))),
        "import sys, torch; from cartalg.ops import KernelSet, couple; t = torch.ones(1, 3, 1); ",
    )
    code += "print(couple(t, t, (1, 1, 0), kernels=KernelSet(sys.argv[1])).item())"
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path / "cache")}
    for place in ("first", "second", "third"):
        emit.write(files, tmp_path / place)
        run = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / place)], env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        assert float(run.stdout) == 3.0
        if place == "second":
            for path in (tmp_path / "cache" / "objects").iterdir():
                path.write_bytes(b"damaged")


def test_the_log_names_each_kernel_once(caplog):
    a, b = random(2, 3, 1, dtype=torch.float32), random(2, 5, 1, dtype=torch.float32)
    kernels = KernelSet()  # nothing of it is loaded yet
    with caplog.at_level("INFO", logger="cartalg.compilation"):
        for _ in range(2):
            bound = {"a": a, "b": b, "out": torch.empty(2, 7, 1)}
            bind(kernels, CouplingSpec(1, 2, 3), "forward", {}, bound, 1, "numba")()
    assert [r.getMessage() for r in caplog.records] in (["1 of 1: coupling_1_2_3 forward", ""], [])


def test_machine_code_is_not_loaded_from_where_others_can_write(tmp_path):
    code = (
        "import torch; from cartalg.ops import couple; t = torch.ones(1, 3, 1); print(couple(t, t, (1, 1, 0)).item())"
    )
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path)}
    run = lambda: subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)  # noqa: E731
    assert run().stdout.strip() == "3.0"
    (kept,) = tmp_path.glob("objects/*.o")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])  # cut: found by its hash, made again
    assert run().stdout.strip() == "3.0"
    assert kept.read_bytes() == whole
    kept.chmod(0o666)
    before = kept.stat().st_ino
    assert run().stdout.strip() == "3.0"
    assert kept.stat().st_ino != before  # another file took its place
    kept.parent.chmod(0o777)
    before, refused = kept.stat().st_ino, run()
    assert refused.stdout.strip() == "3.0"
    assert kept.stat().st_ino != before
    assert "others can write there" in refused.stderr
