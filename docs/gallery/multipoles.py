# group: Physics
r"""Multipoles: from charges to a potential, rank by rank

The moments $Q_l = \sum q\, T_l(r)$ of some charges and the irregular harmonics $I_l(x) = T_l(x)/|x|^{2l+1}$ give the
potential, $\phi(x) = \sum_l Q_l \cdot I_l(x)/\alpha_l$. Moved charges have moments by the binomial theorem,
$T_l(x+a) = \sum_k \binom lk (T_k(x) \otimes T_{l-k}(a))_l$, exactly.

The picture is the error of the potential of a water molecule (charges of TIP3P) as ranks are added: it falls as powers
of the ratio of the molecule's size to the distance.
Source: A. J. Stone, *The Theory of Intermolecular Forces* (2013), ch. 2.
"""

import matplotlib.pyplot as plt
import sympy as sp

from cartalg.physics.multipoles import moments, moved_regular, potential

charges = [sp.Rational(-834, 1000), sp.Rational(417, 1000), sp.Rational(417, 1000)]
positions = [[sp.Rational(v, 1000) for v in p] for p in ([0, 0, 0], [757, 586, 0], [-757, 586, 0])]  # angstrom
sources = moments(charges, positions, 8)

shift = [1, -2, 3]
moved = [[a + b for a, b in zip(p, shift, strict=True)] for p in positions]
assert moved_regular(sources, shift) == moments(charges, moved, 8)  # exact

figure, panel = plt.subplots(figsize=(5, 3.2), layout="constrained")
for distance in (2, 3, 5, 10):
    at = [sp.Rational(distance * v, 7) for v in (2, 3, 6)]
    parts = [potential([q], at) for q in sources]
    exact = sum(
        q / sp.sqrt(sum((a - b) ** 2 for a, b in zip(at, p, strict=True)))
        for q, p in zip(charges, positions, strict=True)
    )
    errors = [abs(sp.N((sum(parts[: l + 1]) - exact) / exact, 30)) for l in range(1, 9)]  # noqa: E741
    assert errors[-1] < 10 * sp.Float(0.96 / distance) ** 8
    panel.semilogy(range(1, 9), [float(e) for e in errors], "o-", label=f"{distance} Å")
panel.set(xlabel="highest rank", ylabel="relative error of the potential")
panel.legend(title="distance", ncols=2)
figure.savefig("multipoles.svg")
