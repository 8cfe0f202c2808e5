import math

import pytest
import torch

from cartalg.architecture import ModelConfig
from cartalg.nn.bases import RadialFunctions, agnesi, bessel, chebyshev, envelope, gaussian, held, soft, spline_matrix
from cartalg.nn.radial import Density, RadialWeights
from cartalg.ops import Edges, KernelSet
from cartalg_codegen.specs.edge import spline_pieces


def spline(coefficients, u):
    knot = min(int(u), len(coefficients) - 4)
    values = [sum(float(c) * (u - knot) ** n for n, c in enumerate(piece)) for piece in spline_pieces()]
    return sum(b * float(coefficients[knot + s]) for s, b in enumerate(values))


def test_the_spline_interpolates_and_ends_smoothly():
    values = torch.rand(11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    c = spline_matrix(10) @ values
    for k in range(9):
        assert spline(c, float(k)) == pytest.approx(float(values[k]))
    assert c[-3:].tolist() == [0, 0, 0]  # value, slope and curvature at the last knot


def test_cubic_polynomials_with_such_an_end_are_exact():
    u = torch.linspace(0, 10, 11, dtype=torch.float64)
    c = spline_matrix(10) @ (u - 10) ** 3
    for x in (0.1, 0.5, 3.7, 8.6, 9.9):
        assert spline(c, x) == pytest.approx((x - 10) ** 3, abs=1e-9)


def test_too_few_intervals():
    with pytest.raises(ValueError, match="at least 4"):
        spline_matrix(3)


def test_envelope_and_its_first_two_derivatives_vanish_at_the_cutoff():
    r = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)
    value = envelope(r, 5.0)
    (first,) = torch.autograd.grad(value, r, create_graph=True)
    (second,) = torch.autograd.grad(first, r)
    # the polynomial is clamped just at the cutoff; approach it from below as well
    assert (value.abs().item(), first.abs().item(), second.abs().item()) == pytest.approx((0, 0, 0), abs=1e-12)
    assert envelope(torch.tensor([5.0 - 1e-4], dtype=torch.float64), 5.0).item() < 1e-11
    assert envelope(torch.tensor([6.0]), 5.0).item() == 0


def test_bessel_functions_are_finite_at_zero():
    r, frequencies = torch.tensor([[0.0, 1e-9], [0.6, 3.1]], dtype=torch.float64)
    values = bessel(r, frequencies, 5.0)
    assert torch.isfinite(values).all()
    torch.testing.assert_close(values[0], values[1])


def test_other_functions_are_what_they_are_called():
    r = torch.linspace(0, 1, 7, dtype=torch.float64)
    angle = torch.arccos(r)
    torch.testing.assert_close(chebyshev(r, 5), torch.stack([torch.cos(n * angle) for n in range(1, 6)], 1))
    assert chebyshev(r, 1).shape == (7, 1)
    centres = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)
    values = gaussian(torch.tensor([2.0, 3.0], dtype=torch.float64), centres, 4.0)
    torch.testing.assert_close(values, torch.exp(-torch.tensor([[0.5, 0, 0.5], [1.125, 0.125, 0.125]]).double()))


def test_transforms_between_their_limits():
    radii = torch.tensor(1.5, dtype=torch.float64)
    r = torch.tensor([0.0, 1e-3, 0.75, 1.5625, 40.0], dtype=torch.float64)
    x = agnesi(r, radii, 0.9183, 4.5791, 1.0805)
    assert x.tolist()[0] == 1
    assert (x[1:] < x[:-1]).all()
    assert float(x[2]) == pytest.approx(1 / (1 + 1.0805 / 2))  # at the mean of the radii
    y = soft(r, radii, 4.0)
    # 3/4 of the sum, half-way between that and the distance in the middle, the distance
    assert y.tolist() == pytest.approx([1.125, 1.125, 1.125, 1.34375, 40.0], abs=1e-3)


def test_points_of_a_models_own():
    own = RadialFunctions(ModelConfig(n_bessel=2, radial_points=(0.7, 1.3)))
    r = torch.tensor([1.0, 2.5], dtype=torch.float64)
    wanted = math.sqrt(2 / 5) * torch.sin(r[:, None] * torch.tensor([0.7, 1.3]).double()) / r[:, None]
    torch.testing.assert_close(own(r)[0], wanted)
    for changes, says in (
        ({"radial_points": (1.0,)}, "radial_points lists 1 numbers, but n_bessel is 8"),
        ({"radial_points": (1.0,), "n_bessel": 1, "radial_basis": "chebyshev"}, "leave them out"),
        ({"radial_basis": "gaussian", "n_bessel": 1}, "at least 2"),
        ({"agnesi": (2.0, 1.0, 1.0)}, "0 < q < p"),
    ):
        with pytest.raises(ValueError, match=says):
            ModelConfig(**changes)


