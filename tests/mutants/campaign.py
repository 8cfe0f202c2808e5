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
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import children
import operators
import table
from checks import Checker, Outcome, concerns, rendered, using
from faults import AREAS, KERNELS, ROOT, Fault, Stale, load
from prover import first_failure, rows

SEED = 1
_checker: Checker | None = None


def start(place: Path) -> None:
    """Of a process: a copy of the repository of its own."""
    global _checker
    children.preload()
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


def spoilt(outcomes: list[Outcome], pool: ProcessPoolExecutor) -> list[str]:
    """What the checks that were asked say where no fault is: one that fails anyway catches nothing."""
    faults = [o.fault for o in outcomes]
    asked = {(o.fault.tests, (), 0) for o in outcomes if o.tests}
    asked |= {((), fault.kernels, fault.rules) for fault in faults if fault.kernels or fault.rules}
    said = [future.result() for future in [pool.submit(sound, *one) for one in sorted(asked)]]
    files = {str(Path(f.file).relative_to(KERNELS)) for f in faults if f.area == "emitted" and f.create is None}
    kernels = frozenset().union(*map(using, files)) if files else frozenset()
    if kernels:
        said.append(first_failure(rows(ROOT / KERNELS, lambda task: concerns(task, kernels))))
    return [line for line in said if line]


def kept(path: Path) -> list[Outcome]:
    """Outcomes that an earlier run has written with --out."""
    read = json.loads(path.read_text())
    return [Outcome(**{**values, "fault": Fault(**values["fault"])}) for values in read]


def joined(outcomes: list[Outcome]) -> list[Outcome]:
    """The last outcome of each fault that is still in the lists, in their order; then those of faults made by rule."""
    last = {(o.fault.area, o.fault.file, o.fault.what): o for o in outcomes}
    listed = [last.pop((f.area, f.file, f.what), None) for area in AREAS for f in load(area)]
    return [*(o for o in listed if o), *(o for o in last.values() if o.fault.place)]


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--area", choices=AREAS, action="append", help="part of the project; may be repeated")
    parser.add_argument("--match", action="append", help="only faults whose words, file or kernel hold this, or this")
    parser.add_argument("--random", type=int, default=200, help="faults made by rule in emitted files")
    parser.add_argument("--seed", type=int, default=SEED, help="of those")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-tests", action="store_true", help="ask `prove` and `generate --check` alone")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    parser.add_argument("--out", type=Path, help="file for the outcomes, JSON")
    parser.add_argument("--add", type=Path, action="append", default=[], help="outcomes of other parts, from --out")
    chosen = parser.parse_args()
    areas = chosen.area or list(AREAS)
    listed = [fault for area in areas for fault in load(area)]
    drawn = operators.draw(chosen.random, chosen.seed) if "emitted" in areas and chosen.random else []
    faults = [f for f in (*listed, *drawn) if any(m in f"{f.what} {f.file} {f.place}" for m in chosen.match or [""])]
    if chosen.no_tests:
        faults = [replace(fault, tests=()) for fault in faults]
    begin = time.perf_counter()
    if any(f.area in ("emitted", "manifest") for f in faults):
        rendered()  # once, before the processes part
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("CARTALG_MUTANTS_DIR")) as place,
        ProcessPoolExecutor(
            chosen.processes, mp_context=get_context("fork"), initializer=start, initargs=(Path(place),)
        ) as pool,
    ):
        futures = {pool.submit(check, fault): n for n, fault in enumerate(faults)}
        found: list[Outcome | str] = [""] * len(faults)
        for done, future in enumerate(as_completed(futures), start=1):
            n = futures[future]
            found[n] = outcome = future.result()
            print(f"{done}/{len(faults)} {table.line(outcome)}", flush=True)
        outcomes = [o for o in found if isinstance(o, Outcome)]
        if broken := spoilt(outcomes, pool):
            print("without any fault:", *broken, sep="\n  ")
    outcomes = joined([*(o for path in chosen.add for o in kept(path)), *outcomes])
    stale = [o for o in found if isinstance(o, str)]
    seconds = time.perf_counter() - begin
    print(table.summary(outcomes), *stale, f"{seconds:.0f} s", sep="\n")
    if chosen.out:
        chosen.out.write_text(json.dumps([asdict(o) for o in outcomes], indent=1))
    if chosen.write:
        table.write(outcomes)
    unseen = [o for o in outcomes if not o.caught and not table.equivalent(o)]
    return 1 if unseen or stale or broken else 0


if __name__ == "__main__":
    sys.exit(main())
