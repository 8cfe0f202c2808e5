"""Molecular dynamics far beyond the temperatures of the training data: does the potential let the atoms collapse?

    python tests/benchmarks/collapse.py RUN STRUCTURE --output OUT --picoseconds 100 --timestep 0.5

Runs what `cartalg md` runs, Langevin dynamics at 300, 1000 and 3000 K without the guard, which would stop at the first
step outside the training data, and scans the pairs of the model. A simulation has collapsed where

* energy, forces or velocities are no numbers (it then ends early),
* the energy per atom lies more than 0.04 eV below the lowest in the training data: no data know so deep a well, or
* two atoms are closer than 0.7 of the shortest distance of their elements in the training data (far from a bond, atoms
  that are 10 times hotter than the data come to 0.75 of it without harm).

Prints a line of the table of docs/results.md for each temperature; goes on where it was stopped.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from rich.console import Console
from rich.progress import Progress

from cartalg.data.coverage import COVERAGE_FILE, Coverage, read_coverage
from cartalg.data.frames import Frame
from cartalg.data.graphs import build_graph
from cartalg.simulate.dynamics import LeftCoverage, simulate
from cartalg.simulate.folder import LOG_FILE
from cartalg.simulate.guard import ENERGY_SLACK
from cartalg.simulate.options import Simulation
from cartalg.train.checkpoint import load_model
from cartalg.train.pairs import scan_pairs
from cartalg.train.records import read_metrics

#: Of the shortest distance of a pair in the training data: closer atoms have collapsed.
CLOSE = 0.7
HEAD = "| model | K | ps done | lowest energy beside the data's, eV/atom | closest pair beside the data's | collapse |"


@dataclass
class Verdict:
    """How a simulation went.

    Attributes:
        picoseconds: Done.
        kelvin: Mean of the second half.
        fall: Lowest potential energy less the lowest of the training data, eV/atom.
        closest: Smallest distance of two atoms over the shortest of their elements in the training data.
        pair: Whose that is.
        why: Of a collapse; empty if there is none.
    """

    picoseconds: float
    kelvin: float
    fall: float
    closest: float
    pair: str
    why: str = ""


def closest_pair(frames, distances, reach=3.0):
    """(smallest distance over the shortest in the data, the pair) of frames; pairs that the data lack are left out."""
    elements = sorted({element for atoms in frames for element in atoms.get_chemical_symbols()})
    graphs = [build_graph(atoms, reach, elements) for atoms in frames]
    found = Coverage.of([Frame(atoms) for atoms in frames], graphs, elements).distances
    ratios = {pair: distance / distances[pair] for pair, distance in found.items() if pair in distances}
    return min((ratio, pair) for pair, ratio in ratios.items()) if ratios else (np.inf, "none")


def judge(folder: Path, coverage: Coverage, stopped: str = "") -> Verdict:
    """What the log and the trajectory of a simulation say."""
    rows, frames = read_metrics(folder / LOG_FILE), ase.io.read(folder / "trajectory.xyz", ":")
    energies = np.array([row["potential_eV"] for row in rows])
    above = [coverage.above(frames[0], energy) for energy in energies]
    fall = min(above) - coverage.energy[0]
    closest, pair = closest_pair(frames, coverage.distances)
    why = [stopped] if stopped else []
    why += [f"the energy falls by {-fall:.2g} eV/atom below the data's"] if fall < -ENERGY_SLACK else []
    why += [f"{pair} at {closest:.2f} of its shortest distance"] if closest < CLOSE else []
    kelvin = np.mean([row["temperature_K"] for row in rows[len(rows) // 2 :]])
    return Verdict(rows[-1]["time_fs"] / 1e3, float(kelvin), float(fall), closest, pair, "; ".join(why))


def run(model: Path, structure: Path, output: Path, temperature: float, picoseconds: float, timestep: float) -> Verdict:
    """Simulate at one temperature, or go on, and judge."""
    steps = round(picoseconds * 1e3 / timestep)
    options = Simulation(
        temperature=temperature, timestep=timestep, steps=steps, guard=False, frame_interval=50, threads=1
    )
    stopped = ""
    try:
        simulate(model, structure, output, options, "auto", Progress(console=Console(quiet=True)))
    except LeftCoverage as left:
        stopped = str(left).split(": ", 1)[1].split(". The trajectory")[0]
    return judge(output, read_coverage(model / COVERAGE_FILE), stopped)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("structure", type=Path, help="its first frame is where it starts")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", help="of the model in the table; by default the run's folder")
    parser.add_argument("--picoseconds", type=float, default=100.0)
    parser.add_argument("--timestep", type=float, default=0.5)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[300.0, 1000.0, 3000.0])
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    start = given.output / "start.xyz"
    atoms = ase.io.read(given.structure, 0)
    atoms.calc = None
    ase.io.write(start, atoms)
    print(HEAD + "\n|---|---|---|---|---|---|")
    for temperature in given.temperatures:
        name = given.name or given.run.name
        found = run(
            given.run, start, given.output / f"{temperature:g}K", temperature, given.picoseconds, given.timestep
        )
        closest = f"{found.closest:.2f} ({found.pair})"
        line = [name, f"{temperature:g}", f"{found.picoseconds:g}", f"{found.fall:+.3f}", closest, found.why or "none"]
        print(f"| {' | '.join(line)} |", flush=True)
    model = load_model(given.run)
    for scan in scan_pairs(model, read_coverage(given.run / COVERAGE_FILE).distances):
        print(scan)


if __name__ == "__main__":
    main()