def test_weights_vanish_at_the_cutoff():
    torch.manual_seed(0)
    functions = RadialFunctions(ModelConfig(cutoff=4.0, n_bessel=4, knots=32))
    radial = RadialWeights(functions, torch.ones(3), 2, (8,)).double()
    table = radial.table().detach()
    assert float(table[-3:].abs().max()) == 0
    assert float(radial.direct(torch.tensor([4.0, 5.0], dtype=torch.float64)).detach().abs().max()) == 0


def test_each_path_has_its_scale():
    """Of equal weights of the network, those of the second path are three times as large."""
    radial = RadialWeights(RadialFunctions(ModelConfig(knots=32)), torch.tensor([1.0, 3.0]), 2, (16,)).double()
    with torch.no_grad():
        radial.last[:, 1] = radial.last[:, 0]
    weights = radial.direct(torch.tensor([0.7, 2.0, 4.0], dtype=torch.float64))
    assert (weights.abs() > 1e-6).all()
    torch.testing.assert_close(weights[:, 1], 3 * weights[:, 0])


def test_radial_functions_are_held_inside_the_core_and_left_alone_outside():
    r = torch.tensor([0.0, 0.3, 0.79, 0.8, 0.9, 1.0 - 1e-12, 1.7], dtype=torch.float64, requires_grad=True)
    seen = held(r, 1.0)
    assert seen.tolist() == pytest.approx([0.9, 0.9, 0.9, 0.9, 0.915625, 1.0, 1.7])
    slope, orders = seen, []
    for _ in range(3):  # derivatives to the third are continuous: at both ends those of the other side
        (slope,) = torch.autograd.grad(slope.sum(), r, create_graph=True)
        orders.append(slope.tolist())
    assert orders[0] == pytest.approx([0, 0, 0, 0, 0.5, 1, 1], abs=1e-9)
    assert [value for order in orders[1:] for value in (order[3], order[5])] == pytest.approx([0] * 4, abs=1e-6)
    assert held(r, 0.0) is r


def test_weights_of_a_held_network_are_those_of_the_core_further_in():
    torch.manual_seed(0)
    config = ModelConfig(cutoff=4.0, knots=80, n_bessel=4)
    free, still = (RadialWeights(RadialFunctions(config, c), torch.ones(3), 2, (8,)).double() for c in (0.0, 1.0))
    still.load_state_dict(free.state_dict())
    r = torch.tensor([0.1, 0.7, 1.0, 2.0], dtype=torch.float64)
    direct = still.direct(r).detach()
    torch.testing.assert_close(direct[2:], free.direct(r[2:]).detach())
    torch.testing.assert_close(direct[0], direct[1])
    inner, outer = (radial.table().detach() for radial in (still, free))
    assert float((inner[5:14] - inner[5]).abs().max()) < 1e-3 * float(inner.abs().max())
    torch.testing.assert_close(inner[40:], outer[40:])


@pytest.mark.parametrize("direct", [True, False])
def test_a_density_is_a_sum_of_bounded_numbers(direct):
    """By hand, at weights so large that tanh is felt; an atom without neighbours is divided by 1."""
    functions = RadialFunctions(ModelConfig(n_bessel=3, knots=512))
    density = Density(functions, KernelSet(), "auto", direct).double()
    with torch.no_grad():
        density.weight.copy_(torch.tensor([[3.0], [-1.0], [2.0]]))
    edges = Edges.build(torch.tensor([1, 2, 0]), torch.tensor([0, 0, 1]), 3, 3)
    vectors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 6.0]], dtype=torch.float64)
    r = vectors.norm(dim=1)
    basis = torch.stack([math.sqrt(2 / 5) * torch.sin(n * math.pi * r / 5) / r for n in (1, 2, 3)], 1)
    each = torch.tanh((basis @ density.weight.detach()[:, 0] / math.sqrt(3)) ** 2) * envelope(r, 5.0)
    assert float(each[0]) < 0.99 * float(((basis @ density.weight.detach()[:, 0]) ** 2 / 3 * envelope(r, 5.0))[0])
    wanted = 1 / (1 + torch.stack([each[0] + each[1], each[2], torch.zeros(()).double()]))
    found = density(edges, vectors).detach()[:, 0, 0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12 if direct else 1e-6)
    assert found[1:].tolist() == [1.0, 1.0]
