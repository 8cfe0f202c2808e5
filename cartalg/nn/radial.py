r"""Radial weights: a small network of the distance, tabulated as a cubic spline once a step.

The weights of an edge depend on its length alone, so the network is evaluated on a few hundred knots and interpolated
inside the convolution kernel. The spline *is* the model's radial function: forces are its exact derivatives, and its
cost does not grow with the number of edges. Source: docs/theory.md, eqs. 37, 44-46.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Keeps the variance of silu(x) at one for unit-variance x.
GAIN = 1.679


def bessel_basis(r: Tensor, cutoff: float, count: int) -> Tensor:
    r"""Radial Bessel functions sqrt(2/c) sin(n pi r/c)/r, n = 1..count, finite at r = 0.

    Args:
        r: Distances in angstrom, shape [n].
        cutoff: c in angstrom.
        count: Number of functions.
    Returns:
        Shape [n, count]. Source: Gasteiger et al. 2020 (DimeNet), eq. 7.
    """
    n = torch.arange(1, count + 1, dtype=r.dtype, device=r.device)
    return math.sqrt(2 / cutoff) * (n * math.pi / cutoff) * torch.sinc(n * r[:, None] / cutoff)


def envelope(r: Tensor, cutoff: float, power: int = 6) -> Tensor:
    """Smooth cutoff: 1 at 0; value, slope and curvature are zero at the cutoff and the value stays zero beyond.

    Source: Gasteiger et al. 2020 (DimeNet), eq. 8, with p = `power`.
    """
    p = power
    u = (r / cutoff).clamp(max=1.0)
    return 1 - (p + 1) * (p + 2) / 2 * u**p + p * (p + 2) * u ** (p + 1) - p * (p + 1) / 2 * u ** (p + 2)


def spline_matrix(intervals: int) -> Tensor:
    """Map from values on intervals+1 equidistant knots to the intervals+3 coefficients of their cubic B-spline.

    Ends: third derivative continuous across the first inner knot (not-a-knot); value, slope and curvature zero at the
    last knot, whose value and that of the knot before it, which follow from these, are not read.

    Args:
        intervals: At least 4.
    Returns:
        Float64, shape [intervals+3, intervals+1].
    Raises:
        ValueError: If there are fewer than 4 intervals.
    Source: docs/theory.md, eq. 46.
    """
    if intervals < 4:
        raise ValueError(f"a cubic spline table needs at least 4 intervals, got {intervals}")
    size = intervals + 3
    system = torch.zeros(size, size, dtype=torch.float64)
    values = torch.zeros(size, intervals + 1, dtype=torch.float64)
    for k in range(intervals - 1):
        system[k, k : k + 3] = torch.tensor([1.0, 4.0, 1.0], dtype=torch.float64) / 6
        values[k, k] = 1
    system[intervals - 1, :5] = torch.tensor([1.0, -4.0, 6.0, -4.0, 1.0], dtype=torch.float64)
    system[intervals:, intervals:] = torch.eye(3, dtype=torch.float64)
    return torch.linalg.solve(system, values)


class RadialWeights(nn.Module):
    """Network r -> w[path, channel], as a spline table or evaluated directly.

    Args:
        cutoff: In angstrom.
        path_scale: Exact normalisation of each path, shape [paths].
        channels: Channels of each path.
        n_bessel: Radial Bessel functions.
        hidden: Widths of the hidden layers.
        intervals: Knot intervals of the table.
        power: Of the envelope.
        inside: Let the envelope act on the radial functions, not on the weights.
    """

    path_scale: Tensor
    bessel: Tensor
    to_spline: Tensor

    def __init__(
        self,
        cutoff: float,
        path_scale: Tensor,
        channels: int,
        n_bessel: int,
        hidden: tuple[int, ...],
        intervals: int,
        power: int = 6,
        inside: bool = False,
    ) -> None:
        super().__init__()
        self.power, self.inside = power, inside
        self.cutoff, self.n_bessel, self.channels = cutoff, n_bessel, channels
        self.intervals, self.step = intervals, cutoff / intervals
        widths = (n_bessel, *hidden)
        self.layers = nn.ParameterList([nn.Parameter(torch.randn(a, b)) for a, b in zip(widths, hidden, strict=False)])
        self.last = nn.Parameter(torch.randn(widths[-1], len(path_scale), channels))
        self.register_buffer("path_scale", path_scale.double(), persistent=False)
        knots = torch.linspace(0, cutoff, intervals + 1, dtype=torch.float64)
        before, after = self._envelopes(knots)
        basis = bessel_basis(knots, cutoff, n_bessel) * before[:, None]
        self.register_buffer("bessel", basis, persistent=False)  # [knots, n_bessel]
        spline = spline_matrix(intervals) * after
        self.register_buffer("to_spline", spline, persistent=False)  # [intervals+3, knots]

    def _envelopes(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of the radial functions and of the weights at distances r."""
        smooth, one = envelope(r, self.cutoff, self.power), torch.ones_like(r)
        return (smooth, one) if self.inside else (one, smooth)

    @staticmethod
    def _hidden(h: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """The last hidden layer, before its gain."""
        for n, weight in enumerate(layers):
            h = nn.functional.silu(h @ (weight * ((GAIN if n else 1) / math.sqrt(weight.shape[0]))))
        return h

    def _mix(self, features: Tensor, last: Tensor) -> Tensor:
        weight = last * (self.path_scale * (GAIN / math.sqrt(last.shape[0])))[:, None]
        return (features @ weight.flatten(1)).unflatten(1, weight.shape[1:])

    def table(self) -> Tensor:
        """B-spline coefficients of the weights, shape [intervals+3, paths, channels]."""
        return self._mix(self.to_spline @ self._hidden(self.bessel, [*self.layers]), self.last)

    def direct(self, r: Tensor, *parameters: Tensor) -> Tensor:
        """Weights at distances r [edges] without the table: the reference mode. Shape [edges, paths, channels].

        Args:
            r: In angstrom.
            parameters: In place of the module's, in their order.
        """
        last, *layers = parameters or self.parameters()
        before, after = self._envelopes(r)
        hidden = self._hidden(bessel_basis(r, self.cutoff, self.n_bessel) * before[:, None], layers)
        return self._mix(hidden * after[:, None], last)
