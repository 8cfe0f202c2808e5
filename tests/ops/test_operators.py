import os
import stat
import subprocess
import sys

import pytest
import torch
from cartalg.ops.functional import resolve
from cartalg.ops.native import lane_width
from cartalg.ops.operators import HARMONICS, announcing, launch
from torch.autograd import gradcheck, gradgradcheck

from cartalg.ops import Backend, Edges, KernelNotFound, KernelSet, convolution, couple, harmonics, open_kernels, product

F64 = torch.float64
CONVOLUTIONS = ["convolution_even_h0_e2", "convolution_even_h1_e2", "convolution_full_h1_e1"]
PRODUCTS = ["product_even_limited_a2_o1_n3", "product_even_complete_a1_o1_n2"]
QUADRATIC = "product_even_limited_a1_o1_n4"


def random(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def convolution_case(name, dtype=F64):
    facts = open_kernels().facts(name)
    sender, receiver = torch.tensor([1, 2, 0, 3, 1]), torch.tensor([0, 0, 1, 2, 2])
    edges = Edges.build(sender, receiver, 4, 3)  # atom 3 sends and does not receive
    size = sum(2 * rank + 1 for rank, _ in facts["left"])
    theta = [
        random(4, size, 2, dtype=dtype, seed=1),
        # the last is beyond the table
        torch.nn.functional.normalize(random(5, 3, dtype=dtype, seed=2), dim=1)
        * torch.tensor([0.3, 0.9, 1.7, 2.2, 3.1], dtype=dtype)[:, None],
        random(9, len(facts["paths"]), 2, dtype=dtype, seed=3),
    ]
    return [
        t.requires_grad_() for t in theta
    ], lambda backend: lambda x, vectors, table: convolution(name, edges, x, vectors, table, 0.5, backend=backend)


def product_case(name, dtype=F64):
    facts = open_kernels().facts(name)
    species = torch.tensor([0, 1, 0])
    size = sum(2 * rank + 1 for rank, _ in facts["features"])
    theta = [random(3, size, 2, dtype=dtype, seed=1), random(2, len(facts["weights"]), 2, dtype=dtype, seed=2)]
    return [
        t.requires_grad_() for t in theta
    ], lambda backend: lambda a, w: product(name, species, a, w, backend=backend)


def couple_case(ranks, dtype=F64):
    theta = [random(3, 2 * rank + 1, 2, dtype=dtype, seed=rank) for rank in ranks[:2]]
    return [t.requires_grad_() for t in theta], lambda backend: lambda a, b: couple(a, b, ranks, backend=backend)


def harmonics_case(rank, dtype=F64):
    return [random(4, 3, dtype=dtype).requires_grad_()], lambda backend: lambda v: harmonics(v, rank, backend=backend)


CASES = {
    "harmonics_l2": lambda dtype=F64: harmonics_case(2, dtype),
    "coupling_2_1_2": lambda dtype=F64: couple_case((2, 1, 2), dtype),
    "coupling_1_1_2": lambda dtype=F64: couple_case((1, 1, 2), dtype),
    **{n: lambda dtype=F64, n=n: convolution_case(n, dtype) for n in CONVOLUTIONS},
    **{n: lambda dtype=F64, n=n: product_case(n, dtype) for n in PRODUCTS},
}


def derivatives(function, theta):
    """Value, gradient and a second derivative, flattened."""
    value = function(*theta)
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).reshape(value.shape)
    first = torch.autograd.grad((value * weights).sum(), theta, create_graph=True)
    second = torch.autograd.grad(sum((f**2).sum() for f in first if f.requires_grad), theta)
    return [value, *first, *second]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_backends_agree_to_second_derivatives(case, dtype):
    theta, function = CASES[case](dtype)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == F64 else {"rtol": 2e-4, "atol": 2e-3}
    for ours, reference in zip(
        derivatives(function("numba"), theta), derivatives(function("torch"), theta), strict=True
    ):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, reference, **tolerance)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("case", CASES)
def test_first_and_second_derivatives_match_finite_differences(case, backend):
    theta, function = CASES[case]()
    assert gradcheck(function(backend), theta, fast_mode=True)
    assert gradgradcheck(function(backend), theta, fast_mode=True)


def test_a_product_quadratic_in_its_weights_trains_on_forces_and_refuses_the_rest():
    (a, w), function = product_case(QUADRATIC)
    found = []
    for backend in ("numba", "torch"):
        out = function(backend)(a, w)
        weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
        (d_a,) = torch.autograd.grad((out * weights).sum(), a, create_graph=True)
        found.append([out, d_a, *torch.autograd.grad((d_a**2).sum(), (a, w))])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)
    (d_w,) = torch.autograd.grad(function("numba")(a, w).sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="backend='torch'"):
        (d_w**2).sum().backward()


