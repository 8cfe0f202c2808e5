"""Pictures of a run: learning curve, parity plot, energy conservation, simulation, vibrations, pairs of atoms."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cartalg.files import whole
from cartalg.quantities import Quantity, Report
from cartalg.train.metrics import Comparison, Values

BLUE, ORANGE, GREY = "#1f5fa8", "#d9731a", "#777777"


def _save(figure: Figure, path: Path) -> None:
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _panels(count: int, width: float, height: float) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels beside one another, of so many inches, with room for labels around each.

    Matplotlib's layout engines draw everything several times to find that room.
    """
    left, right, bottom, top = 0.9, 0.1, 0.55, 0.4
    figure = Figure(figsize=(count * width, height))
    edges = {"left": left / count / width, "right": 1 - right / count / width}
    edges |= {"bottom": bottom / height, "top": 1 - top / height, "wspace": (left + right) / (width - left - right)}
    return figure, figure.subplots(1, count, squeeze=False, gridspec_kw=edges)[0]


def _pretty(unit: str) -> str:
    return unit.replace("A^3", "Å$^3$").replace("/A", "/Å").replace("%", "% of the spread")


def learning_curve(rows: Sequence[dict[str, float]], quantities: Iterable[Quantity], path: Path) -> None:
    """Validation errors and losses by epoch, logarithmic, from the rows of metrics.csv."""
    epochs = [r["epoch"] for r in rows]
    shown = [(q.name, *q.compared.headline) for q in quantities if f"valid_{q.compared.headline[0]}" in rows[0]]
    figure, axes = _panels(1 + len(shown), 4, 3.4)
    axes[0].plot(epochs, [r["train_loss"] for r in rows], color=GREY, label="training")
    axes[0].plot(epochs, [r["valid_loss"] for r in rows], color=BLUE, label="validation (averaged weights)")
    axes[0].set_title("Loss", fontsize=10)
    axes[0].set(xlabel="epoch", yscale="log")
    axes[0].legend(frameon=False)
    for axis, (name, key, unit) in zip(axes[1:], shown, strict=True):
        values = [r[f"valid_{key}"] for r in rows]
        axis.plot(epochs, values, color=BLUE)
        axis.set_title(f"Validation {name} RMSE: {min(values):.3g} {_pretty(unit)}", fontsize=10)
        axis.set(xlabel="epoch", ylabel=_pretty(unit), yscale="log")
    for axis in axes:
        axis.grid(alpha=0.3, which="both", linewidth=0.5)
    _save(figure, path)


def curves_plot(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
    keys: Sequence[str],
    against: str,
    published: Mapping[str, float],
    path: Path,
) -> None:
    """Validation errors of several runs, logarithmic along both axes.

    Args:
        runs: Rows by the run's name, each with its place on the axis as ``at``.
        keys: Errors to draw, a panel each.
        against: What the axis counts.
        published: Errors to compare with, by key.
    """
    figure, axes = _panels(len(keys), 4.4, 3.6)
    for axis, key in zip(axes, keys, strict=True):
        for place, (name, rows) in enumerate(runs.items()):
            colour = colormaps["viridis"](place / max(len(runs), 2))
            axis.plot([r["at"] for r in rows], [r[key] for r in rows], color=colour, label=name, linewidth=1)
        if key in published:
            axis.axhline(published[key], color=ORANGE, linestyle="--", linewidth=1, label="published")
        title = key.removeprefix("valid_").replace("_per_A", "/Å").replace("_per_atom", "/atom").replace("_", " ")
        axis.set(xscale="log", yscale="log", xlabel=against, title="")
        axis.set_title(f"Validation {title}", fontsize=9)
        axis.grid(alpha=0.3, which="both", linewidth=0.5)
        axis.legend(frameon=False, fontsize=7)
    _save(figure, path)


def parity(comparison: Comparison, path: Path) -> None:
    """Prediction against reference for every quantity; values per atom relative to their mean, and of each with a unit
    the distribution of errors.
    """
    shown = comparison.compared
    figure, axes = _panels(len(shown), 4.2, 4)
    for axis, (report, values) in zip(axes, shown.items(), strict=True):
        _parity_panel(axis, report, values)
    _save(figure, path)


