r"""Functions of a distance that radial networks read, and the knots on which their results are tabulated.

Bessel functions, Gaussians or Chebyshev polynomials, of the distance or of a transform of it that knows the covalent
radii of the two atoms, times an envelope. All are those of mace-torch: models convert. Source: docs/theory.md, eqs.
44-46, 63-65.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from cartalg.architecture import ModelConfig


def bessel(r: Tensor, frequencies: Tensor, cutoff: float) -> Tensor:
    r"""Radial Bessel functions sqrt(2/c) sin(k r)/r, finite at r = 0.

    Args:
        r: Distances in angstrom, shape [n].
        frequencies: k in 1/angstrom, shape [count]; pi/c, 2 pi/c, .. for functions that are zero at the cutoff.
        cutoff: c in angstrom.
    Returns:
        Shape [n, count]. Source: Gasteiger et al. 2020 (DimeNet), eq. 7.
    """
    return math.sqrt(2 / cutoff) * frequencies * torch.sinc(r[:, None] * frequencies / math.pi)


def gaussian(r: Tensor, centres: Tensor, cutoff: float) -> Tensor:
    """Gaussians at `centres` in angstrom, shape [count >= 2], as wide as equidistant ones are apart: [n, count]."""
    width = cutoff / (len(centres) - 1)
    return torch.exp(-0.5 * ((r[:, None] - centres) / width) ** 2)


def chebyshev(r: Tensor, count: int) -> Tensor:
    """Chebyshev polynomials T_1 .. T_count of r [n]: [n, count]. Between -1 and 1 for transformed distances alone."""
    found = [r, 2 * r * r - 1]
    while len(found) < count:
        found.append(2 * r * found[-1] - found[-2])
    return torch.stack(found[:count], 1)


def agnesi(r: Tensor, radii: Tensor, q: float, p: float, a: float) -> Tensor:
    """The Agnesi transform of distances: 1 at r = 0, towards 0 far beyond the mean radius.

    Args:
        r: Distances in angstrom.
        radii: Sum of the two covalent radii, in angstrom.
        q, p, a: Its parameters, p > q.
    Source: Witt et al. 2023 (doi 10.1063/5.0158783), section on radial transformations.
    """
    x = 2 * r / radii
    return 1 / (1 + a * x**p / (1 + x ** (p - q)))


def soft(r: Tensor, radii: Tensor, alpha: float) -> Tensor:
    """Distances that do not fall below 3/4 of the sum of the covalent radii; beyond 4/3 of it they are as they were."""
    least, most = 0.75 * radii, 4 / 3 * radii
    step = torch.tanh(alpha / (most - least) * (r - (least + most) / 2))
    return least + (r - least) * (1 + step) / 2


def envelope(r: Tensor, cutoff: float, power: int = 6) -> Tensor:
    """Smooth cutoff: 1 at 0; value, slope and curvature are zero at the cutoff and the value stays zero beyond.

    Source: Gasteiger et al. 2020 (DimeNet), eq. 8, with p = `power`.
    """
    p = power
    u = (r / cutoff).clamp(max=1.0)
    return 1 - (p + 1) * (p + 2) / 2 * u**p + p * (p + 2) * u ** (p + 1) - p * (p + 1) / 2 * u ** (p + 2)


def held(r: Tensor, core: float) -> Tensor:
    """Distances r in angstrom as radial functions see them: from `core` on r itself, below 0.8 `core` 0.9 `core`.

    Between the two the slope goes from 0 to 1 as 10 t^3 - 15 t^4 + 6 t^5: three derivatives are continuous. A network
    says anything of distances that it was not trained on; held like this it goes on saying what it says of the shortest
    in the data, and nuclei are kept apart by the pair term.
    """
    if core == 0:
        return r
    width = 0.2 * core
    t = ((r - (core - width)) / width).clamp(0, 1)
    inner = core - width / 2 + width * t**4 * (2.5 - 3 * t + t**2)
    return torch.where(r < core, inner, r)


@cache
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


class RadialFunctions(nn.Module):
    """The functions of an architecture, and the splines that interpolate what is made of them.

    Args:
        config: Kind and number of the functions, transform, envelope, cutoff and intervals.
        core: Below this distance, in angstrom, all stays as it is: `held`.
    """

    def __init__(self, config: ModelConfig, core: float = 0.0) -> None:
        super().__init__()
        self.core = core
        self.cutoff, self.count, self.intervals = config.cutoff, config.n_bessel, config.knots
        self.step = config.cutoff / config.knots
        self.power, self.inside = config.envelope_power, config.envelope == "basis"
        self.points = regular_points(config) if config.radial_points is None else config.radial_points
        self.kind = config.radial_basis
        self.transform: Callable[[Tensor, Tensor], Tensor] | None = None
        if config.distance_transform == "agnesi":
            self.transform = lambda r, radii: agnesi(r, radii, *config.agnesi)
        elif config.distance_transform == "soft":
            self.transform = lambda r, radii: soft(r, radii, config.soft)
        # no buffers: they stay in double precision, for slopes of splines magnify what coefficients are rounded by
        self.on_knots = self._alone(self._knots()) if self.transform is None else None  # [knots, count]
        self.to_spline = spline_matrix(self.intervals) * self._envelopes(self._knots())[1]  # [intervals+3, knots]

    def _knots(self) -> Tensor:
        return held(torch.linspace(0, self.cutoff, self.intervals + 1, dtype=torch.float64), self.core)

    def _envelopes(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of the functions and of what is made of them, at distances r."""
        smooth, one = envelope(r, self.cutoff, self.power), torch.ones_like(r)
        return (smooth, one) if self.inside else (one, smooth)

    def _alone(self, r: Tensor, radii: Tensor | None = None) -> Tensor:
        """The functions, with the envelope if it acts on them."""
        x = r.clamp(max=self.cutoff)  # beyond it the envelope is zero, and some functions large
        if self.transform is not None:
            assert radii is not None
            x = self.transform(x, radii)
        if self.kind == "chebyshev":
            found = chebyshev(x, self.count)
        else:
            found = (bessel if self.kind == "bessel" else gaussian)(x, x.new_tensor(self.points), self.cutoff)
        return found * self._envelopes(r)[0][:, None]

    def tabulated(self, radii: Tensor | None = None) -> Tensor:
        """The functions on the knots of every table, float64 [tables, knots, count].

        Args:
            radii: Sum of the covalent radii of each table's pair of elements, float64 [tables], for a transform.
        """
        if self.on_knots is not None:
            return self.on_knots[None]
        assert radii is not None
        knots = self._knots().to(radii.device)
        r, of_table = knots.repeat(len(radii)), radii.repeat_interleave(len(knots))
        return self._alone(r, of_table).unflatten(0, (len(radii), -1))

    def splines(self, values: Tensor) -> Tensor:
        """Coefficients of what has these values on the knots: [tables, knots, ..] -> [tables x (intervals + 3), ..]."""
        return (self.to_spline.to(values) @ values).flatten(0, 1)

    def forward(self, r: Tensor, radii: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The functions at distances r [edges], and the factor of what is made of them: [edges, count], [edges, 1].

        Args:
            r: In angstrom.
            radii: Sum of the covalent radii of each edge's atoms, [edges], for a transform.
        """
        r = held(r, self.core)
        return self._alone(r, None if radii is None else radii.to(r.dtype)), self._envelopes(r)[1][:, None]


def regular_points(config: ModelConfig) -> Sequence[float]:
    """Frequencies of Bessel functions that are zero at the cutoff, or equidistant centres of Gaussians."""
    count, cutoff = config.n_bessel, config.cutoff
    if config.radial_basis == "bessel":
        return [n * math.pi / cutoff for n in range(1, count + 1)]
    return [n * cutoff / (count - 1) for n in range(count)] if config.radial_basis == "gaussian" else []
