import torch

from cartalg.ops import KernelSet, bind
from cartalg_codegen.specs import parse

KERNELS = KernelSet()


def test_each_thread_adds_to_a_part_of_its_own():
    """Part t of a gradient to weights is that of the rows which thread t does; nothing else is written."""
    spec, threads, rows = parse("product_natural_limited_a1_o1_n2"), 3, 48
    generator = torch.Generator().manual_seed(0)
    a, g = (torch.randn(rows, 4, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    w = torch.randn(2, 5, 8, dtype=torch.float64, generator=generator)
    species = torch.arange(rows) % 2

    def parts(threads, rows):
        tensors = {"a": a[rows], "w": w, "g": g[rows], "d_a": torch.empty_like(a[rows])}
        tensors["d_w"] = w.new_zeros(threads, *w.shape)
        bind(KERNELS, spec, "backward_w", {"species": species[rows]}, tensors, threads, "numba")()
        return tensors["d_w"]

    found = parts(threads, slice(None))
    for thread in range(threads):
        alone = parts(1, slice(16 * thread, 16 * thread + 16))
        torch.testing.assert_close(found[thread], alone[0])


def test_a_call_that_is_repeated_gives_the_same():
    """Results are set, whatever the array holds."""
    spec = parse("coupling_1_1_1")
    a, b = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[[0.5], [0.0], [4.0]]])
    tensors = {"a": a, "b": b, "out": torch.full((1, 3, 1), 7.0)}
    call = bind(KERNELS, spec, "forward", {}, tensors, 1, "torch")
    call()
    first = tensors["out"].clone()
    call()
    assert first.abs().max() > 0
    torch.testing.assert_close(tensors["out"], first, rtol=0, atol=0)