def _parity_panel(axis: Axes, report: Report, values: Values) -> None:
    reference, predicted = (v.ravel() for v in values.pair())
    key, unit = report.headline
    if report.per_atom and report.unit:
        centre, scale, name = reference.mean(), report.unit.factor, report.unit.report
    else:
        centre, scale, name = 0.0, 1.0, report.unit.name if report.unit else ""
    x, y = (reference - centre) * scale, (predicted - centre) * scale
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    axis.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=0)
    axis.scatter(x, y, s=6, alpha=0.4, color=BLUE, linewidths=0, rasterized=True)
    axis.set(
        title=f"{report.title.capitalize()}: RMSE {values.errors(report)[key]:.3g} {_pretty(unit)}",
        xlabel=f"reference ({_pretty(name)})" if name else "reference",
        ylabel="prediction",
        aspect="equal",
    )
    axis.grid(alpha=0.3, linewidth=0.5)
    if report.unit:
        inset = axis.inset_axes((0.66, 0.08, 0.3, 0.24))
        inset.hist((predicted - reference) * report.unit.factor, bins=41, color=ORANGE)
        inset.set_yticks([])
        inset.tick_params(labelsize=7)
        inset.set_title(f"error ({_pretty(unit)})", fontsize=7)


def energy_conservation(
    times: Sequence[float], total: Sequence[float], kinetic: Sequence[float], atoms: int, path: Path
) -> None:
    """Total energy of NVE dynamics in meV/atom relative to the start, beside the kinetic energy it exchanges.

    Args:
        times: fs. total, kinetic: eV. atoms: Number of atoms.
    """
    drift = (np.asarray(total) - total[0]) * 1e3 / atoms
    moving = (np.asarray(kinetic) - np.mean(kinetic)) * 1e3 / atoms
    figure, axes = _panels(2, 4.5, 3.4)
    axes[0].plot(times, moving, color=GREY, linewidth=0.8, label="kinetic energy, less its mean")
    axes[0].plot(times, drift, color=BLUE, label="total energy, less its start")
    axes[0].set(xlabel="time (fs)", ylabel="meV/atom", title="NVE dynamics")
    axes[0].legend(frameon=False)
    axes[1].plot(times, drift, color=BLUE)
    axes[1].set(
        xlabel="time (fs)", ylabel="meV/atom", title=f"Total energy: largest deviation {abs(drift).max():.2g} meV/atom"
    )
    for axis in axes:
        axis.grid(alpha=0.3, linewidth=0.5)
    _save(figure, path)


def simulation_plot(rows: Sequence[dict[str, float]], atoms: int, path: Path) -> None:
    """Energies in meV/atom relative to the start, temperature and, if there is one, pressure, of a simulation's log.

    Args:
        rows: Lines of the log: ``time_fs``, ``potential_eV``, ``total_eV``, ``temperature_K``; perhaps
            ``conserved_eV``, ``pressure_GPa``.
        atoms: Number of atoms.
    """
    shown = ["temperature_K", *(key for key in ("pressure_GPa",) if key in rows[0])]
    figure, axes = _panels(1 + len(shown), 4.5, 3.4)
    times = np.array([row["time_fs"] for row in rows]) / 1e3
    names = {"potential_eV": (GREY, "potential"), "total_eV": (BLUE, "total"), "conserved_eV": (ORANGE, "conserved")}
    if all(row.get("conserved_eV") == row["total_eV"] for row in rows):
        del names["conserved_eV"]  # of NVE
    for key, (colour, label) in names.items():
        if key in rows[0]:
            values = np.array([row[key] for row in rows])
            axes[0].plot(times, (values - values[0]) * 1e3 / atoms, color=colour, label=label, linewidth=0.8)
    axes[0].set(xlabel="time (ps)", ylabel="meV/atom", title="Energy, less its start")
    axes[0].legend(fontsize=8)
    for axis, key in zip(axes[1:], shown, strict=True):
        values, (name, unit) = np.array([row[key] for row in rows]), key.split("_")
        axis.plot(times, values, color=BLUE, linewidth=0.8)
        axis.axhline(values.mean(), color=GREY, linewidth=0.8)
        axis.set(xlabel="time (ps)", ylabel=unit, title=f"{name.capitalize()}: {values.mean():.4g} {unit} on average")
    for axis in axes:
        axis.grid(alpha=0.3, linewidth=0.5)
    _save(figure, path)


