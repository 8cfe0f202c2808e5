"""Time and memory of the ASE calculator from 100 to 100,000 atoms, chunked and not, and how they grow.

    python tests/benchmarks/scale.py [--settings S M] [--largest 37] [--chunks 4000 0] [--threads 1]

Each size runs in a process of its own: an alloy of 2 n^3 atoms, steps as of molecular dynamics in which neighbour lists
stay. CPU time, or wall time of several threads; memory is the most that was resident, less what was there before.
Chunks of 0 are none. Prints Markdown, with the exponents of power laws fitted to the sizes from 1,000 atoms on.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from engines import alloy, potential

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


def main() -> None:
    """A table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=["S", "M"])
    parser.add_argument("--chunks", nargs="+", type=int, default=[4000, 0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    given = parser.parse_args()
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
            large = [row for row in rows if row["atoms"] >= 1000]
            for name in ("seconds", "megabytes"):
                x, y = (np.log([row[key] for row in large]) for key in ("atoms", name))
                exponent, constant = np.polyfit(x, y, 1)
                spread = np.std(y - exponent * x - constant)
                print(f"\n{name} = {np.exp(constant):.3g} atoms^{exponent:.3f}, to {100 * spread:.0f} %", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], *map(int, sys.argv[3:6]))
    else:
        main()
