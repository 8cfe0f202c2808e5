"""Four neighbours at one distance, in a square and in a tetrahedron: distances are the same, invariants are not."""

import numpy as np
import torch
from _frame import BLUE, RED, pyplot, save

from cartalg.ops import couple, harmonics

square = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=float)
tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
ranks = range(1, 4)


def invariants(neighbours):
    """Couplings to rank 0 of the environment with itself, rank by rank."""
    environment = harmonics(torch.tensor(neighbours), 3).sum(0)[None, :, None]
    parts = {rank: environment[:, rank**2 : (rank + 1) ** 2] for rank in ranks}
    return [float(couple(parts[rank], parts[rank], (rank, rank, 0))) for rank in ranks]


figure = pyplot.figure(figsize=(8.4, 2.7))
for n, (name, points, colour) in enumerate((("square", square, BLUE), ("tetrahedron", tetrahedron, RED)), start=1):
    axis = figure.add_subplot(1, 3, n, projection="3d")
    for point in points:
        axis.plot(*np.stack([np.zeros(3), point]).T, color="#94a3b8")
    axis.scatter(*points.T, s=130, color=colour, depthshade=False)
    axis.scatter(0, 0, 0, s=130, color="black", depthshade=False)
    axis.set(xlim=(-0.8, 0.8), ylim=(-0.8, 0.8), zlim=(-0.8, 0.8), title=name)
    axis.set_axis_off()
axis = figure.add_subplot(1, 3, 3)
for shift, points, colour in ((-0.2, square, BLUE), (0.2, tetrahedron, RED)):
    axis.bar(np.array(ranks) + shift, invariants(points), 0.4, color=colour)
axis.set(xlabel="rank l", title="$(A_l \\otimes A_l)_0$", xticks=list(ranks))
save(figure, "body_order.svg")
