"""docs/theory is enough to rebuild the convolution: its equations in NumPy give what kernels give."""

import math

import numpy as np
import pytest
import torch

from cartalg.architecture import ModelConfig
from cartalg.nn.bases import RadialFunctions, envelope
from cartalg.nn.radial import RadialWeights
from cartalg.ops import Edges, KernelSet, convolution
from cartalg.symbolic import coupling
from cartalg.symbolic.basis import basis_polynomials, squared_norms
from cartalg_codegen.specs import ConvolutionSpec

CUTOFF, INTERVALS = 4.0, 8


def alpha(rank):
    return math.prod(range(1, 2 * rank, 2)) / math.factorial(rank)


def harmonic(rank, vector):
    """Packed components of T_l: alpha_l e_lm(v)/N_lm."""
    values = [
        sum(float(c.numerator) / float(c.denominator) * np.prod(vector ** np.array(e)) for e, c in p.items())
        for p in basis_polynomials(rank)
    ]
    return alpha(rank) * np.array(values) / [float(n.numerator) / float(n.denominator) for n in squared_norms(rank)]


def splines(tau):
    return np.array(
        [(1 - tau) ** 3, 4 - 6 * tau**2 + 3 * tau**3, 1 + 3 * tau + 3 * tau**2 - 3 * tau**3, tau**3]
    ) / 6  # fmt: skip


def coefficients(values):
    """The table whose spline takes these values at the knots, not-a-knot at 0, smooth at the cutoff."""
    size = len(values) + 2
    system, right = np.zeros((size, size)), np.zeros((size, *values.shape[1:]))
    for knot in range(len(values) - 2):
        system[knot, knot : knot + 3] = np.array([1, 4, 1]) / 6
        right[knot] = values[knot]
    system[-4, :5] = [1, -4, 6, -4, 1]
    for last in (-3, -2, -1):
        system[last, last] = 1
    return np.linalg.solve(system, right.reshape(size, -1)).reshape(right.shape)


def by_the_page(hidden, edge, x, sender, receiver, vectors, table, receivers):
    """A of the page, natural parity, rows as it orders them."""
    irreps = [
        (out, left, right)
        for out in range(max(hidden, edge) + 1)
        for left in range(hidden + 1)
        for right in range(edge + 1)
    ]
    paths = [
        (out, left, right)
        for out, left, right in irreps
        if abs(left - right) <= out <= left + right and (out + left + right) % 2 == 0
    ]
    spacing = CUTOFF / INTERVALS
    count = [sum(path[0] == out for path in paths) for out in range(max(hidden, edge) + 1)]
    result = np.zeros((receivers, sum((2 * out + 1) * n for out, n in enumerate(count)), x.shape[2]))
    for e, v in enumerate(vectors):
        length = np.linalg.norm(v)
        if not 0 < length < CUTOFF:
            continue
        knot = int(length / spacing)
        weight = np.einsum("n,npc->pc", splines(length / spacing - knot), table[knot : knot + 4])
        for number, (out, left, right) in enumerate(paths):
            first = sum((2 * o + 1) * count[o] for o in range(out))
            place = sum(path[0] == out for path in paths[:number])
            features = x[sender[e], left**2 : (left + 1) ** 2]
            y = harmonic(right, v / length)
            for (k, a, b), c in coupling(left, right, out).entries.items():
                row = first + k * count[out] + place
                result[receiver[e], row] += (
                    float(c.numerator) / float(c.denominator) * features[a] * y[b] * weight[number]
                )
    return result, paths


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize(("hidden", "edge"), [(1, 1), (2, 3)])
def test_the_page_rebuilds_the_convolution(hidden, edge, backend):
    rng = np.random.default_rng(0)
    atoms, channels, n_edges = 5, 4, 60
    receiver = np.sort(rng.integers(0, atoms, n_edges))
    sender = rng.integers(0, atoms, n_edges)
    vectors = rng.normal(size=(n_edges, 3)) * 2  # on both sides of the cutoff
    assert (np.linalg.norm(vectors, axis=1) > CUTOFF).any()
    spec = KernelSet().get(ConvolutionSpec("natural", hidden, edge))
    x = rng.normal(size=(atoms, (hidden + 1) ** 2, channels))
    table = rng.normal(size=(INTERVALS + 3, len(spec.paths), channels))
    ours, paths = by_the_page(hidden, edge, x, sender, receiver, vectors, table, atoms)
    assert [(p.out.l, p.left.l, p.edge.l) for p in spec.paths] == paths
    edges = Edges.build(torch.tensor(sender), torch.tensor(receiver), atoms, atoms)
    tensors = [torch.tensor(v) for v in (x, vectors, table)]
    theirs = convolution(spec, edges, *tensors, CUTOFF / INTERVALS, backend=backend)
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-12)


def test_edges_in_both_orders():
    sender, receiver = torch.tensor([2, 0, 1, 0, 2]), torch.tensor([0, 0, 1, 2, 2])
    edges = Edges.build(sender, receiver, 3, 3)
    for i in range(3):
        assert (receiver[edges.row_ptr[i] : edges.row_ptr[i + 1]] == i).all()
        mine = edges.col_edge[edges.col_ptr[i] : edges.col_ptr[i + 1]]
        assert mine.tolist() == [e for e in range(5) if sender[e] == i]


def test_envelope_table_and_variance_of_the_page():
    r = torch.linspace(0, CUTOFF, INTERVALS + 1, dtype=torch.float64)
    t = r.numpy() / CUTOFF
    np.testing.assert_allclose(envelope(r, CUTOFF).numpy(), 1 - 28 * t**6 + 48 * t**7 - 21 * t**8, atol=1e-13)
    functions = RadialFunctions(ModelConfig(cutoff=CUTOFF, knots=INTERVALS))
    radial = RadialWeights(functions, torch.ones(2), 3, (16, 16)).double()
    table = radial.table().detach().numpy()
    np.testing.assert_allclose(table, coefficients(radial.direct(r).detach().numpy()), atol=1e-12)
    np.testing.assert_allclose(table[-1], table[-3], atol=1e-12)
    for path in KernelSet().get(ConvolutionSpec("natural", 2, 3)).paths:
        assert float(path.edge_squared_norm) == pytest.approx(alpha(path.edge.l))
        # mean squared components of an orthonormal coupling with a harmonic scaled to unit components, by its entries
        rule, norms = (
            coupling(path.left.l, path.edge.l, path.out.l),
            [squared_norms(i.l) for i in (path.left, path.edge, path.out)],
        )
        total = sum(c * c * norms[2][k] / (norms[0][a] * norms[1][b]) for (k, a, b), c in rule.entries.items())
        assert float(path.orthonormal_squared) * float(total.numerator) / float(total.denominator) == pytest.approx(
            path.out.dim
        )
