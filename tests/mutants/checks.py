"""The three checks that a fault may be caught by: `cartalg prove`, `cartalg generate --check`, and the tests."""

import importlib
import json
import os
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath

import children
import prover
import scratch
from faults import KERNELS, ROOT, Fault

from cartalg_codegen import emit
from cartalg_codegen.proofs import report
from cartalg_codegen.sets import Set

#: Seconds that a run of tests, or of the prover, may take.
LIMIT = 900


@dataclass(frozen=True)
class Outcome:
    """What each check says of a fault; empty where it saw nothing, None where it was not asked."""

    fault: Fault
    prove: str | None = None
    check: str | None = None
    tests: str | None = None
    seconds: float = 0.0

    @property
    def caught(self) -> bool:
        """Whether any check saw it."""
        return bool(self.prove or self.check or self.tests)


class Checker:
    """Plants faults in a copy of the repository, and asks the checks.

    Args:
        place: Where the copy is made.
    """

    def __init__(self, place: Path) -> None:
        self.root = scratch.tree(place / f"tree-{os.getpid()}")
        self.cache = place / f"cache-{os.getpid()}"
        known = Path(os.environ.get("CARTALG_CACHE_DIR", Path.home() / ".cache/cartalg"))
        if known.is_dir():
            scratch.link(known, self.cache)

    def __call__(self, fault: Fault) -> Outcome:
        """Plant a fault, and ask the checks in turn: the tests only where `prove` is not asked or sees nothing."""
        start = time.perf_counter()
        with scratch.planted(fault, self.root):
            found = Outcome(fault)
            if fault.area in ("emitted", "manifest"):
                found = replace(found, prove=self.prove(fault), check=self.generate_check())
            elif fault.kernels or fault.rules:
                found = replace(found, **self.anew(fault))
            if fault.tests and not found.prove:
                found = replace(found, tests=self.run_tests(fault.tests))
        return replace(found, seconds=time.perf_counter() - start)

    def prove(self, fault: Fault) -> str:
        """The rows of a report that a change of a file of the kernel set can touch."""
        folder = self.root / KERNELS
        file = str(PurePosixPath(fault.file).relative_to(KERNELS))
        try:
            changed = changed_kernels(folder) if file == emit.MANIFEST else using(file)
            return prover.first_failure(prover.rows(folder, lambda task: concerns(task, changed)))
        except Exception as error:  # what a report cannot even begin with
            return f"{type(error).__name__}: {error}"

    def generate_check(self) -> str:
        """As `cartalg generate --check` on the kernel set."""
        return next(iter(emit.differences(rendered(), self.root / KERNELS)), "")

    def anew(self, fault: Fault) -> dict[str, str]:
        """What the faulty sources emit, compared and proved."""

        def work() -> int:
            found = importlib.import_module("prover").anew(fault.kernels, fault.rules)
            print(json.dumps(found))
            return 0

        status, said = children.run(self.root, self.cache, work, LIMIT)
        if status is None:
            return {"prove": "runs without end", "check": ""}
        if status:
            return {"prove": "", "check": "does not start: " + last_line(said)}
        found: dict[str, str] = json.loads(last_line(said))
        return found

    def run_tests(self, tests: tuple[str, ...]) -> str:
        """The first test that fails."""
        options = ("-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header")

        def work() -> int:
            return int(importlib.import_module("pytest").main([*options, *tests]))

        status, said = children.run(self.root, self.cache, work, LIMIT)
        if not status:  # or none: perhaps the machine is slow, which proves nothing
            return ""
        lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return lines[0] if lines else f"pytest ends with {status}: {last_line(said)}"


def last_line(text: str) -> str:
    """Of what a process printed."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no word")


@cache
def rendered() -> dict[str, str]:
    """The kernel set as the rules give it."""
    return emit.render(Set.from_json(json.loads((ROOT / KERNELS / emit.MANIFEST).read_text())))


def using(file: str) -> frozenset[tuple[str, str]]:
    """(backend, kernel) of a file of the kernel set, and of all kernels that import it."""
    path = PurePosixPath(file)
    backend, kernel = path.parts[0].removesuffix("_kernels"), path.stem.split("__")[0]
    imported = f".{kernel} import"
    files = (ROOT / KERNELS / path.parts[0]).rglob("*.py")
    return frozenset({(backend, kernel), *((backend, p.stem) for p in files if imported in p.read_text())})


def changed_kernels(folder: Path) -> frozenset[tuple[str, str]]:
    """(backend, kernel) of entries that two manifests have otherwise."""
    after, before = (json.loads((place / emit.MANIFEST).read_text())["kernels"] for place in (folder, ROOT / KERNELS))
    names = [name for name in after if after[name] != before.get(name)]
    return frozenset((backend, name) for name in names for backend in ("numba", "torch"))


def concerns(task: report.Task, kernels: frozenset[tuple[str, str]]) -> bool:
    """Whether a row is about one of these kernels, or about the set."""
    return task.kind == "set" or (task.kind == "kernel" and (task.arguments[1], task.arguments[0]) in kernels)