def phonon_plot(
    distances: Sequence[np.ndarray],
    frequencies: Sequence[np.ndarray],
    ticks: Sequence[tuple[float, str]],
    density: tuple[np.ndarray, np.ndarray],
    path: Path,
) -> None:
    """Phonon bands along a path, and their density beside them.

    Args:
        distances: Along each piece of the path, [points].
        frequencies: In THz, [points, bands]; imaginary ones negative.
        ticks: Where special points are, and their names.
        density: Frequencies in THz, and states per THz.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    bands, states = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 1]})
    for along, values in zip(distances, frequencies, strict=True):
        bands.plot(along, values, color=BLUE, linewidth=1)
    bands.set_xticks([at for at, _ in ticks], [name for _, name in ticks])
    bands.set(ylabel="frequency (THz)", xlim=(0, max(at for at, _ in ticks)), title="Phonons")
    bands.axhline(0, color=GREY, linewidth=0.8)
    states.plot(density[1], density[0], color=BLUE, linewidth=1)
    states.fill_betweenx(density[0], density[1], color=BLUE, alpha=0.2)
    states.set(xlabel="states per THz", xlim=(0, None), title="Density")
    for axis in (bands, states):
        axis.grid(alpha=0.3, linewidth=0.5)
    _save(figure, path)


def spectrum_plot(waves: np.ndarray, path: Path) -> None:
    """Vibrations in 1/cm as lines, and smeared to 10 1/cm; imaginary ones are negative."""
    figure, (axis,) = _panels(1, 6, 3.4)
    low, high = min(0.0, *waves, 0.0), max(0.0, *waves, 0.0)
    grid = np.linspace(low - 100, high + 100, 2000)
    smeared = np.exp(-(((grid[:, None] - waves) / 10) ** 2)).sum(1)
    axis.plot(grid, smeared, color=BLUE, linewidth=1)
    axis.vlines(waves, 0, -0.15, color=[ORANGE if wave < 0 else GREY for wave in waves], linewidth=1)
    axis.set(xlabel="wave number (1/cm)", ylabel="modes", title="Vibrations")
    axis.grid(alpha=0.3, linewidth=0.5)
    _save(figure, path)


def pair_curves(
    names: Sequence[str],
    distances: np.ndarray[Any, Any],
    energies: Sequence[np.ndarray[Any, Any]],
    shortest: Sequence[float],
    path: Path,
) -> None:
    """Energies of two atoms alone, with a mark at the shortest distance of each pair in the data.

    Args:
        names: Of the pairs.
        distances: angstrom, [n]. energies: eV, [n] each. shortest: angstrom.
    """
    figure, (axis,) = _panels(1, 6, 3.8)
    for place, (name, curve, mark) in enumerate(zip(names, energies, shortest, strict=True)):
        colour = colormaps["viridis"](place / max(len(names) - 1, 1))
        axis.plot(distances, curve, color=colour, linewidth=1.2, label=name)
        axis.plot([mark], [np.interp(mark, distances, curve)], "o", color=colour, markersize=4)
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axis.set(xlabel="distance (Å)", ylabel="energy (eV)", title="Two atoms alone (dots: shortest distance in the data)")
    axis.set_yscale("symlog", linthresh=1.0)
    axis.set_ylim(2 * min(-1.0, *(float(np.nanmin(curve)) for curve in energies)))
    axis.grid(alpha=0.3, linewidth=0.5)
    axis.legend(frameon=False, fontsize=7, ncols=1 + len(names) // 9)
    _save(figure, path)
