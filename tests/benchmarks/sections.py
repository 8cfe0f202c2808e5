"""The tables of the benchmark: each is measured turn by turn and comes back as lines of Markdown."""

import statistics
from collections.abc import Callable
from pathlib import Path

from ase import Atoms
from ase.io import write
from processes import Failed, Libraries, Worker

SETTINGS = {
    "S": {"channels": 32, "hidden": 1, "edge": 2},
    "M": {"channels": 64, "hidden": 2, "edge": 3},
    "(128, 1, 3)": {"channels": 128, "hidden": 1, "edge": 3},
    "L": {"channels": 128, "hidden": 2, "edge": 3},
}
TASKS = ("energy and forces", "training step", "md step")
CUTOFF = 5.0
POTENTIALS = ("ours", "symmetrix", "flashcart", "mace")
KERNELS = ("ours", "flashcart", "e3nn", "sphericart")
FAST = ("ours", "ace-jax", "grace", "deepmd", "nequip", "tace", "mace")

#: One structure or several: label -> (frames, settings, tasks).
Cases = dict[str, tuple[list[Atoms], list[str], list[str]]]


class Bench:
    """What all tables share: libraries, threads, turns, the clock, and where files may lie meanwhile."""

    def __init__(
        self, libraries: Libraries, threads: int, rounds: int, clock: str, folder: Path, step: Callable[[str], None]
    ) -> None:
        self.libraries, self.threads, self.rounds = libraries, threads, rounds
        self.clock, self.folder, self.step = clock, folder, step

    def ask(self, worker: Worker, what: str, **command: object) -> dict | None:
        """The worker's answer, or None where it has none; its error is kept for the notes."""
        try:
            answer = worker.ask(**command)
        except Failed as error:
            answer = {"error": str(error)}
        if "error" in answer:
            self.libraries.problems.setdefault(f"{worker.label}: {what}", answer["error"])
        return None if {"error", "missing"} & set(answer) else answer

    def medians(self, workers: list[Worker], keys: dict[str, str], task: str) -> dict[str, float]:
        """Median milliseconds of each library, turn by turn; `keys` are the prepared cases by label."""
        times: dict[str, list[float]] = {w.label: [] for w in workers if w.label in keys}
        for turn in range(self.rounds + 1):  # the first turn warms up
            for worker in [w for w in workers if w.label in times]:
                command = {"do": "run", "key": keys[worker.label], "task": task}
                answer = self.ask(worker, task, **command, repeats=3 if turn == 0 else 9, budget=2.0)
                if answer is None:
                    del times[worker.label]
                elif turn:
                    times[worker.label] += answer[self.clock]
        return {label: statistics.median(found) for label, found in times.items()}

    def write(self, label: str, frames: list[Atoms]) -> dict:
        """The frames without labels as a file, and what else a potential must know."""
        path = self.folder / f"{label.replace(' ', '_').replace(',', '')}.xyz"
        write(path, [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in frames])
        elements = sorted({s for a in frames for s in a.get_chemical_symbols()})
        return {"file": str(path), "elements": elements, "cutoff": CUTOFF}


def head(order: list[str], first: str, last: str = "ours against the fastest peer") -> list[str]:
    """The top of a table."""
    return [f"| {first} | {' | '.join(order)} | {last} |", "|---" * (len(order) + 2) + "|"]


def row(label: str, found: dict[str, float], order: list[str]) -> str:
    """One line of a table; the ratio is that of the fastest peer to the default settings of ours."""
    others = [v for n, v in found.items() if not n.startswith("ours")]
    ratio = f"{min(others) / found['ours']:.1f}x" if others and "ours" in found else ""
    cells = [f"{found[n]:.3g}" if n in found else "-" for n in order]
    return f"| {label} | {' | '.join(cells)} | {ratio} |"


def potentials(bench: Bench, cases: Cases, memory: bool) -> list[str]:
    """Energy and forces, training steps, MD steps of the same architecture; then what a fresh process takes."""
    workers = bench.libraries.workers(POTENTIALS, bench.threads)
    order = [w.label for w in workers]
    lines, later = head(order, f"ms of {bench.clock} time, float32"), []
    for label, (frames, settings, tasks) in cases.items():
        case = bench.write(label, frames)
        for name in settings:
            key, keys = f"{label}, {name}", {}
            for worker in workers:
                bench.ask(worker, key, do="forget")
                setting = {**SETTINGS[name], **worker.options}
                if bench.ask(worker, key, do="prepare", key=key, kind="potential", setting=setting, **case):
                    keys[worker.label] = key
            for task in tasks:
                lines.append(row(f"{key}: {task}", bench.medians(workers, keys, task), order))
                bench.step(lines[-1])
            later += [(key, {**case, "setting": SETTINGS[name]})] if len(tasks) > 1 else []
    for worker in workers:
        worker.close()
    if not memory:
        return lines
    fresh_lines = [line for key, case in later for line in fresh(bench, key, case)]
    return [*lines, "", *head(order, "in a fresh process"), *fresh_lines]


def fresh(bench: Bench, key: str, case: dict) -> list[str]:
    """Build time, first call and peak memory above import, each in a process that does nothing else."""
    lines, order, build = [], [], {}
    for task in TASKS[:2]:
        first, peak = {}, {}
        for name in POTENTIALS:
            for worker in bench.libraries.workers((name,), bench.threads):
                order += [worker.label] if worker.label not in order else []
                prepare = {**case, "setting": {**case["setting"], **worker.options}}
                answer = bench.ask(worker, key, do="prepare", key=key, kind="potential", **prepare)
                ran = answer and bench.ask(worker, task, do="run", key=key, task=task, repeats=4, budget=60.0)
                if ran:
                    build[worker.label] = answer["build"]
                    first[worker.label] = ran["wall"][0] / 1e3
                    peak[worker.label] = worker.ask(do="memory")["peak"]
                worker.close()
        lines.append(row(f"{key}: peak memory above import, {task}, MB", peak, order))
        lines.append(row(f"{key}: first call, {task}, s", first, order))
    bench.step(f"{key}: in a fresh process")
    return [*lines, row(f"{key}: build, s", build, order)]


