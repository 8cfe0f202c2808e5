"""Time and memory of the ASE calculator from 100 to 100,000 atoms, chunked and not, and how they grow.

    python tests/benchmarks/scale.py [--settings S M] [--largest 37] [--chunks 4000 0] [--threads 1]
    python tests/benchmarks/scale.py --beside symmetrix mace [--seconds 60] [--memory 14] [--plot FILE.png]

Each size runs in a process of its own: an alloy of 2 n^3 atoms, steps as of molecular dynamics in which neighbour lists
stay. CPU time, or wall time of several threads; memory is the most that was resident, less what was there before.
Chunks of 0 are none. Prints Markdown, with the exponents of power laws fitted to the sizes from 1,000 atoms on.

With `--beside`, ASE calculators of other libraries take turns with ours, each in one process of its own environment for
all sizes, with one and the same model in MACE's format (128 channels, hidden rank 1, edge rank 3, two layers, 89
elements, random weights; float32, one thread). A library goes on to the next size while a step will take no more than
so many seconds, and its memory not more than so many GB; the first step of a size is not counted.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.io import write
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
from engines import alloy, potential
from processes import FOLDER, Failed, Libraries, Worker, machine

SIZES = (4, 6, 8, 10, 13, 17, 22, 29, 37)


def resident() -> float:
    """Most memory so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def worker(setting: str, size: int, chunk: int, threads: int) -> None:
    """One size: prints microseconds an atom, and MB."""
    import torch

    from cartalg.interfaces.ase import CartalgCalculator

    clock = time.process_time if threads == 1 else time.perf_counter
    atoms, random = alloy(size), np.random.default_rng(0)
    warm, model = alloy(3), potential(setting)
    torch.set_num_threads(threads)
    warm.calc = CartalgCalculator(model)
    warm.get_forces()
    before = resident()
    model.chunk = chunk or None
    atoms.calc = CartalgCalculator(model)
    atoms.get_forces()
    positions, times = atoms.positions.copy(), []
    for _ in range(3 if len(atoms) > 20_000 else 7):
        atoms.positions = positions + 0.01 * random.standard_normal(positions.shape)
        begin = clock()
        atoms.get_forces()
        times.append(clock() - begin)
    print(json.dumps({"atoms": len(atoms), "seconds": float(np.median(times)), "megabytes": resident() - before}))


def ask(worker: Worker, **command: object) -> dict:
    """An answer; Failed where it is an error."""
    answer = worker.ask(**command)
    if "error" in answer:
        raise Failed(" ".join(answer["error"].split())[:200])
    return answer


class Peer:
    """A library that goes from size to size until it stops.

    Attributes:
        found: Microseconds an atom and MB by the number of atoms.
        times: Seconds of the steps of this size, the first one left out.
        stopped: Why it goes on no more.
    """

    def __init__(self, worker: Worker, limit: float, memory: float, clock: str) -> None:
        self.worker, self.limit, self.clock = worker, limit, clock
        self.found: dict[int, tuple[float, float]] = {}
        self.times: list[float] = []
        self.stopped = ""
        ask(worker, do="limit", gigabytes=memory)

    def turn(self, number: int, count: int, file: str, model: str) -> None:
        """One step of so many atoms; turn 0 prepares it."""
        if number == 0:
            self.times = []
            expected = 1e-6 * list(self.found.values())[-1][0] * count if self.found else 0.0
            if expected > self.limit and not self.stopped:
                self.stopped = f"a step of {count:,} atoms would take some {expected:.0f} s"
        if self.stopped or sum(self.times) > self.limit / 2:
            return
        try:
            if number == 0:
                ask(self.worker, do="forget")
                ask(self.worker, do="prepare", key="scale", kind="converted", file=file, model=model)
            ran = ask(self.worker, do="run", key="scale", task="md step", repeats=1, budget=1.0)
        except Failed as error:
            self.stopped, self.times = f"{count:,} atoms: {error}", []
            return
        if number:
            self.times.append(ran[self.clock][0] / 1e3)
            us = 1e6 * statistics.median(self.times) / count
            self.found[count] = us, ask(self.worker, do="memory")["peak"]


