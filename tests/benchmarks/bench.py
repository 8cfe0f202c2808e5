"""`make bench`: this library and its peers side by side, on the same structures, interleaved in one run.

Each library lives in an environment of its own and runs in a process of its own (worker.py). All processes stay alive;
the orchestrator gives each a turn at the same task, round after round, so that a noisy machine is noisy for all. It
prints medians and ratios as Markdown. Nothing here can fail a test: a time is not a contract.

    python tests/benchmarks/bench.py                        everything, shared data beside the checkout
    python tests/benchmarks/bench.py --file my.xyz          the potential on the frames of a file
    python tests/benchmarks/bench.py --peers ours --rounds 3
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write
from rich.console import Console
from rich.progress import Progress

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = ROOT.parent / "shared" / "data"
#: What each peer's environment holds; every one gets the same Torch.
PEERS = {
    "flashcart": ["flashcart==0.1.0"],
    "mace": ["mace-torch==0.3.16"],
    "e3nn": ["e3nn==0.5.6"],
    "sphericart": ["sphericart-torch==2.0.4"],
}
SETTINGS = {
    "S": {"channels": 32, "hidden": 1, "edge": 2},
    "M": {"channels": 64, "hidden": 2, "edge": 3},
    "L": {"channels": 128, "hidden": 2, "edge": 3},
}
TASKS = ("energy and forces", "training step", "md step")
CUTOFF = 5.0


class Worker:
    """A library in its own process."""

    def __init__(self, name: str, python: str, threads: int) -> None:
        environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # MACE's e3nn 0.4.4 needs it
        self.name = name
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.imported = self._answer()["import"]
        self.ask(do="threads", count=threads)

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.name} ended")
        return json.loads(line)

    def ask(self, **command: object) -> dict:
        """Send a command, wait for the answer."""
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def environments(names: list[str], folder: Path, console: Console) -> dict[str, str]:
    """Python of each library's environment, made where it is missing."""
    pythons = {"ours": sys.executable}
    for name in names:
        if name == "ours":
            continue
        python = folder / name / "bin" / "python"
        if not (folder / name / "ready").exists():
            console.print(f"installing {' '.join(PEERS[name])} into {folder / name}")
            subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
            packages = [f"torch=={version('torch').split('+')[0]}", *PEERS[name]]
            subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
            (folder / name / "ready").touch()
        pythons[name] = str(python)
    return pythons


def alloy() -> list[Atoms]:
    """250 atoms: the first frame of two atoms of the Mo-Nb-Ta-W data, repeated, with mixed elements, displaced."""
    frames = read(DATA / "monbtaw" / "train.xyz", ":")
    cell = next(a for a in frames if len(a) == 2).repeat(5)
    random = np.random.default_rng(0)
    cell.set_chemical_symbols(list(random.choice(["Mo", "Nb", "Ta", "W"], len(cell))))
    cell.rattle(0.05, rng=random)
    return [cell]


def structures(file: Path | None) -> dict[str, tuple[list[Atoms], list[str], list[str]]]:
    """Case -> frames, settings, tasks."""
    if file is not None:
        frames = read(file, ":")
        return {file.stem: (frames, ["S", "M"], list(TASKS[:2] if len(frames) > 1 else TASKS))}
    acetylacetone = read(DATA / "acetylacetone" / "train_300K.xyz", ":10")
    bpa = read(DATA / "3bpa" / "train_300K.xyz", ":5")
    return {
        "alloy, 250 atoms": (alloy(), ["S", "M", "L"], list(TASKS[:2])),
        "five 3BPA, 135 atoms": (bpa, ["M"], list(TASKS[:2])),
        "ten acetylacetone, 150 atoms": (acetylacetone, ["S"], list(TASKS[:2])),
        "one acetylacetone, 15 atoms": (acetylacetone[:1], ["S"], list(TASKS)),
    }


