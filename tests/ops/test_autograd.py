import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from cartalg.ops import Edges, KernelSet, convolution, couple, harmonics, open_kernels, product
from cartalg.ops.functions import resolve
from cartalg.ops.private import missing
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.specs import ConvolutionSpec, ProductSpec, parse

F64 = torch.float64
CONVOLUTIONS = [ConvolutionSpec("natural", 0, 2), ConvolutionSpec("natural", 1, 2), ConvolutionSpec("full", 1, 1)]
PRODUCTS = [ProductSpec("natural", "limited", 2, 1, 3), ProductSpec("natural", "complete", 1, 1, 2)]
QUADRATIC = ProductSpec("natural", "limited", 1, 1, 4)


def random(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def convolution_case(spec, dtype=F64, tables=None):
    sender, receiver = torch.tensor([1, 2, 0, 3, 1]), torch.tensor([0, 0, 1, 2, 2])
    edges = Edges.build(sender, receiver, 4, 3)  # atom 3 sends and does not receive
    theta = [
        random(4, spec.left.dim, 2, dtype=dtype, seed=1),
        # the last is beyond the table
        torch.nn.functional.normalize(random(5, 3, dtype=dtype, seed=2), dim=1)
        * torch.tensor([0.3, 0.9, 1.7, 2.2, 3.1], dtype=dtype)[:, None],
        random(*([tables] if tables else []), 9, len(spec.paths), 2, dtype=dtype, seed=3),
    ]
    block = torch.tensor([2, 0, 1, 2, 0]) if tables else None

    def function(backend):
        return lambda *theta: convolution(spec, edges, *theta, 0.5, block=block, backend=backend)

    return [t.requires_grad_() for t in theta], function


def product_case(spec, dtype=F64):
    species = torch.tensor([0, 1, 0])
    theta = [
        random(3, spec.components["a"], 2, dtype=dtype, seed=1),
        random(2, len(spec.weights), 2, dtype=dtype, seed=2),
    ]
    return [
        t.requires_grad_() for t in theta
    ], lambda backend: lambda a, w: product(spec, species, a, w, backend=backend)


def couple_case(ranks, dtype=F64):
    theta = [random(3, 2 * rank + 1, 2, dtype=dtype, seed=rank) for rank in ranks[:2]]
    return [t.requires_grad_() for t in theta], lambda backend: lambda a, b: couple(a, b, ranks, backend=backend)


def harmonics_case(rank, dtype=F64):
    return [random(4, 3, dtype=dtype).requires_grad_()], lambda backend: lambda v: harmonics(v, rank, backend=backend)


CASES = {
    "harmonics_l2": lambda dtype=F64: harmonics_case(2, dtype),
    "coupling_2_1_2": lambda dtype=F64: couple_case((2, 1, 2), dtype),
    "coupling_1_1_2": lambda dtype=F64: couple_case((1, 1, 2), dtype),
    **{s.name: lambda dtype=F64, s=s: convolution_case(s, dtype) for s in CONVOLUTIONS},
    "three tables": lambda dtype=F64: convolution_case(CONVOLUTIONS[0], dtype, tables=3),
    **{s.name: lambda dtype=F64, s=s: product_case(s, dtype) for s in PRODUCTS},
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


@pytest.mark.parametrize("backend", list(BACKENDS))
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


OPERATORS = ["harmonics", "coupling", "product", "convolution"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_pass_opcheck(operator):
    index = ()
    if operator == "harmonics":
        name, theta = "harmonics_l2", harmonics_case(2)[0]
    elif operator == "coupling":
        name, theta = "coupling_1_1_2", couple_case((1, 1, 2))[0]
    elif operator == "product":
        name, theta = PRODUCTS[1].name, product_case(PRODUCTS[1])[0]
        index = (torch.tensor([0, 1, 0]),)
    else:
        name, theta = CONVOLUTIONS[1].name, convolution_case(CONVOLUTIONS[1])[0]
        edges = Edges.build(torch.tensor([1, 2, 0, 3, 1]), torch.tensor([0, 0, 1, 2, 2]), 4, 3)
        index = (0.5, 6.0, torch.zeros_like(edges.sender), *edges.index.values())
    folder = str(open_kernels().holding(parse(name)).folder)
    torch.library.opcheck(getattr(torch.ops.cartalg, operator), ("numba", folder, name, *index, *theta))
    out = getattr(torch.ops.cartalg, operator)("numba", folder, name, *index, *theta).detach()
    for suffix in {"product": ("", "_w"), "convolution": ("", "_table")}.get(operator, ("",)):
        backward = getattr(torch.ops.cartalg, f"{operator}_backward{suffix}")
        torch.library.opcheck(backward, ("numba", folder, name, *index, *theta, out.requires_grad_()))


def test_tables_that_are_not_there_are_named():
    edges = Edges.build(torch.tensor([1, 0]), torch.tensor([0, 1]), 2, 2)
    spec, theta = CONVOLUTIONS[0], [random(2, 1, 2), random(2, 3), random(3, 9, len(CONVOLUTIONS[0].paths), 2)]
    for block, says in (([0, 3], r"block must lie in 0\.\.2"), ([-1, 0], r"0\.\.2"), ([0], r"of shape \(2,\)")):
        with pytest.raises(ValueError, match=says):
            convolution(spec, edges, *theta, 0.5, block=torch.tensor(block))
    with pytest.raises(ValueError, match="table must have 3 dimensions"):
        convolution(spec, edges, *theta, 0.5)


def test_results_do_not_depend_on_the_number_of_threads():
    atoms, degree = 40, 6
    receiver = torch.arange(atoms).repeat_interleave(degree)
    sender = torch.randint(0, atoms, (atoms * degree,), generator=torch.Generator().manual_seed(0))
    edges = Edges.build(sender, receiver, atoms, atoms)
    theta = [random(atoms, 4, 8), random(len(sender), 3), random(9, len(CONVOLUTIONS[1].paths), 8)]
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
    with pytest.raises(RuntimeError, match="cpu only"):
        resolve("numba", torch.zeros(1, device="meta"))
    assert resolve("auto", torch.zeros(1)).name == "numba"
    assert resolve("auto", torch.zeros(1, device="meta")).name == "torch"


def test_wrong_shapes_dtypes_and_indices_are_named():
    v = random(2, 3)
    with pytest.raises(ValueError, match=r"\[n, 3\]"):
        harmonics(random(2, 4), 2)
    with pytest.raises(ValueError, match="2 dimensions"):
        harmonics(v[0], 2)
    with pytest.raises(ValueError, match="float32 or float64"):
        harmonics(v.to(torch.float16), 2)
    with pytest.raises(ValueError, match="no coupling"):
        couple(random(1, 3, 1), random(1, 3, 1), (1, 1, 3))
    with pytest.raises(ValueError, match="share float32 or float64"):
        couple(random(1, 3, 1), random(1, 3, 1).float(), (1, 1, 2))
    with pytest.raises(ValueError, match="do not fit"):
        couple(random(1, 5, 1), random(1, 3, 1), (1, 1, 2))
    with pytest.raises(ValueError, match="is no convolution"):
        convolution("harmonics_l2", None, v, v, v, 0.5)
    (a, w), _ = product_case(PRODUCTS[0])
    with pytest.raises(ValueError, match=r"0\.\.1"):
        product(PRODUCTS[0], torch.tensor([0, 2, 0]), a, w)
    with pytest.raises(ValueError, match="sorted by receiver"):
        Edges.build(torch.tensor([0, 0]), torch.tensor([1, 0]), 2, 2)
    with pytest.raises(ValueError, match="sender index"):
        Edges.build(torch.tensor([5]), torch.tensor([0]), 2, 2)
    with pytest.raises(FileNotFoundError, match="cartalg generate"):
        KernelSet("/nonexistent")


def test_torch_has_the_private_interfaces_that_are_used():
    assert missing() == []


def test_an_edge_without_length_contributes_nothing():
    spec = CONVOLUTIONS[1]
    edges = Edges.build(torch.tensor([1, 0, 1]), torch.tensor([0, 1, 1]), 2, 2)
    x, table = random(2, spec.left.dim, 3, seed=1), random(9, len(spec.paths), 3, seed=3)
    with_zero = torch.tensor([[0.4, 0.1, 0.2], [0.0, 0.0, 0.0], [0.3, -0.8, 0.1]], dtype=F64)
    beyond = with_zero.clone()
    beyond[1] = 1e3
    found = []
    for backend in BACKENDS:
        for vectors in (with_zero, beyond):
            theta = [t.clone().requires_grad_() for t in (x, vectors, table)]
            found.append(derivatives(lambda *t, b=backend: convolution(spec, edges, *t, 0.5, backend=b), theta))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_indices_need_not_be_contiguous():
    pairs = torch.tensor([[0, 1], [0, 2], [1, 0], [2, 3], [2, 1]])
    theta, _ = convolution_case(CONVOLUTIONS[1])
    strided = Edges.build(pairs[:, 1], pairs[:, 0], 4, 3)
    whole = Edges.build(pairs[:, 1].contiguous(), pairs[:, 0].contiguous(), 4, 3)
    assert not strided.sender.is_contiguous()
    found, expected = (convolution(CONVOLUTIONS[1], e, *theta, 0.5, backend="numba") for e in (strided, whole))
    assert torch.equal(found, expected)
    found.sum().backward()
    (a, w), _ = product_case(PRODUCTS[0])
    species = torch.tensor([[0, 5], [1, 5], [0, 5]])[:, 0]
    assert torch.equal(
        product(PRODUCTS[0], species, a, w, backend="numba"),
        product(PRODUCTS[0], species.contiguous(), a, w, backend="numba"),
    )


def test_indices_of_other_widths_are_refused():
    (a, w), _ = product_case(PRODUCTS[0])
    with pytest.raises(ValueError, match=r"species must be contiguous int64, got torch\.int32"):
        product(PRODUCTS[0], torch.zeros(3, dtype=torch.int32), a, w, backend="numba")
