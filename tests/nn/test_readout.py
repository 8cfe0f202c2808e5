import torch

from cartalg.nn.nonlinear import RMSNorm
from cartalg.nn.readout import LinearReadouts, atomic_energies
from cartalg.ops import open_kernels
from cartalg.symbolic.basis import squared_norms
from cartalg.symbolic.irreps import Irreps


def test_energies_are_scaled_and_shifted():
    network, shifts = torch.tensor([[1.0], [-2.0]]), torch.tensor([10.0, 20.0], dtype=torch.float64)
    found = atomic_energies(network, 3.0, shifts, torch.tensor([0.5, 0.25], dtype=torch.float64))
    assert found.tolist() == [13.5, 14.25]


def test_each_layer_is_read_by_its_own_weights():
    readouts = LinearReadouts(open_kernels(None))
    for channels in (2, 4):
        readouts.append(channels)
    features = [torch.randn(3, 4, 2), torch.randn(3, 1, 4)]
    weights = [readouts.get_parameter(str(n)) for n in range(2)]
    with torch.no_grad():
        found = readouts(features, torch.ones(3, 1))
        expected = sum(h[:, 0] @ w[:, None] / len(w) ** 0.5 for h, w in zip(features, weights, strict=True)) + 1
    torch.testing.assert_close(found, expected)


def test_a_norm_makes_the_mean_square_of_each_irrep_one():
    irreps = Irreps("0e + 1o + 2e")
    norm = RMSNorm(irreps, 16, open_kernels(None), "torch").double()
    h = 5 * torch.randn(4, irreps.dim, 16, dtype=torch.float64)
    with torch.no_grad():
        out = norm(h)
    for irrep, place in zip(irreps.irreps, irreps.slices, strict=True):
        squares = torch.tensor([float(n) for n in squared_norms(irrep.l)], dtype=torch.float64)[:, None]
        torch.testing.assert_close(
            (squares * out[:, place] ** 2).mean((1, 2)), torch.ones(4, dtype=torch.float64), rtol=1e-4, atol=0
        )
