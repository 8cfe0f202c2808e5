"""`make bench`: this library and its peers side by side, on the same structures, interleaved in one run.

Each library lives in an environment of its own and runs in a process of its own (worker.py). All processes stay alive;
the orchestrator gives each a turn at the same task, round after round, so that a noisy machine is noisy for all. It
prints medians and ratios to the fastest peer as Markdown. Nothing here can fail a test: a time is not a contract.

    python tests/benchmarks/bench.py                        everything, shared data beside the checkout
    python tests/benchmarks/bench.py --file my.xyz          the potential on the frames of a file
    python tests/benchmarks/bench.py --peers ours --rounds 3
    python tests/benchmarks/bench.py --variant messages=summed --only potential --threads 1 --clock cpu
"""

import argparse
import sys
import tempfile
from pathlib import Path

import yaml
from ase.io import read
from processes import FOLDER, PEERS, Libraries, machine
from rich.console import Console
from rich.progress import Progress
from sections import TASKS, Bench, Cases, converted, fast, kernels, potentials, scaling
from structures import DATA, acetylacetone, alloy, bpa, salt

PARTS = ("potential", "converted", "fast", "kernels", "scaling")


def cases_of(file: Path | None) -> Cases:
    """Case -> frames, settings, tasks."""
    if file is not None:
        frames = read(file, ":")
        return {file.stem: (frames, ["S", "M"], list(TASKS[:2] if len(frames) > 1 else TASKS))}
    return {
        "alloy, 250 atoms": (alloy(), ["S", "M", "(128, 1, 3)", "L"], list(TASKS)),
        "five 3BPA, 135 atoms": (bpa(5), ["M"], list(TASKS[:2])),
        "ten acetylacetone, 150 atoms": (acetylacetone(10), ["S"], list(TASKS[:2])),
        "one acetylacetone, 15 atoms": (acetylacetone(1), ["S"], list(TASKS)),
    }


def variant(text: str) -> dict:
    """KEY=VALUE,.. as keys of the model's configuration."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(key and equals for key, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text}: give KEY=VALUE, more of them behind commas")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def main() -> None:
    """Run what is asked for and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", default=["ours", *PEERS], choices=["ours", *PEERS])
    parser.add_argument("--file", type=Path, help="extended XYZ file to use in place of the shared data")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each library at each task")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu where others use the machine")
    parser.add_argument("--avx2", action="store_true", help="no wider vectors, where the processor has them")
    parser.add_argument("--environments", type=Path, default=FOLDER, help="where peers are installed")
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--cases", nargs="*", default=[], help="cases of the potential by the start of their names")
    parser.add_argument("--no-memory", action="store_true", help="no fresh processes for build, first call and memory")
    parser.add_argument(
        "--variant", type=variant, action="append", default=[], help="ours once more, with other keys: KEY=VALUE,.."
    )
    options = parser.parse_args()
    console = Console(stderr=True)
    if options.file is None and not DATA.is_dir():
        parser.error(f"no data in {DATA}; give a file of your own with --file")
    libraries = Libraries(options.peers, options.variant, options.avx2, options.environments, console)
    print(machine(options.threads, options.avx2), flush=True)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        bar = progress.add_task("measuring", total=None)

        def step(what: str) -> None:
            progress.update(bar, description=what, advance=1)
            if not console.is_terminal:  # a log keeps what was found before anything goes wrong
                print(what, file=sys.stderr, flush=True)

        bench = Bench(libraries, options.threads, options.rounds, options.clock, Path(folder), step)
        cases = cases_of(options.file)
        if "potential" in options.only:
            chosen = {k: v for k, v in cases.items() if not options.cases or k.startswith(tuple(options.cases))}
            print("\n".join(["", *potentials(bench, chosen, not options.no_memory)]), flush=True)
        if "converted" in options.only and options.file is None:
            print(
                "\n".join(["", *converted(bench, {"NaCl, 64 atoms": salt(), "alloy, 250 atoms": alloy()})]), flush=True
            )
        if "fast" in options.only:
            single = {label: frames for label, (frames, *_) in cases.items() if len(frames) == 1}
            if single:
                print("\n".join(["", *fast(bench, single)]), flush=True)
        if "kernels" in options.only and options.file is None:
            print("\n".join(kernels(bench)), flush=True)
        if "scaling" in options.only and "ours" in libraries.pythons and options.file is None:
            print("\n".join(["", *scaling(bench, alloy())]), flush=True)
        print("\n".join(libraries.notes()))


if __name__ == "__main__":
    main()
