"""The assertions that ship: they let pass what is equivariant, and see each way not to be."""

import numpy as np
import pytest
import torch

from cartalg.ops import couple, harmonics, pack
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg.testing import TURNS, Turn, assert_equivariant, assert_invariant, rotate


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_kernels_pass(backend):
    assert_equivariant(lambda v: harmonics(v, 3, backend=backend), 1, Irreps.natural(3), channels=None)
    assert_equivariant(lambda a, b: couple(a, b, (2, 1, 2), backend=backend), ["2e", "1o"], "2o")
    assert_equivariant(lambda a, b: couple(a, b, (2, 1, 2), backend=backend), ["2o", "1o"], "2e")
    assert_equivariant(lambda t: pack(t, "ij", backend=backend), 2, "0e + 1e + 2e", rows=5, channels=2)
    assert_equivariant(lambda a, b: couple(a, b, (1, 1, 2)).float(), ["1o", "1o"], "2e", dtype=torch.float32)


def test_exact_functions_pass_exactly():
    cross = lambda a, b: np.cross(a, b, axis=1)  # noqa: E731
    assert_equivariant(cross, ["1o", "1o"], "1e", exact=True)
    assert_equivariant(cross, ["1e", "1o"], "1o", exact=True)
    assert_invariant(lambda a, b: (a * b).sum(1), [1, 1], exact=True)
    with pytest.raises(AssertionError, match="relative error"):  # 1e-12 too much is seen
        assert_invariant(lambda a, b: (a * b).sum(1) + a[:, 0] / 10**12, [1, 1], exact=True)


def test_several_copies_and_several_outputs():
    weights = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)

    def mixed(x):
        scalars, vectors = x[:, :2], x[:, 2:].reshape(len(x), 3, 2, -1)
        out = torch.einsum("njpc,pq->njqc", vectors, weights)
        return scalars, out.reshape(len(x), 9, -1)

    assert_equivariant(mixed, "2x0e + 2x1o", ["2x0e", "3x1o"])
    with pytest.raises(AssertionError, match="output 1, 9x0e"):
        assert_equivariant(mixed, "2x0e + 2x1o", ["2x0e", "9x0e"])


@pytest.mark.parametrize(
    ("function", "kinds", "out", "says"),
    [
        (lambda a: a**2, "1o", "1o", "output 0, 1o: .* under the rotation"),
        (lambda a: torch.linalg.norm(a, dim=1, keepdim=True) * a.sum(1, keepdim=True), 1, None, "output 0: "),
        (lambda a, b: couple(a, b, (2, 1, 2)), ["2e", "1o"], "2e", "with the inversion"),
        (lambda a: torch.cat([a[:, :1], a[:, 1:].roll(1, 1)], 1), "0e + 1o", "0e + 1o", "output 0, 1o"),
        (lambda a: torch.full_like(a, torch.nan), "1o", "1o", "relative error nan"),
    ],
)
def test_what_is_not_equivariant_is_seen(function, kinds, out, says):
    with pytest.raises(AssertionError, match=says):
        assert_equivariant(function, kinds, out)


def test_the_wrong_parity_alone_is_seen_by_the_inversion_alone():
    cross = lambda a, b: torch.linalg.cross(a, b, dim=1)[:, [1, 2, 0]]  # noqa: E731
    assert_equivariant(cross, [1, 1], "1e")
    assert_equivariant(cross, [1, 1], "1o", turns=[t for t in TURNS if not t.inversion])
    with pytest.raises(AssertionError, match=r"\(1, 0, 0, 0\) with the inversion"):
        assert_equivariant(cross, [1, 1], "1o")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: assert_equivariant(lambda a: a * 0, "1o", "1o"), "output 0 is zero"),
        (lambda: assert_equivariant(lambda a: a * torch.rand(()), "1o", "1o"), "called again"),
        (lambda: assert_equivariant(lambda a: (a, a), "1o", "1o"), "returns 2 tensors; 1 kinds"),
        (lambda: assert_equivariant(lambda a: a, "1o", "1o", inputs=[]), "0 inputs for 1 kinds"),
        (lambda: assert_equivariant(lambda a: a, "1o", "0e + 1o"), "has 4 components"),
        (lambda: rotate(torch.zeros(2, 3, 2), 2, TURNS[0]), r"shape \[rows, 3, 3, ..\]"),
        (lambda: rotate(torch.zeros(2), "0e", TURNS[0]), "1 components, in axis 1"),
    ],
)
def test_an_assertion_that_would_say_nothing_is_an_error(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_packed_vectors_turn_as_cartesian_ones():
    """Packed vectors are (y, z, x)."""
    v = torch.randn(5, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for turn in TURNS:
        packed = rotate(v[:, [1, 2, 0]], "1o", turn)
        torch.testing.assert_close(packed, rotate(v, 1, turn)[:, [1, 2, 0]])
        assert (turn.matrix() @ turn.matrix().T == np.eye(3, dtype=int)).all()
        assert (np.linalg.det(turn.matrix().astype(float)) < 0) == turn.inversion
    assert (Turn((1, 0, 0, 0), True).packed(Irrep(2, 1)) == np.eye(5, dtype=int)).all()
