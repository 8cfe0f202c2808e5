"""Drift of the total energy in NVE, in float32 and float64; a picture of both.

A Langevin run comes before; velocities at its end are scaled so that the total energy is the mean of its second half.

python tests/benchmarks/nve.py RUN STRUCTURE --output OUT --timestep 0.5 --picoseconds 100 --temperature 300
"""

import argparse
from pathlib import Path

import ase.io
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


def typical(folder):
    """The last structure of a simulation, with velocities that give it the mean total energy of the second half."""
    rows, atoms = read_metrics(folder / LOG_FILE), ase.io.read(folder / "final.xyz")
    mean = np.mean([row["total_eV"] for row in rows[len(rows) // 2 :]])
    kinetic = mean - atoms.get_potential_energy()
    if kinetic <= 0:
        raise SystemExit("the last structure has more than the mean energy: give a longer --equilibration")
    momenta = atoms.get_momenta() * np.sqrt(kinetic / atoms.get_kinetic_energy())
    atoms.calc = None
    atoms.set_momenta(momenta)
    ase.io.write(folder / "typical.xyz", atoms)
    return folder / "typical.xyz"


def picture(found, timestep, path):
    """Total energies of runs, by precision, (rows of the log, atoms): raw, and means over 1 ps."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axis = figure.subplots()
    for dtype, (rows, atoms) in found.items():
        slope, error, largest = drift(rows, atoms)
        text = f"{dtype}: {slope:+.3f} ± {error:.3f} meV/atom/ns"
        kelvin = np.mean([row["temperature_K"] for row in rows])
        length = rows[-1]["time_fs"] / 1e3
        print(f"{text}, {length:.0f} ps, largest deviation {largest:.3f} meV/atom, {kelvin:.0f} K", flush=True)
        energies = (np.array([row["total_eV"] for row in rows]) - rows[0]["total_eV"]) * 1e3 / atoms
        times = np.array([row["time_fs"] / 1e3 for row in rows])
        axis.plot(times, energies, color=COLOURS[dtype], linewidth=0.3, alpha=0.25)
        means = [[part.mean() for part in np.array_split(of, max(1, round(length)))] for of in (times, energies)]
        axis.plot(*means, color=COLOURS[dtype], linewidth=1.2, label=text)
    axis.set(
        xlabel="time (ps)", ylabel="meV/atom", title=f"Total energy in NVE, {timestep:g} fs, and its means over 1 ps"
    )
    axis.legend(frameon=False, fontsize=8)
    axis.grid(alpha=0.3, linewidth=0.5)
    figure.savefig(path, dpi=110)


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
    structure = typical(given.output / "start")
    found = {}
    for dtype in COLOURS:
        model = in_precision(given.run, dtype, given.output / f"model-{dtype}")
        steps = round(given.picoseconds * 1e3 / given.timestep)
        options = Simulation(**step, ensemble="nve", steps=steps, frame_interval=1000)
        simulate(model, structure, given.output / dtype, options, "auto", bar)
        atoms = len(ase.io.read(given.output / dtype / "final.xyz"))
        found[dtype] = read_metrics(given.output / dtype / LOG_FILE), atoms
    picture(found, given.timestep, given.output / "nve.png")


if __name__ == "__main__":
    main()
