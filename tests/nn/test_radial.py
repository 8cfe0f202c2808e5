import pytest
import torch

from cartalg.nn.radial import RadialWeights, bessel_basis, envelope, spline_matrix
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
    values = bessel_basis(torch.tensor([0.0, 1e-9], dtype=torch.float64), 5.0, 4)
    assert torch.isfinite(values).all()
    torch.testing.assert_close(values[0], values[1])


def test_weights_vanish_at_the_cutoff():
    torch.manual_seed(0)
    radial = RadialWeights(4.0, torch.ones(3), 2, 4, (8,), 32).double()
    table = radial.table().detach()
    assert float(table[-3:].abs().max()) == 0
    assert float(radial.direct(torch.tensor([4.0, 5.0], dtype=torch.float64)).detach().abs().max()) == 0


def test_each_path_has_its_scale():
    """Of equal weights of the network, those of the second path are three times as large."""
    radial = RadialWeights(5.0, torch.tensor([1.0, 3.0]), 2, 8, (16,), 32).double()
    with torch.no_grad():
        radial.last[:, 1] = radial.last[:, 0]
    weights = radial.direct(torch.tensor([0.7, 2.0, 4.0], dtype=torch.float64))
    assert (weights.abs() > 1e-6).all()
    torch.testing.assert_close(weights[:, 1], 3 * weights[:, 0])
