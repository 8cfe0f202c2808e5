"""How uncertainty and extrapolation grades compare with errors beyond the training data; what active learning saves.

    python tests/benchmarks/uncertainty.py beyond RUN --scans SCANS.xyz --plot extrapolation.png
    python tests/benchmarks/uncertainty.py loops LOOP .. --plot active_learning.png

`beyond` takes a run that was trained on shipped acetamide frames at 300 K, as data.train_numbers of its configuration
say (run it where these files are). It sets errors of all other shipped frames, of 300 to 1000 K, beside its grades, and
follows it along scans with labels (frames with `scan`, `coordinate` and `REF_energy`, the minimum first). It prints
Markdown. `loops` draws errors of folders of docs/examples/active_learning.py, by the strategy in their names:
information-0, random-0, ..
"""

import argparse
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import ase.io
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import cartalg
from cartalg.data.dataset import Dataset
from cartalg.data.frames import read_frames, to_frame
from cartalg.train.checkpoint import CHECKPOINT_FILE, read_tensors
from cartalg.train.plots import BLUE, GREY, ORANGE
from cartalg.uncertainty.assess import assess
from cartalg.uncertainty.committee import Predictor

SHIPPED = Path(cartalg.__file__).parent / "datasets" / "acetamide"
TEMPERATURES = (300, 500, 700, 1000)
GRADES = (0, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, np.inf)
SHADES = ("#1f5fa8", "#4f9fa8", "#d9b01a", "#c0392b")


def beyond(run: Path, seen: list[int], scans: Path | None, plot: Path) -> None:
    """Errors by temperature and by grade, and along scans: tables and a picture."""
    predictor, frames = Predictor.open(run), read_frames(SHIPPED / "acetamide.xyz.gz")
    model, kelvin = (
        predictor.models[0],
        [a.info["temperature_K"] for a in ase.io.read(SHIPPED / "acetamide.xyz.gz", ":")],
    )
    print(
        "| frames at | grade, median (largest) | force RMSE | error / std | energy RMSE | error / std |\n|" + "---|" * 6
    )
    grades, errors, deviations, hot = [], [], [], []
    for temperature in TEMPERATURES:
        chosen = [n for n, t in enumerate(kelvin) if t == temperature and n not in seen]
        dataset = Dataset.build([frames[n] for n in chosen], model.config.cutoff, model.elements)
        found = assess(predictor, dataset)
        energy, forces = found.reliability["energy"], found.reliability["forces"]
        rmse = [1e3 * np.sqrt((one.errors**2).mean()) for one in (forces, energy)]
        print(
            f"| {temperature} K | {np.median(found.grades):.2f} ({found.grades.max():.1f}) | {rmse[0]:.0f} meV/A | "
            f"{forces.scale:.2f} | {rmse[1]:.1f} meV | {energy.scale:.2f} |"
        )
        graph, _ = dataset.batch(range(len(dataset)))
        grades.append(predictor.predict(graph)[1].grades.numpy())
        errors.append(forces.sizes * 1e3)
        deviations.append(forces.deviations * 1e3)
        hot += [temperature] * len(forces.sizes)
    grade, error, deviation = map(np.concatenate, (grades, errors, deviations))
    print("\n| grade of an atom | atoms | force error, meV/A | predicted |\n|" + "---|" * 4)
    centres, rows = [], []
    for low, high in pairwise(GRADES):
        inside = (grade >= low) & (grade < high)
        if inside.sum() > 5:
            rows.append([np.sqrt((of[inside] ** 2).mean()) for of in (error, deviation)])
            centres.append(np.exp(np.log(grade[inside]).mean()))
            print(f"| {low:g} to {high:g} | {inside.sum()} | {rows[-1][0]:.0f} | {rows[-1][1]:.0f} |")
    figure = Figure(figsize=(12.6, 3.9))
    axes = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.06, right=0.945, bottom=0.14, top=0.91, wspace=0.55)
    for temperature, shade in zip(TEMPERATURES, SHADES, strict=True):
        of = np.array(hot) == temperature
        axes[0].scatter(grade[of], error[of], s=5, alpha=0.35, color=shade, linewidths=0, label=f"{temperature} K")
    axes[0].plot(centres, [r[0] for r in rows], "o-", color="black", markersize=4, label="found")
    axes[0].plot(centres, [r[1] for r in rows], "--", color="black", label="predicted")
    axes[0].axvline(1, color=GREY, linewidth=1)
    axes[0].set(
        xscale="log", yscale="log", xlabel="extrapolation grade of an atom", ylabel="force error (meV/Å)", ylim=(5, 5e3)
    )
    axes[0].set_title("Trained at 300 K", fontsize=10)
    axes[0].legend(frameon=False, fontsize=7, loc="upper left", markerscale=2)
    axes[0].set_xticks([0.3, 1, 3], ["0.3", "1", "3"])
    axes[0].set_xticks([], minor=True)
    if scans is not None:
        frames_of, minimum = defaultdict(list), None
        for atoms in ase.io.read(scans, ":"):
            if atoms.info["scan"] == "minimum":
                minimum = atoms
            else:
                frames_of[atoms.info["scan"]].append(atoms)
        for axis, name, unit in ((axes[1], "bond C=O", "Å"), (axes[2], "torsion C-N", "degrees")):
            _scan(axis, predictor, minimum, frames_of[name], f"{name} ({unit})")
    for axis in axes:
        axis.grid(alpha=0.3, linewidth=0.5)
    figure.savefig(plot, dpi=110)


