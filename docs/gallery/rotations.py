# group: Algebra
r"""A rotation on packed components

The matrices $D_l(R)$ of one rotation for ranks 1 to 4. Rank l follows from rank l-1 by the coupling with a vector
(eq. 31 of the theory), so that entries are exact for an exact R. Here R has rational entries, from an integer
quaternion, and so has every $D_l$.
"""

import numpy as np
import sympy as sp
from matplotlib import pyplot

from cartalg.symbolic.spherical import wigner_d

R = sp.Matrix([[1, -2, 2], [2, -1, -2], [2, 2, 1]]) / 3
assert (R.T * R).is_Identity
figure, axes = pyplot.subplots(1, 4, figsize=(9, 2.4))
for rank, axis in enumerate(axes, start=1):
    D = sp.Matrix(wigner_d(rank, R))
    assert all(entry.is_rational for entry in D)
    largest = float(max(abs(entry) for entry in D))
    axis.imshow(np.array(D, dtype=float), vmin=-largest, vmax=largest)
    axis.set(title=f"$D_{rank}(R)$", xticks=[], yticks=[])
    axis.grid(False)
figure.savefig("rotations.svg")
