"""Active learning on acetamide: train, look where the model is unsure, label that, train again.

It starts from a few frames at 300 K, and is to predict forces at 1000 K. Without a labeller, candidates are the shipped
frames of 300 to 1000 K whose labels are held back until a frame is chosen:

    python docs/examples/active_learning.py --output loop
    python docs/examples/active_learning.py --output random --strategy random

With a labeller, any command that is given a file of frames and one to write, candidates come from dynamics at 1000 K
with the model itself, each run stopped where it leaves the training data. PySCF labels as the shipped frames are:

    python docs/examples/active_learning.py --output true --labeller "python docs/examples/label_acetamide.py"

The folder gets a run for each round, and errors.json: labelled frames, force and energy errors at each temperature.
"""

import argparse
import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import yaml
from ase import Atoms
from rich.progress import Progress

import cartalg
from cartalg.simulate.dynamics import OUTSIDE_FILE, LeftCoverage, simulate
from cartalg.simulate.folder import TRAJECTORY_FILE
from cartalg.simulate.options import Simulation
from cartalg.train.run import evaluate_file, train_run
from cartalg.uncertainty.runs import select_frames

SHIPPED = Path(cartalg.__file__).parent / "datasets" / "acetamide"
TEMPERATURES = (300, 500, 700, 1000)
#: Runs of dynamics a round, their steps of 0.5 fs at most, and the grade at which they stop.
RUNS, STEPS, LIMIT = 4, 2000, 5.0


@dataclass
class Loop:
    """One loop.

    Attributes:
        output: Its folder.
        start, batch, rounds: Frames at 300 K to start from, frames that are labelled in each round, and rounds.
        steps: Of each training.
        channels: Of the model.
        strategy: Of `cartalg select`.
        labeller: Command; None for shipped labels.
        seed: Of everything.
    """

    output: Path
    start: int
    batch: int
    rounds: int
    steps: int
    channels: int
    strategy: str
    labeller: str | None
    seed: int

    def run(self) -> list[dict[str, float]]:
        """All rounds: labelled frames and errors of each, also written to errors.json."""
        frames = ase.io.read(SHIPPED / "acetamide.xyz.gz", ":")
        numbers = {
            name: [*map(int, (SHIPPED / f"{name}.txt").read_text().split())] for name in ("train", "val", "test")
        }
        tests = [frames[n] for n in numbers["val"] + numbers["test"]]
        cold = [n for n in numbers["train"] if frames[n].info["temperature_K"] == TEMPERATURES[0]]
        first = np.random.default_rng(self.seed).permutation(cold)[: self.start].tolist()
        labelled = [frames[n] for n in first]
        pool = [frames[n] for n in numbers["train"] if n not in first]
        rows: list[dict[str, float]] = []
        with Progress() as bar:
            for number in range(self.rounds + 1):
                place = self.output / f"round-{number}"
                run = self.train(place, labelled, bar)
                rows.append({"labelled": len(labelled), **self.errors(place, run, tests, bar)})
                bar.console.print({name: round(value, 1) for name, value in rows[-1].items()})
                (self.output / "errors.json").write_text(json.dumps(rows, indent=2))
                if number == self.rounds:
                    break
                candidates = self.explore(place, run, labelled, bar) if self.labeller else pool
                ase.io.write(place / "candidates.xyz", candidates)
                chosen = self.choose(place, run, bar)
                if self.labeller:
                    command = [*shlex.split(self.labeller), place / "chosen.xyz", place / "labelled_now.xyz"]
                    subprocess.run(command, check=True)
                    labelled += ase.io.read(place / "labelled_now.xyz", ":")
                else:
                    labelled += [pool[n] for n in chosen]
                    pool = [frame for n, frame in enumerate(pool) if n not in chosen]
        return rows

    def train(self, place: Path, labelled: list[Atoms], bar: Progress) -> Path:
        """Train on what is labelled; a tenth of it is validated on."""
        place.mkdir(parents=True, exist_ok=True)
        ase.io.write(place / "labelled.xyz", labelled)
        epochs = round(self.steps / np.ceil((len(labelled) - len(labelled) // 10) / 5))
        model = {"cutoff": 4.5, "channels": self.channels}
        training = {"epochs": max(epochs, 1), "batch_size": 5, "energy_weight": 300.0, "seed": self.seed}
        config = {"data": {"train": "labelled.xyz"}, "model": model, "training": training}
        (place / "config.yaml").write_text(yaml.safe_dump(config))
        train_run(place / "config.yaml", place / "run", None, False, "auto", bar)
        return place / "run"

    def errors(self, place: Path, run: Path, tests: list[Atoms], bar: Progress) -> dict[str, float]:
        """RMSE of forces in meV/A and of energies in meV at each temperature."""
        found = {}
        for kelvin in TEMPERATURES:
            ase.io.write(place / "test.xyz", [f for f in tests if f.info["temperature_K"] == kelvin])
            errors = evaluate_file(run, place / "test.xyz", {}, None, place / f"parity_{kelvin}.png", "auto", bar)
            of = errors.comparison.errors()
            found[f"forces_{kelvin}K"], found[f"energy_{kelvin}K"] = of["forces_rmse_meV_per_A"], of["energy_rmse_meV"]
        return found

    def explore(self, place: Path, run: Path, labelled: list[Atoms], bar: Progress) -> list[Atoms]:
        """Dynamics at the highest temperature from labelled frames: all frames, the ones that stopped it too."""
        found: list[Atoms] = []
        starts = np.random.default_rng(self.seed).choice(len(labelled), RUNS)
        for number, start in enumerate(starts.tolist()):
            folder = place / f"dynamics-{number}"
            ase.io.write(place / "start.xyz", labelled[start])
            options = Simulation(
                temperature=TEMPERATURES[-1],
                steps=STEPS,
                frame_interval=10,
                log_interval=2,
                guard=False,  # energies and distances are to leave the data; the grade alone says when it is too far
                max_grade=LIMIT,
                thermostat_time=50.0,
                seed=number,
            )
            try:
                simulate(run, place / "start.xyz", folder, options, "auto", bar)
            except LeftCoverage as left:
                bar.console.print(str(left), highlight=False)
            for file in (TRAJECTORY_FILE, OUTSIDE_FILE):
                found += ase.io.read(folder / file, ":") if (folder / file).is_file() else []
        return found

    def choose(self, place: Path, run: Path, bar: Progress) -> list[int]:
        """Numbers of the candidates that are worth a label; the frames are in chosen.xyz."""
        selection = select_frames(
            run,
            [place / "candidates.xyz"],
            self.batch,
            place / "chosen.xyz",
            self.strategy,
            None,
            self.seed,
            "auto",
            bar,
        )
        return [one.frame for one in selection.chosen]


def main() -> None:
    """Run a loop as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder")
    for name, default in (("start", 20), ("batch", 20), ("rounds", 3), ("steps", 1000), ("channels", 16), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--strategy", default="information", help="information, uncertainty or random")
    parser.add_argument("--labeller", help="command that labels: given a file of frames, and one to write")
    Loop(**vars(parser.parse_args())).run()


if __name__ == "__main__":
    main()