def _scan(axis: Axes, predictor: Predictor, minimum: ase.Atoms, frames: list[ase.Atoms], name: str) -> None:
    """Errors of energies above the minimum, predicted ones, and grades, along one coordinate."""
    frames = sorted(frames, key=lambda atoms: atoms.info["coordinate"])
    model = predictor.models[0]
    dataset = Dataset.build([to_frame(a) for a in (minimum, *frames)], model.config.cutoff, model.elements)
    graph, _ = dataset.batch(range(len(dataset)))
    prediction, spread = predictor.predict(graph, forces=False)
    known = np.array([a.info["REF_energy"] for a in (minimum, *frames)])
    error = 1e3 * np.abs(((prediction.energy.numpy() - prediction.energy.numpy()[0]) - (known - known[0]))[1:])
    grades = np.array([float(g.max()) for g in spread.grades.split(graph.atoms_per_frame.tolist())])[1:]
    at = [a.info["coordinate"] for a in frames]
    axis.plot(at, error, "o-", color=ORANGE, markersize=4, label="found error")
    axis.plot(at, 1e3 * spread.energy.numpy()[1:], "--", color=BLUE, label="predicted error")
    axis.set(yscale="log", xlabel=name, ylabel="energy error (meV)")
    other = axis.twinx()
    other.plot(at, grades, color=GREY, label="grade")
    other.axhline(1, color=GREY, linewidth=0.7, linestyle=":")
    other.set(yscale="log", ylabel="largest grade", ylim=(0.1, 1e3))
    lines = [*axis.get_lines(), other.get_lines()[0]]
    axis.legend(lines, [line.get_label() for line in lines], frameon=False, fontsize=7, loc="upper center")
    axis.set_ylim(1e-2, 1e5)


def loops(folders: list[Path], plot: Path) -> None:
    """Force errors at 1000 and 300 K against labelled frames: a line for each loop, and means."""
    found = defaultdict(list)
    for folder in folders:
        found[folder.name.rsplit("-", 1)[0]].append(json.loads((folder / "errors.json").read_text()))
    figure = Figure(figsize=(8.6, 3.7))
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.14, top=0.91, wspace=0.35)
    for axis, kelvin in zip(axes, (1000, 300), strict=True):
        for strategy, shade in (("information", BLUE), ("random", ORANGE), ("uncertainty", GREY)):
            runs = found.get(strategy)
            if not runs:
                continue
            counts = [row["labelled"] for row in min(runs, key=len)]
            values = np.array([[row[f"forces_{kelvin}K"] for row in run[: len(counts)]] for run in runs])
            axis.plot(counts, values.T, color=shade, alpha=0.3, linewidth=1)
            axis.plot(counts, values.mean(0), "o-", color=shade, label=f"{strategy}, {len(runs)} seeds")
            print(
                f"{kelvin} K, {strategy}:",
                dict(zip(counts, values.mean(0).round(1).tolist(), strict=True)),
                values.std(0).round(1),
            )
        axis.set(xlabel="labelled frames", ylabel="force RMSE (meV/Å)", yscale="log")
        axis.set_title(f"Test frames at {kelvin} K", fontsize=10)
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.3, which="both", linewidth=0.5)
    figure.savefig(plot, dpi=110)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("beyond")
    one.add_argument("run", type=Path)
    one.add_argument("--scans", type=Path)
    two = commands.add_parser("loops")
    two.add_argument("folders", type=Path, nargs="+")
    for command in (one, two):
        command.add_argument("--plot", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "loops":
        return loops(given.folders, given.plot)
    data = read_tensors(given.run / CHECKPOINT_FILE)[1]["config"]["data"]
    seen = [int(n) for key in ("train_numbers", "valid_numbers") for n in Path(data[key]).read_text().split()]
    return beyond(given.run, seen, given.scans, given.plot)


if __name__ == "__main__":
    main()
