"""Pictures of uncertainty: found errors against predicted ones, and how often errors lie where they should."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cartalg.files import whole
from cartalg.train.plots import BLUE, GREY, ORANGE
from cartalg.uncertainty.assess import Reliability

#: Units that errors are drawn in, and how many of them there are in eV and eV/angstrom.
UNITS = {"energy": ("meV", 1e3), "forces": ("meV/Å", 1e3)}


def calibration(reliability: Mapping[str, Reliability], path: Path) -> None:
    """A row for each quantity: found against predicted errors, with means of like predictions; and the part of all
    errors within a confidence interval against its level.
    """
    figure = Figure(figsize=(8.4, 4.1 * len(reliability)))
    axes = figure.subplots(len(reliability), 2, squeeze=False)
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.13 / len(reliability), top=1 - 0.09 / len(reliability))
    figure.subplots_adjust(wspace=0.27, hspace=0.32)
    for row, (name, one) in zip(axes, reliability.items(), strict=True):
        _errors(row[0], name, one)
        _coverage(row[1], name, one)
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _errors(axis: Axes, name: str, one: Reliability) -> None:
    unit, factor = UNITS[name]
    predicted, found = (values * factor for values in one.bins())
    low, high = predicted.min() / 1.5, predicted.max() * 1.5
    axis.scatter(factor * one.deviations, factor * one.sizes, s=5, alpha=0.3, color=BLUE, linewidths=0, rasterized=True)
    axis.plot([low, high], [low, high], color=GREY, linewidth=1)
    axis.plot(predicted, found, "o-", color=ORANGE, markersize=4, label="means of like predictions")
    axis.set(xscale="log", yscale="log", xlabel=f"predicted error ({unit})", ylabel=f"found error ({unit})")
    axis.set_ylim(min(found.min(), low) / 10, max(found.max(), high) * 4)
    axis.set_title(f"{name.capitalize()}: error / std {one.scale:.2f}, rank correlation {one.rank:.2f}", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    axis.grid(alpha=0.3, linewidth=0.5)


def _coverage(axis: Axes, name: str, one: Reliability) -> None:
    levels = np.linspace(0, 1, 101)[1:-1]
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axis.plot(levels, one.coverage(levels), color=BLUE)
    axis.set(xlabel="confidence level", ylabel="part of errors within", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_title(f"{name.capitalize()}: miscalibration area {one.miscalibration:.3f}", fontsize=10)
    axis.grid(alpha=0.3, linewidth=0.5)