def medians(workers: list[Worker], key: str, task: str, rounds: int) -> dict[str, float | str]:
    """Median milliseconds of each library, turn by turn."""
    times: dict[str, list[float]] = {w.name: [] for w in workers}
    problems: dict[str, str] = {}
    for turn in range(rounds + 1):  # the first turn warms up
        for worker in workers:
            if worker.name in problems:
                continue
            answer = worker.ask(do="run", key=key, task=task, repeats=3 if turn == 0 else 7, budget=2.0)
            if "error" in answer:
                problems[worker.name] = answer["error"]
            elif turn:
                times[worker.name] += answer["ms"]
    return {w.name: problems.get(w.name) or statistics.median(times[w.name]) for w in workers}


def row(label: str, found: dict[str, float | str], order: list[str]) -> str:
    """One line of a table; the ratio is to the fastest peer."""
    others = [v for n, v in found.items() if n != "ours" and isinstance(v, float)]
    ours = found.get("ours")
    ratio = f"{min(others) / ours:.1f}x" if others and isinstance(ours, float) else ""
    cells = [f"{found[n]:.3g}" if isinstance(found.get(n), float) else (found.get(n, "-")) for n in order]
    return f"| {label} | {' | '.join(map(str, cells))} | {ratio} |"


def head(order: list[str], first: str) -> list[str]:
    """The top of a table."""
    return [f"| {first} | {' | '.join(order)} | ours against the fastest peer |", "|---" * (len(order) + 2) + "|"]


def potentials(pythons: dict[str, str], cases: dict, threads: int, rounds: int, folder: Path, step) -> list[str]:
    """Energy and forces, training steps, MD steps; then build, first call and memory in fresh processes."""
    order = [n for n in ("ours", "flashcart", "mace") if n in pythons]
    lines, memory = head(order, f"ms, float32, {threads} threads"), []
    workers = [Worker(n, pythons[n], threads) for n in order]
    for label, (frames, settings, tasks) in cases.items():
        path = folder / f"{label.replace(' ', '_').replace(',', '')}.xyz"
        write(path, [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in frames])
        elements = sorted({s for a in frames for s in a.get_chemical_symbols()})
        for name in settings:
            case = {"kind": "potential", "file": str(path), "setting": SETTINGS[name], "elements": elements}
            case["cutoff"] = CUTOFF
            key = f"{label}, {name}"
            for worker in workers:
                worker.ask(do="forget")
                worker.ask(do="prepare", key=key, **case)
            for task in tasks:
                lines.append(row(f"{key}: {task}", medians(workers, key, task, rounds), order))
                step(key)
            if tasks == list(TASKS[:2]):
                memory += fresh(pythons, order, key, case, threads)
    for worker in workers:
        worker.close()
    return [*lines, "", *head(order, "in a fresh process"), *memory]


def fresh(pythons: dict[str, str], order: list[str], key: str, case: dict, threads: int) -> list[str]:
    """Build time, first call and peak memory above import, each in a process that does nothing else."""
    lines = []
    for task in TASKS[:2]:
        first, peak, build = {}, {}, {}
        for name in order:
            worker = Worker(name, pythons[name], threads)
            build[name] = worker.ask(do="prepare", key=key, **case).get("build", "-")
            answer = worker.ask(do="run", key=key, task=task, repeats=4, budget=60.0)
            first[name] = answer["ms"][0] / 1e3 if "ms" in answer else "-"
            peak[name] = worker.ask(do="memory")["peak"]
            worker.close()
        lines.append(row(f"{key}: peak memory above import, {task}, MB", peak, order))
        lines.append(row(f"{key}: first call, {task}, s", first, order))
    lines.append(row(f"{key}: build, s", build, order))
    return lines