def beside(names: list[str], largest: int, limit: float, memory: float, clock: str) -> dict[str, dict[int, tuple]]:
    """Of each library, microseconds an atom and MB by the number of atoms; prints the table and why a library stops."""
    libraries = Libraries(["ours", *names], [], False, FOLDER, Console(stderr=True))
    print(f"{machine(1, False)}; {clock} time, steps to {limit:g} s, {memory:g} GB\n", flush=True)
    peers = {w.label: Peer(w, limit, memory, clock) for w in libraries.workers(("ours", *names), 1)}
    columns = [f"{name}: us/atom | MB" for name in peers] + [f"{name} over ours" for name in list(peers)[1:]]
    print(f"| atoms | {' | '.join(columns)} |\n{'|---' * 3 * len(peers)}|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for size in (s for s in SIZES if s <= largest):
            atoms = alloy(size)
            file, count = f"{folder}/{size}.xyz", len(atoms)
            write(file, atoms)
            for number in range(4):
                for peer in peers.values():
                    peer.turn(number, count, file, f"{folder}/foundation.model")
            here = [peer.found.get(count) for peer in peers.values()]
            cells = [f"{us:.1f} | {megabytes:,.0f}" for us, megabytes in (h or (np.nan, np.nan) for h in here)]
            cells += [f"{h[0] / here[0][0]:.1f}" if h and here[0] else "-" for h in here[1:]]
            print(f"| {count:,} | {' | '.join(cells).replace('nan', '-')} |", flush=True)
    print("".join(f"\n* {name}: {why}" for name, why in libraries.problems.items()))
    for name, peer in peers.items():
        peer.worker.close()
        print(f"* {name}: {peer.stopped or 'all sizes'}")
        fit(f"{name}: seconds", *np.transpose([(n, 1e-6 * us * n) for n, (us, _) in peer.found.items()]))
    return {name: peer.found for name, peer in peers.items()}


def plot(found: dict[str, dict[int, tuple]], path: Path) -> None:
    """Microseconds an atom over atoms."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for name, rows in found.items():
        axes.loglog(list(rows), [t for t, _ in rows.values()], "o-", label=name)
    axes.set(xlabel="atoms", ylabel="microseconds an atom and MD step")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def fit(name: str, atoms: np.ndarray, values: np.ndarray) -> None:
    """Print the power law of the sizes from 1,000 atoms on."""
    large = atoms >= 1000
    if large.sum() < 2:
        return
    x, y = np.log(atoms[large]), np.log(values[large])
    exponent, constant = np.polyfit(x, y, 1)
    spread = np.std(y - exponent * x - constant)
    print(f"\n{name} = {np.exp(constant):.3g} atoms^{exponent:.3f}, to {100 * spread:.0f} %", flush=True)


def main() -> None:
    """A table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=["S", "M"])
    parser.add_argument("--chunks", nargs="+", type=int, default=[4000, 0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--beside", nargs="+", help="peers of bench.py to compare with")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a step, with --beside")
    parser.add_argument("--memory", type=float, default=14.0, help="GB that a library may have, with --beside")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu", help="with --beside")
    parser.add_argument("--plot", type=Path, help="picture of the comparison")
    given = parser.parse_args()
    if given.beside:
        found = beside(given.beside, given.largest, given.seconds, given.memory, given.clock)
        if given.plot:
            plot(found, given.plot)
        return
    for setting in given.settings:
        for chunk in given.chunks:
            print(f"\n{setting}, {f'chunks of {chunk}' if chunk else 'all at once'}\n")
            print("| atoms | us/atom | kB/atom |\n|---|---|---|")
            rows = []
            for size in (s for s in SIZES if s <= given.largest):
                command = [sys.executable, __file__, "--worker", setting, *map(str, (size, chunk, given.threads))]
                rows.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
                atoms, seconds, memory = rows[-1].values()
                print(f"| {atoms:,} | {1e6 * seconds / atoms:.1f} | {1024 * memory / atoms:.1f} |", flush=True)
            atoms = np.array([row["atoms"] for row in rows])
            for name in ("seconds", "megabytes"):
                fit(name, atoms, np.array([row[name] for row in rows]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], *map(int, sys.argv[3:6]))
    else:
        main()
