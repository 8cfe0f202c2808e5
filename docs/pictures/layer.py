"""What a layer does, and what comes of two of them."""

from _frame import BLUE, GREEN, RED, bare, pyplot, save
from matplotlib.patches import FancyBboxPatch

boxes = [
    ("positions\nelements", "#64748b"),
    ("features H\n(linear)", "#64748b"),
    ("convolution\n$H_j \\otimes T(\\hat v_{ij})$", BLUE),
    ("product basis\n$A \\otimes A \\otimes A$", BLUE),
    ("features H'\n(linear)", "#64748b"),
    ("energy\nof each atom", GREEN),
]
figure, axis = pyplot.subplots(figsize=(9.4, 2.0))
for n, (text, colour) in enumerate(boxes):
    axis.add_patch(FancyBboxPatch((n * 1.6, 0), 1.2, 0.7, boxstyle="round,pad=0.05", color=colour))
    axis.text(n * 1.6 + 0.6, 0.35, text, color="white", ha="center", va="center", fontsize=9)
    if n:
        axis.annotate(
            "", (n * 1.6 - 0.06, 0.35), (n * 1.6 - 0.34, 0.35), arrowprops={"arrowstyle": "->", "linewidth": 1.4}
        )
axis.annotate(
    "", (2.2, -0.08), (7.0, -0.08), arrowprops={"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.2", "color": RED}
)
axis.text(4.6, -0.72, "the next layer", ha="center", color=RED, fontsize=9)
axis.text(4.6, 0.95, "blue: generated kernels, with their derivatives", ha="center", color=BLUE, fontsize=9)
axis.set(xlim=(-0.2, 9.4), ylim=(-0.9, 1.15))
bare(axis)
save(figure, "layer.svg")