def kernels(pythons: dict[str, str], rounds: int, step) -> list[str]:
    """Convolution, harmonics and couplings against the peers that have them."""
    lines = []
    cases = {
        "convolution, 10,000 edges, 64 channels, rank 2 x 3 -> 3": (
            "convolution",
            {"rows": 10000, "atoms": 250, "channels": 64},
        ),
        "harmonics of 10,000 vectors to rank 3": ("harmonics", {"rows": 10000, "rank": 3}),
        "harmonics of 10,000 vectors to rank 6": ("harmonics", {"rows": 10000, "rank": 6}),
        "all couplings to rank 3, 1,000 rows, 64 channels": ("couplings", {"rows": 1000, "channels": 64}),
    }
    order = [n for n in ("ours", "flashcart", "e3nn", "sphericart") if n in pythons]
    for threads in (1, 2):
        lines += ["", *head(order, f"ms, float32, {threads} thread{'s' * (threads > 1)}")]
        workers = [Worker(n, pythons[n], threads) for n in order]
        for label, (kind, sizes) in cases.items():
            able = [
                w for w in workers if not {"missing", "error"} & set(w.ask(do="prepare", key=label, kind=kind, **sizes))
            ]
            for task in ("forward", "forward and gradient"):
                lines.append(row(f"{label}: {task}", medians(able, label, task, rounds), order))
            step(label)
        for worker in workers:
            worker.close()
    return lines


def scaling(python: str, frames: list[Atoms], rounds: int, folder: Path) -> list[str]:
    """One thread against two, turn by turn in one process."""
    path = folder / "scaling.xyz"
    write(path, [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in frames])
    elements = sorted({s for a in frames for s in a.get_chemical_symbols()})
    worker = Worker("ours", python, 1)
    lines = ["| alloy, 250 atoms, ms | one thread | two threads | ratio |", "|---|---|---|---|"]
    for name, setting in SETTINGS.items():
        worker.ask(do="forget")
        case = {"file": str(path), "setting": setting, "elements": elements, "cutoff": CUTOFF}
        worker.ask(do="prepare", key="a", kind="potential", **case)
        for task in TASKS[:2]:
            times: dict[int, list[float]] = {1: [], 2: []}
            for turn in range(rounds + 1):
                for threads in times:
                    worker.ask(do="threads", count=threads)
                    worker.ask(do="run", key="a", task=task, repeats=2, budget=1.0)
                    found = worker.ask(do="run", key="a", task=task, repeats=7, budget=2.0)["ms"]
                    times[threads] += found if turn else []
            one, two = (statistics.median(times[t]) for t in (1, 2))
            lines.append(f"| {name}: {task} | {one:.3g} | {two:.3g} | {one / two:.2f} |")
    worker.close()
    return lines


def main() -> None:
    """Run what is asked for and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", default=["ours", *PEERS], choices=["ours", *PEERS])
    parser.add_argument("--file", type=Path, help="extended XYZ file to use in place of the shared data")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each library at each task")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--environments", type=Path, default=ROOT / ".bench", help="where peers are installed")
    parser.add_argument("--only", nargs="*", default=["potential", "kernels", "scaling"])
    options = parser.parse_args()
    console = Console(stderr=True)
    if options.file is None and not DATA.is_dir():
        parser.error(f"no data in {DATA}; give a file of your own with --file")
    pythons = environments(options.peers, options.environments, console)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ", end="")
    print(f"torch {version('torch')}, numba {version('numba')}, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        bar = progress.add_task("measuring", total=None)

        def step(what: str) -> None:
            progress.update(bar, description=what, advance=1)

        if "potential" in options.only:
            cases = structures(options.file)
            print("\n".join(["", *potentials(pythons, cases, options.threads, options.rounds, Path(folder), step)]))
        if "kernels" in options.only and options.file is None:
            print("\n".join(kernels(pythons, options.rounds, step)), flush=True)
        if "scaling" in options.only and "ours" in pythons and options.file is None:
            print("\n".join(["", *scaling(pythons["ours"], alloy(), options.rounds, Path(folder))]))


if __name__ == "__main__":
    main()
