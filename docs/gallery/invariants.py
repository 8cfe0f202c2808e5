# group: Physics
r"""Invariants of a harmonic tensor, and how one knows that none is missing

Every invariant of a traceless symmetric tensor of rank 4, the anisotropic part of an elastic tensor, is a polynomial in
nine of them, of degrees 2 to 10. How many independent invariants there are of a degree is known beforehand, by Molien's
series; products of the generators found so far span some, and couplings give the others.

The picture shows for each degree the number of invariants of ranks 3 and 4, and how many of them are no products of
others. Source: J. P. Boehler, A. A. Kirillov, E. T. Onat, *J. Elasticity* **34**, 97 (1994); G. F. Smith, G. Bao, *Int.
J. Eng. Sci.* **35**, 1457 (1997).
"""

import matplotlib.pyplot as plt

from cartalg.physics.integrity import integrity_basis
from cartalg.physics.molien import molien_series

DEGREE = 11
figure, panels = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
for panel, irrep, known in zip(panels, ("3o", "4e"), ([2, 4, 6, 10], list(range(2, 11))), strict=True):
    series, basis = molien_series(irrep, DEGREE), integrity_basis(irrep, DEGREE)
    degrees = [g.degree for g in basis]
    assert degrees == known
    print(irrep, series, *map(str, basis[:4]), "..")
    panel.bar(range(DEGREE + 1), series, color="0.8", label="invariants")
    panel.bar(range(DEGREE + 1), [degrees.count(d) for d in range(DEGREE + 1)], label="of them generators")
    panel.set(title=f"irrep {irrep}", xlabel="degree", xticks=range(DEGREE + 1))
panels[0].set_ylabel("number")
panels[0].legend()
figure.savefig("invariants.svg")
