import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from cartalg.ops import KernelNotFound, KernelSet, pack, unpack
from cartalg.symbolic.reducible import decompose
from cartalg.symbolic.spherical import wigner_d
from cartalg_codegen import emit
from cartalg_codegen.sets import SYMMETRIES, Set

BACKENDS = ["numba", "torch"]


def tensor(formula, channels=2):
    order = len(formula.partition("=")[0])
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, *[3] * order, channels, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("formula", SYMMETRIES)
def test_packing_is_the_exact_map_and_unpacking_its_inverse(formula, backend):
    t, found = tensor(formula), decompose(formula)
    packed = pack(t, formula, backend=backend)
    matrix = torch.tensor(np.array(found.packing.tolist(), dtype=float))
    torch.testing.assert_close(packed, torch.einsum("kt,ntc->nkc", matrix, t.reshape(4, -1, 2)))
    whole = unpack(packed, formula, backend=backend)
    torch.testing.assert_close(pack(whole, formula, backend=backend), packed)
    if "=" not in formula:
        torch.testing.assert_close(whole, t)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_turn_as_irreps(backend):
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]])
    r, t = torch.tensor(turn), tensor("ijk=ikj")
    turned = torch.einsum("ai,bj,ck,nijkz->nabcz", r, r, r, t)
    before, after = (pack(x, "ijk=ikj", backend=backend) for x in (t, turned))
    start = 0
    for part in decompose("ijk=ikj").parts:
        stop = start + 2 * part.rank + 1
        d = torch.tensor(wigner_d(part.rank, turn))
        torch.testing.assert_close(after[:, start:stop], torch.einsum("km,nmc->nkc", d, before[:, start:stop]))
        start = stop


@pytest.mark.parametrize("backend", BACKENDS)
def test_derivatives(backend):
    t = tensor("ij=ji").requires_grad_()
    function = lambda x: unpack(pack(x, "ij=ji", backend=backend) ** 2, "ij=ji", backend=backend)  # noqa: E731
    assert gradcheck(function, (t,))
    assert gradgradcheck(function, (t,))


def test_another_symmetry_is_emitted_by_name(tmp_path):
    names = ("pack_ij_Mji", "pack_ijk_jik", "unpack_ijk_jik")
    emit.write(emit.render(Set(1, only=names)), tmp_path / "set")
    kernels = KernelSet(tmp_path / "set")
    t = tensor("ijk=jik")
    whole = unpack(pack(t, "ijk=jik", kernels=kernels), "ijk=jik", kernels=kernels)
    torch.testing.assert_close(whole, (t + t.transpose(1, 2)) / 2)
    with pytest.raises(KernelNotFound, match="generate --only pack_ij "):
        pack(t[:, 0], "ij", kernels=kernels)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: pack(torch.zeros(2, 3, 3), "ij=ji"), r"shape \[n, 3, 3, channels\]"),
        (lambda: pack(torch.zeros(2, 3, 4, 1), "ij=ji"), r"shape \[n, 3, 3, channels\]"),
        (lambda: unpack(torch.zeros(2, 5, 1), "ij=ji"), "6 components"),
        (lambda: unpack(torch.zeros(2, 6), "ij=ji"), "3 dimensions"),
    ],
)
def test_bad_shapes(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_a_formula_that_cannot_be():
    with pytest.raises(ValueError, match="not a permutation"):
        pack(tensor("ij"), "ij=jk")
