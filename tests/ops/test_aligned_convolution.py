"""The edge-aligned convolution against the sum over paths of the convolution that keeps them apart."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from cartalg.ops import Edges, convolution
from cartalg.symbolic.aligned import diagonal
from cartalg.testing import assert_equivariant
from cartalg_codegen.specs import AlignedConvolutionSpec, ConvolutionSpec

STEP, KNOTS = 0.5, 9
#: Along z and against it, in the plane across, next to the poles, of no length, and beyond the table.
VECTORS = [[0, 0, 0.9], [0, 0, -1.7], [1.2, 0, 0], [0.3, -0.8, 0], [1e-9, 0, -2.0], [0, 0, 0], [0, 3.1, 0]]


def case(hidden, edge, channels=2, dtype=torch.float64, crowd=40):
    random = torch.Generator().manual_seed(hidden + 10 * edge)
    aligned, apart = AlignedConvolutionSpec(hidden, edge), ConvolutionSpec("natural", hidden, edge)
    vectors = torch.cat([torch.tensor(VECTORS, dtype=dtype), torch.randn(crowd, 3, dtype=dtype, generator=random)])
    senders = torch.randint(0, 4, (len(vectors),), generator=random)
    receivers = torch.randint(0, 3, (len(vectors),), generator=random).sort()[0]
    edges = Edges.build(senders, receivers, 4, 3)
    x = torch.randn(4, apart.left.dim, channels, dtype=dtype, generator=random)
    table = torch.randn(KNOTS, len(apart.paths), channels, dtype=dtype, generator=random)
    return aligned, apart, edges, [t.requires_grad_() for t in (x, vectors, table)]


def weights_of_paths(aligned, apart, table):
    """Weights in m of path weights: sums over l2 [docs/theory.md, eq. 54]."""
    places = {w: n for n, w in enumerate(aligned.message.weights)}
    parts = [torch.zeros_like(table[:, 0])] * len(places)
    for path in apart.paths:
        for m, d in enumerate(diagonal(*path.message.ranks)):
            place = places[path.left.l, path.out.l, m]
            parts[place] = parts[place] + float(d) * table[:, path.index]
    return torch.stack(parts, 1)


def summed(apart, rows):
    """Paths of each output added."""
    blocks = rows.split([mul * irrep.dim for mul, irrep in apart.outputs], 1)
    parts = zip(blocks, apart.outputs, strict=True)
    return torch.cat([b.unflatten(1, (irrep.dim, mul)).sum(2) for b, (mul, irrep) in parts], 1)


def derivatives(function, theta):
    """Value, gradients, and second derivatives through each of them."""
    value = function(*theta)
    random = torch.Generator().manual_seed(0)
    along = torch.randn(value.shape, dtype=value.dtype, generator=random)
    first = torch.autograd.grad(value, theta, along, create_graph=True)
    found = [value, *first]
    for gradient in first:
        along = torch.randn(gradient.shape, dtype=gradient.dtype, generator=random)
        second = torch.autograd.grad(gradient, theta, along, retain_graph=True, allow_unused=True)
        found += [torch.zeros_like(t) if s is None else s for s, t in zip(second, theta, strict=True)]
    return found


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize(("hidden", "edge"), [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (2, 1)])
def test_equals_the_sum_over_paths_to_second_derivatives(hidden, edge, backend):
    aligned, apart, edges, theta = case(hidden, edge)
    ours = derivatives(
        lambda x, v, t: convolution(aligned, edges, x, v, weights_of_paths(aligned, apart, t), STEP, backend=backend),
        theta,
    )
    wanted = derivatives(
        lambda x, v, t: summed(apart, convolution(apart, edges, x, v, t, STEP, backend="torch")), theta
    )
    for a, b in zip((t.detach() for t in ours), (t.detach() for t in wanted), strict=True):
        assert (a - b).abs().max() <= 1e-12 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("channels", [1, 3, 16, 48])
def test_single_precision_and_any_number_of_channels(channels):
    aligned, _, edges, (x, vectors, _) = case(2, 3, channels)
    table = torch.randn(KNOTS, len(aligned.message.weights), channels, dtype=torch.float64)
    exact = convolution(aligned, edges, x, vectors, table, STEP)
    ours = convolution(aligned, edges, x.float(), vectors.float(), table.float(), STEP)
    assert (ours - exact).abs().max() < 2e-5 * exact.abs().max()


def test_gradients_are_those_of_finite_differences():
    aligned, _, edges, (x, vectors, _) = case(1, 2, crowd=3)
    keep = vectors.detach()[[0, 1, 2, 4, 7, 8, 9]].requires_grad_()
    edges = Edges.build(torch.tensor([0, 1, 2, 3, 0, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 2, 2]), 4, 3)
    table = torch.randn(KNOTS, len(aligned.message.weights), 2, dtype=torch.float64, requires_grad=True)

    def function(x, vectors, table):
        return convolution(aligned, edges, x, vectors, table, STEP)

    assert gradcheck(function, (x, keep, table))
    assert gradgradcheck(function, (x, keep, table))


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_messages_turn_with_space(backend):
    aligned, _, edges, (x, vectors, _) = case(2, 3)
    table = torch.randn(KNOTS, len(aligned.message.weights), 2, dtype=torch.float64)

    def function(x, vectors):
        return convolution(aligned, edges, x, vectors, table, STEP, backend=backend)

    assert_equivariant(function, [aligned.left, 1], [aligned.outputs], inputs=[x.detach(), vectors.detach()])


def test_what_is_no_convolution_and_shapes_that_do_not_fit_are_named():
    aligned, _, edges, (x, vectors, table) = case(1, 2)
    with pytest.raises(ValueError, match="product_natural_limited_a1_o1_n1 is no convolution"):
        convolution("product_natural_limited_a1_o1_n1", edges, x, vectors, table, STEP)
    with pytest.raises(ValueError, match=r"aligned_natural_h1_e2: table must have shape \(9, 8, 2\)"):
        convolution(aligned.name, edges, x, vectors, table[:, :5], STEP)
