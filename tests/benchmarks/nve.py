"""Drift of the total energy in NVE, in float32 and float64, from a Langevin start; a picture of both.

python tests/benchmarks/nve.py RUN STRUCTURE --output OUT --timestep 0.5 --picoseconds 100 --temperature 300
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from cartalg.model import Potential
from cartalg.simulate.dynamics import simulate
from cartalg.simulate.folder import LOG_FILE
from cartalg.simulate.options import Simulation
from cartalg.train.checkpoint import MODEL_FILE, load_model, save_model
from cartalg.train.records import read_metrics

COLOURS = {"float32": "#1f5fa8", "float64": "#d9731a"}


def in_precision(run, dtype, folder):
    """The model with its weights in another precision, in a folder of its own."""
    model = load_model(run)
    description = model.description()
    description["config"]["dtype"] = dtype
    other = Potential.from_description(description)
    other.load_state_dict(model.state_dict())
    save_model(folder / MODEL_FILE, other)
    return folder


def drift(rows, atoms):
    """(meV/atom/ns by a straight line, its standard error from ten blocks, largest deviation from the line's start)."""
    times = np.array([row["time_fs"] for row in rows]) * 1e-6
    energies = (np.array([row["total_eV"] for row in rows]) - rows[0]["total_eV"]) * 1e3 / atoms
    line = np.polyfit(times, energies, 1)
    rest = energies - np.polyval(line, times)
    blocks = np.array([block.mean() for block in np.array_split(rest, 10)])
    error = blocks.std(ddof=2) / np.sqrt(10) / times.std()
    return line[0], error, abs(energies - energies[: len(energies) // 100 + 1].mean()).max()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("structure", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--timestep", type=float, default=0.5)
    parser.add_argument("--picoseconds", type=float, default=100.0)
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--equilibration", type=float, default=5.0, help="ps of Langevin dynamics before")
    given = parser.parse_args()
    bar = Progress(console=Console(quiet=True))
    step = {"timestep": given.timestep, "threads": 1, "temperature": given.temperature}
    start = Simulation(**step, steps=round(given.equilibration * 1e3 / given.timestep))
    simulate(given.run, given.structure, given.output / "start", start, "auto", bar)
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axis = figure.subplots()
    for dtype, colour in COLOURS.items():
        folder = given.output / dtype
        model = in_precision(given.run, dtype, given.output / f"model-{dtype}")
        options = Simulation(
            **step, ensemble="nve", steps=round(given.picoseconds * 1e3 / given.timestep), frame_interval=1000
        )
        found = simulate(model, given.output / "start" / "final.xyz", folder, options, "auto", bar)
        atoms = int((folder / "final.xyz").read_text().split("\n")[0])
        rows = read_metrics(folder / LOG_FILE)
        slope, error, largest = drift(rows, atoms)
        kelvin = np.mean([row["temperature_K"] for row in rows])
        text = f"{dtype}: {slope:+.3f} ± {error:.3f} meV/atom/ns"
        print(
            f"{text}, largest deviation {largest:.3f} meV/atom, {kelvin:.0f} K, {found.ns_per_day:.2f} ns/day",
            flush=True,
        )
        energies = (np.array([row["total_eV"] for row in rows]) - rows[0]["total_eV"]) * 1e3 / atoms
        axis.plot([row["time_fs"] / 1e3 for row in rows], energies, color=colour, linewidth=0.5, label=text, alpha=0.8)
    axis.set(
        xlabel="time (ps)", ylabel="meV/atom", title=f"{given.run.name}: total energy in NVE, {given.timestep:g} fs"
    )
    axis.legend(frameon=False, fontsize=8)
    axis.grid(alpha=0.3, linewidth=0.5)
    figure.savefig(given.output / "nve.png", dpi=110)


if __name__ == "__main__":
    main()
