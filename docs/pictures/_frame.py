"""Where pictures go, and how they look."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).parent
pyplot.style.use(HERE.parent / "_site" / "gallery.mplstyle")
BLUE, RED, GREEN, GREY = "#2563a8", "#c2410c", "#15803d", "#64748b"


def bare(axis):
    """No axes, no grid."""
    axis.set_axis_off()
    axis.grid(False)


def save(figure, name):
    """Write docs/images/NAME; the same bytes each time."""
    metadata = {"Date": None} if name.endswith(".svg") else {"Software": None}
    figure.savefig(HERE.parent / "images" / name, metadata=metadata)
