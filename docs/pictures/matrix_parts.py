"""The three parts of a matrix, and the matrix of a rotation on its nine components before and after."""

import numpy as np
from _frame import BLUE, GREEN, RED, pyplot, save
from matplotlib.patches import Rectangle

from cartalg.symbolic.reducible import decompose

angle, tilt = 0.7, 0.4
turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
turn = turn @ np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
full = np.kron(turn, turn)  # on the nine components of a matrix
parts = decompose("ij").parts
basis = np.hstack([np.array(part.unpacking(), dtype=float) for part in parts])
blocks = np.linalg.inv(basis) @ full @ basis
figure, axes = pyplot.subplots(1, 2, figsize=(6.6, 3.3))
for axis, matrix, title in zip(
    axes, (full, blocks), ("nine components $M_{ij}$", "the three parts, packed"), strict=True
):
    axis.imshow(np.where(abs(matrix) < 1e-12, 0, matrix), vmin=-1, vmax=1)
    axis.set_title(f"a rotation of {title}", fontsize=10)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
start = 0
for part, colour in zip(parts, (BLUE, GREEN, RED), strict=True):
    size = 2 * part.rank + 1
    axes[1].add_patch(Rectangle((start - 0.5, start - 0.5), size, size, fill=False, edgecolor=colour, linewidth=2.5))
    start += size
save(figure, "matrix_parts.svg")