OPERATORS = ["harmonics", "couple", "product", "convolution"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_pass_opcheck(operator):
    folder, index = str(open_kernels().folder), ()
    if operator == "harmonics":
        name, theta = "harmonics_l2", harmonics_case(2)[0]
    elif operator == "couple":
        name, theta = "coupling_1_1_2", couple_case((1, 1, 2))[0]
    elif operator == "product":
        name, theta = PRODUCTS[1], product_case(PRODUCTS[1])[0]
        index = (torch.tensor([0, 1, 0]),)
    else:
        name, theta = CONVOLUTIONS[1], convolution_case(CONVOLUTIONS[1])[0]
        edges = Edges.build(torch.tensor([1, 2, 0, 3, 1]), torch.tensor([0, 0, 1, 2, 2]), 4, 3)
        index = (0.5, edges.row_ptr, edges.sender, edges.receiver, edges.col_ptr, edges.col_edge)
    torch.library.opcheck(getattr(torch.ops.cartalg, operator), (folder, name, *index, *theta))
    out = getattr(torch.ops.cartalg, operator)(folder, name, *index, *theta).detach()
    for suffix in {"product": ("", "_w"), "convolution": ("", "_table")}.get(operator, ("",)):
        backward = getattr(torch.ops.cartalg, f"{operator}_backward{suffix}")
        torch.library.opcheck(backward, (folder, name, *index, *theta, out.requires_grad_()))


def test_results_do_not_depend_on_the_number_of_threads():
    facts = open_kernels().facts(CONVOLUTIONS[1])
    atoms, degree = 40, 6
    receiver = torch.arange(atoms).repeat_interleave(degree)
    sender = torch.randint(0, atoms, (atoms * degree,), generator=torch.Generator().manual_seed(0))
    edges = Edges.build(sender, receiver, atoms, atoms)
    theta = [random(atoms, 4, 8), random(len(sender), 3), random(9, len(facts["paths"]), 8)]
    theta = [t.requires_grad_() for t in theta]
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(derivatives(lambda *t: convolution(CONVOLUTIONS[1], edges, *t, 0.5, backend="numba"), theta))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_a_backend_that_cannot_run_raises():
    with pytest.raises(ValueError, match="auto, numba, torch"):
        resolve("cuda")
    with pytest.raises(RuntimeError, match="CPU only"):
        resolve("numba", torch.zeros(1, device="meta"))
    assert resolve("auto", torch.zeros(1)) is Backend.NUMBA
    assert resolve("auto", torch.zeros(1, device="meta")) is Backend.TORCH


def test_wrong_shapes_dtypes_and_indices_are_named():
    v = random(2, 3)
    with pytest.raises(ValueError, match=r"\[n, 3\]"):
        harmonics(random(2, 4), 2)
    with pytest.raises(ValueError, match="2 dimensions"):
        harmonics(v[0], 2)
    with pytest.raises(ValueError, match="float32 or float64"):
        harmonics(v.to(torch.float16), 2)
    with pytest.raises(ValueError, match="triangle"):
        couple(random(1, 3, 1), random(1, 3, 1), (1, 1, 3))
    with pytest.raises(ValueError, match="share float32 or float64"):
        couple(random(1, 3, 1), random(1, 3, 1).float(), (1, 1, 2))
    with pytest.raises(ValueError, match="do not fit"):
        couple(random(1, 5, 1), random(1, 3, 1), (1, 1, 2))
    with pytest.raises(KernelNotFound, match="harmonics_l9"):
        harmonics(v, 9)
    (a, w), _ = product_case(PRODUCTS[0])
    with pytest.raises(ValueError, match=r"0\.\.1"):
        product(PRODUCTS[0], torch.tensor([0, 2, 0]), a, w)
    with pytest.raises(ValueError, match="sorted by receiver"):
        Edges.build(torch.tensor([0, 0]), torch.tensor([1, 0]), 2, 2)
    with pytest.raises(ValueError, match="sender index"):
        Edges.build(torch.tensor([5]), torch.tensor([0]), 2, 2)
    with pytest.raises(FileNotFoundError, match="cartalg generate"):
        KernelSet("/nonexistent")


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
    code = "import resource, torch; resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)); "
    code += "from cartalg.ops import couple; t = torch.ones(1, 3, 1); print(couple(t, t, (1, 1, 0)).item())"
    environment = {**os.environ, "CARTALG_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == 3.0
    assert not [p for p in tmp_path.rglob("*.nbc") if p.stat().st_size > 2048]


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
    width = lane_width(channels, dtype)
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
        name, folder = f"harmonics_l{rank}", str(open_kernels().folder)
        launch(HARMONICS, "forward", folder, name, (), [("v", vectors)], [("out", guarded[:rows])], 2)()
        assert torch.equal(guarded[:rows], ours)
        assert (guarded[rows:] == 7).all()


def test_without_an_openmp_runtime_a_thread_pool_does_the_work(tmp_path):
    code = "import cartalg.ops.native as native; native._openmp = lambda: None; "
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
    assert list(tmp_path.glob("cartalg_kernels.numba_kernels.coupling_1_1_0-*/*.nbc"))


def test_a_damaged_cache_and_a_kernel_set_that_moved_are_no_error(tmp_path):
    from cartalg_codegen import emit

    files, code = (
        emit.render(1),
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
            for path in (tmp_path / "cache").rglob("*.nb?"):
                path.write_bytes(b"damaged")


def test_who_listens_hears_of_each_kernel_once():
    heard = []
    a = random(2, 3, 1, dtype=torch.float32)
    with announcing(heard.append):
        couple(a, random(2, 5, 1, dtype=torch.float32), (1, 2, 3), backend="numba")
        couple(a, random(2, 5, 1, dtype=torch.float32), (1, 2, 3), backend="numba")
    assert heard in (["coupling_1_2_3 forward", ""], [])  # nothing if another test has compiled it
    couple(a, random(2, 3, 1, dtype=torch.float32), (1, 1, 2), backend="numba")
    assert len(heard) <= 2
