# group: Potential
r"""Radial functions and their envelope

Bessel functions of the distance times an envelope whose value, slope and curvature vanish at the cutoff (eq. 44 of
the theory); energies are then twice continuously differentiable where atoms come and go.
"""

import math

import torch
from matplotlib import pyplot

from cartalg.nn.bases import bessel, envelope

cutoff = 5.0
r = torch.linspace(0.02, cutoff, 400, dtype=torch.float64)
frequencies = torch.arange(1, 6, dtype=torch.float64) * math.pi / cutoff
functions = bessel(r, frequencies, cutoff) * envelope(r, cutoff)[:, None]
figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2))
axes[0].plot(r, functions)
axes[0].set(xlabel="distance (Å)", title="Bessel functions times envelope")
for power in (4, 6, 10):
    axes[1].plot(r, envelope(r, cutoff, power), label=f"power {power}")
axes[1].set(xlabel="distance (Å)", title="envelopes")
axes[1].legend()
assert float(functions[-1].abs().max()) < 1e-9
figure.savefig("envelopes.svg")
