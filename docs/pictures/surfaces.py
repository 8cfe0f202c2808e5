"""Basis tensors of ranks 1 to 3 as functions of direction: blue positive, red negative."""

import numpy as np
import sympy as sp
from _frame import bare, pyplot, save

from cartalg.symbolic import basis_polynomials

theta, phi = np.mgrid[0 : np.pi : 49j, 0 : 2 * np.pi : 97j]
n = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
figure = pyplot.figure(figsize=(8.4, 4.2))
for rank in (1, 2, 3):
    for m, polynomial in enumerate(basis_polynomials(rank), start=-rank):
        value = sp.lambdify(sp.symbols("x y z"), polynomial.as_expr(), "numpy")(*n)
        radius = abs(value) / abs(value).max()
        axis = figure.add_subplot(3, 7, (rank - 1) * 7 + m + 4, projection="3d")
        colours = np.where(value[..., None] > 0, [0.15, 0.39, 0.66], [0.76, 0.25, 0.05])
        axis.plot_surface(*(radius * n), facecolors=colours, rstride=1, cstride=1, linewidth=0, antialiased=False)
        axis.set(xlim=(-0.7, 0.7), ylim=(-0.7, 0.7), zlim=(-0.7, 0.7))
        axis.set_box_aspect((1, 1, 1))
        axis.set_title(f"{rank}, {m}", fontsize=8, pad=-4)
        bare(axis)
save(figure, "surfaces.png")
