"""Plant faults one at a time, and say which check catches each: `make mutants`.

    python tests/mutants/campaign.py --area emitted --random 0      # only the listed faults of one part
    python tests/mutants/campaign.py --match cutoff                 # those whose words or file hold this
    python tests/mutants/campaign.py --write                        # everything, and docs/reliability.md anew

Exit code 1 if a fault is caught by nothing, if it does not fit its file any more, or if a check fails without a fault.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import operators
import table
from checks import Checker, Outcome, concerns, rendered, using
from faults import AREAS, KERNELS, ROOT, Fault, Stale, load
from prover import anew, first_failure, rows

SEED = 1
_checker: Checker | None = None


def start(place: Path) -> None:
    """Of a process: a copy of the repository of its own."""
    global _checker
    _checker = Checker(place)


def check(fault: Fault) -> Outcome | str:
    """The outcome of one fault, or why there is none."""
    assert _checker
    try:
        return _checker(fault)
    except Stale as error:
        return str(error)


def sound(tests: tuple[str, ...], kernels: tuple[str, ...], rules: int) -> str:
    """What a check says where no fault is."""
    assert _checker
    if tests:
        return _checker.run_tests(tests)
    fault = Fault("", "", "", kernels=kernels, rules=rules)
    said = _checker.anew(fault)
    return said["prove"] or said["check"]


def unspoilt(faults: list[Fault], pool: ProcessPoolExecutor) -> Iterator[str]:
    """What is wrong before any fault is planted: a check that fails anyway catches nothing."""
    asked = {(fault.tests, (), 0) for fault in faults if fault.tests}
    asked |= {((), fault.kernels, fault.rules) for fault in faults if fault.kernels or fault.rules}
    yield from filter(None, pool.map(sound, *zip(*sorted(asked)))) if asked else ()
    files = {str(Path(f.file).relative_to(KERNELS)) for f in faults if f.area == "emitted" and f.create is None}
    kernels = frozenset().union(*map(using, files)) if files else frozenset()
    if kernels and (failure := first_failure(rows(ROOT / KERNELS, lambda task: concerns(task, kernels)))):
        yield failure


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--area", choices=AREAS, action="append", help="part of the project; may be repeated")
    parser.add_argument("--match", default="", help="only faults whose words, file or kernel hold this")
    parser.add_argument("--random", type=int, default=200, help="faults made by rule in emitted files")
    parser.add_argument("--seed", type=int, default=SEED, help="of those")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    parser.add_argument("--out", type=Path, help="file for the outcomes, JSON")
    chosen = parser.parse_args()
    areas = chosen.area or list(AREAS)
    listed = [fault for area in areas for fault in load(area)]
    drawn = operators.draw(chosen.random, chosen.seed) if "emitted" in areas and chosen.random else []
    faults = [f for f in (*listed, *drawn) if chosen.match in f"{f.what} {f.file} {f.place}"]
    begin = time.perf_counter()
    if any(f.area in ("emitted", "manifest") for f in faults):
        rendered()  # once, before the processes part
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("CARTALG_MUTANTS_DIR")) as place,
        ProcessPoolExecutor(
            chosen.processes, mp_context=get_context("fork"), initializer=start, initargs=(Path(place),)
        ) as pool,
    ):
        if broken := list(unspoilt(faults, pool)):
            print("without any fault:", *broken, sep="\n  ")
            return 1
        print(f"checks hold without a fault ({time.perf_counter() - begin:.0f} s)", flush=True)
        futures = {pool.submit(check, fault): n for n, fault in enumerate(faults)}
        found: list[Outcome | str] = [""] * len(faults)
        for done, future in enumerate(as_completed(futures), start=1):
            n = futures[future]
            found[n] = outcome = future.result()
            print(f"{done}/{len(faults)} {table.line(outcome)}", flush=True)
    outcomes = [o for o in found if isinstance(o, Outcome)]
    stale = [o for o in found if isinstance(o, str)]
    seconds = time.perf_counter() - begin
    print(table.summary(outcomes, len(listed)), *stale, f"{seconds:.0f} s", sep="\n")
    if chosen.out:
        chosen.out.write_text(json.dumps([asdict(o) for o in outcomes], indent=1))
    if chosen.write:
        table.write(outcomes, seconds)
    unseen = [o for o in outcomes if not o.caught and not table.equivalent(o)]
    return 1 if unseen or stale else 0


if __name__ == "__main__":
    sys.exit(main())
