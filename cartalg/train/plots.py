"""Pictures of a run: learning curve, parity plot, energy conservation."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from cartalg.files import whole
from cartalg.train.metrics import UNITS, Comparison

BLUE, ORANGE, GREY = "#1f5fa8", "#d9731a", "#777777"
LABELS = {"energy_per_atom": "energy", "forces": "force component", "stress": "stress component"}


def _save(figure: Figure, path: Path) -> None:
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def learning_curve(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Validation errors and losses by epoch, logarithmic, from the rows of metrics.csv."""
    epochs = [r["epoch"] for r in rows]
    errors = [
        (key, name, unit)
        for key, name, unit in (
            ("valid_forces_rmse_meV_per_A", "force RMSE", "meV/Å"),
            ("valid_energy_per_atom_rmse_meV_per_atom", "energy RMSE", "meV/atom"),
            ("valid_stress_rmse_meV_per_A3", "stress RMSE", "meV/Å$^3$"),
        )
        if key in rows[0]
    ]
    for key in rows[0]:
        if key.endswith("_relative_rmse_percent"):
            name = key.removeprefix("valid_").removesuffix("_relative_rmse_percent")
            errors.append((key, f"{name} RMSE", "% of the spread"))
    figure, axes = plt.subplots(1, 1 + len(errors), figsize=(4 * (1 + len(errors)), 3.4), layout="constrained")
    axes = np.atleast_1d(axes)
    axes[0].plot(epochs, [r["train_loss"] for r in rows], color=GREY, label="training")
    axes[0].plot(epochs, [r["valid_loss"] for r in rows], color=BLUE, label="validation (averaged weights)")
    axes[0].set_title("Loss", fontsize=10)
    axes[0].set(xlabel="epoch", yscale="log")
    axes[0].legend(frameon=False)
    for axis, (key, name, unit) in zip(axes[1:], errors, strict=True):
        values = [r[key] for r in rows]
        axis.plot(epochs, values, color=BLUE)
        axis.set_title(f"Validation {name}: {min(values):.3g} {unit}", fontsize=10)
        axis.set(xlabel="epoch", ylabel=unit, yscale="log")
    for axis in axes:
        axis.grid(alpha=0.3, which="both", linewidth=0.5)
    _save(figure, path)


def parity(comparison: Comparison, path: Path) -> None:
    """Prediction against reference for every quantity; energies relative to their mean, with the error distribution."""
    quantities = [q for q in LABELS if q in comparison.reference]
    count = len(quantities) + len(comparison.tensors)
    figure, axes = plt.subplots(1, count, figsize=(4.2 * count, 4), layout="constrained")
    for axis, (name, values) in zip(np.atleast_1d(axes)[len(quantities) :], comparison.tensors.items(), strict=True):
        x, y = (v.ravel() for v in values.pair())
        axis.plot([x.min(), x.max()], [x.min(), x.max()], color=GREY, linewidth=1, zorder=0)
        axis.scatter(x, y, s=6, alpha=0.4, color=BLUE, linewidths=0, rasterized=True)
        relative = values.errors()["relative_rmse_percent"]
        axis.set(title=f"{name}: RMSE {relative:.3g} % of the spread", xlabel="reference", ylabel="prediction")
        axis.set_aspect("equal")
        axis.grid(alpha=0.3, linewidth=0.5)
    for axis, quantity in zip(np.atleast_1d(axes)[: len(quantities)], quantities, strict=True):
        reference, predicted = comparison.pair(quantity)
        unit, factor = UNITS[quantity]
        error = (predicted - reference) * factor
        centre = reference.mean() if quantity == "energy_per_atom" else 0.0
        scale, shown = (1e3, unit) if quantity == "energy_per_atom" else (1.0, unit.replace("meV", "eV"))
        x, y = (reference - centre) * scale, (predicted - centre) * scale
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        axis.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=0)
        axis.scatter(x, y, s=6, alpha=0.4, color=BLUE, linewidths=0, rasterized=True)
        pretty = unit.replace("A^3", "Å$^3$").replace("/A", "/Å")
        axis.set(
            title=f"{LABELS[quantity].capitalize()}: RMSE {np.sqrt((error**2).mean()):.3g} {pretty}",
            xlabel=f"reference ({shown.replace('A^3', 'Å$^3$').replace('/A', '/Å')})",
            ylabel="prediction",
            aspect="equal",
        )
        inset = axis.inset_axes([0.66, 0.08, 0.3, 0.24])
        inset.hist(error, bins=41, color=ORANGE)
        inset.set_yticks([])
        inset.tick_params(labelsize=7)
        inset.set_title(f"error ({pretty})", fontsize=7)
        axis.grid(alpha=0.3, linewidth=0.5)
    _save(figure, path)


def energy_conservation(
    times: Sequence[float], total: Sequence[float], kinetic: Sequence[float], atoms: int, path: Path
) -> None:
    """Total energy of NVE dynamics in meV/atom relative to the start, beside the kinetic energy it exchanges.

    Args:
        times: fs. total, kinetic: eV. atoms: Number of atoms.
    """
    drift = (np.asarray(total) - total[0]) * 1e3 / atoms
    moving = (np.asarray(kinetic) - np.mean(kinetic)) * 1e3 / atoms
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
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