def converted(bench: Bench, cases: dict[str, list[Atoms]]) -> list[str]:
    """One file of mace-torch, of the sizes of a foundation model, run by each library that can: ASE's calculators."""
    workers = bench.libraries.workers(("mace", "ours", "symmetrix"), bench.threads)
    order = [w.label for w in workers]
    lines = head(order, f"(128, 1, 3), 89 elements, ms of {bench.clock} time, float32")
    for label, frames in cases.items():
        file, keys = bench.write(label, frames)["file"], {}
        for worker in workers:
            command = {"file": file, "model": str(bench.folder / "foundation.model")}
            if bench.ask(worker, label, do="prepare", key=label, kind="converted", **command):
                keys[worker.label] = label
        for task in ("energy and forces", "md step"):
            lines.append(row(f"{label}: {task}", bench.medians(workers, keys, task), order))
            bench.step(lines[-1])
    for worker in workers:
        worker.close()
    return lines


def fast(bench: Bench, cases: dict[str, list[Atoms]]) -> list[str]:
    """MD steps of libraries that people choose for speed, each at settings of its own: microseconds an atom."""
    workers = bench.libraries.workers(FAST, bench.threads)
    lists = {w.label: bench.ask(w, "settings", do="own") for w in workers}
    labels = [f"{w.label}: {n}" for w in workers if lists[w.label] for n in lists[w.label]["names"]]
    found: dict[str, dict[str, float]] = {label: {} for label in labels}
    for label, frames in cases.items():
        case = bench.write(label, frames)
        for worker in workers:
            bench.ask(worker, label, do="forget")
        prepared = []
        for worker in workers:
            for name in (lists[worker.label] or {"names": []})["names"]:
                command = {**case, "kind": "own", "name": name, "key": name, "options": worker.options}
                if bench.ask(worker, f"{name}, {label}", do="prepare", **command):
                    prepared.append((worker, name))
                bench.step(f"{worker.label}: {name}")
        times: dict[str, list[float]] = {f"{w.label}: {n}": [] for w, n in prepared}
        for turn in range(bench.rounds + 1):
            for worker, name in prepared:
                command = {"do": "run", "key": name, "task": "md step", "repeats": 9 if turn else 5, "budget": 2.0}
                answer = bench.ask(worker, f"{name}, {label}", **command)
                times[f"{worker.label}: {name}"] += answer[bench.clock] if turn and answer else []
        for key, measured in times.items():
            if measured:
                found[key][label] = statistics.median(measured)
                bench.step(f"{key}, {label}: {found[key][label]:.3g} ms")
    for worker in workers:
        worker.close()
    columns = [f"{label}: {unit}" for label in cases for unit in ("ms", "us an atom")]
    lines = head(columns, f"MD step, float32, {bench.clock} time", "us an atom over ours, S")
    first = next(iter(cases))
    ours = found.get("ours: S", {}).get(first)
    for key in labels:
        cells = [
            f"{found[key][c] * f:.3g}" if c in found[key] else "-"
            for c, n in cases.items()
            for f in (1, 1e3 / len(n[0]))
        ]
        ratio = f"{found[key][first] / ours:.1f}x" if ours and first in found[key] else ""
        lines.append(f"| {key} | {' | '.join(cells)} | {ratio} |")
    return lines


def kernels(bench: Bench) -> list[str]:
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
    for threads in (1, 2):
        workers = [w for w in bench.libraries.workers(KERNELS, threads) if w.label in KERNELS]
        order = [w.label for w in workers]
        lines += ["", *head(order, f"ms, float32, {threads} thread{'s' * (threads > 1)}")]
        for label, (kind, sizes) in cases.items():
            able = [w for w in workers if bench.ask(w, label, do="prepare", key=label, kind=kind, **sizes)]
            for task in ("forward", "forward and gradient"):
                keys = {w.label: label for w in able}
                lines.append(row(f"{label}: {task}", bench.medians(able, keys, task), order))
            bench.step(label)
        for worker in workers:
            worker.close()
    return lines


def scaling(bench: Bench, frames: list[Atoms]) -> list[str]:
    """One thread against two, turn by turn in one process: wall time."""
    (worker, *others) = bench.libraries.workers(("ours",), 2)
    case = bench.write("scaling", frames)
    lines = ["| alloy, 250 atoms, ms | one thread | two threads | ratio |", "|---|---|---|---|"]
    for name, setting in SETTINGS.items():
        worker.ask(do="forget")
        worker.ask(do="prepare", key="a", kind="potential", setting=setting, **case)
        for task in TASKS[:2]:
            times: dict[int, list[float]] = {1: [], 2: []}
            for turn in range(bench.rounds + 1):
                for threads in times:
                    worker.ask(do="threads", count=threads)
                    worker.ask(do="run", key="a", task=task, repeats=2, budget=1.0)
                    found = worker.ask(do="run", key="a", task=task, repeats=7, budget=2.0)["wall"]
                    times[threads] += found if turn else []
            one, two = (statistics.median(times[t]) for t in (1, 2))
            lines.append(f"| {name}: {task} | {one:.3g} | {two:.3g} | {one / two:.2f} |")
        bench.step(f"{name}: one thread and two")
    for each in (worker, *others):
        each.close()
    return lines
