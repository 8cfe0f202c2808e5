"""What `cartalg prove` says of some kernels and rules of a kernel set: the first row that fails.

`anew` is the check of a faulty generator or rule, in a process that runs the copy of the repository that holds it:
kernels are emitted, compared with those of the set, as `cartalg generate --check` does, and proved.
"""

import json
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cartalg.files import shipped_folder
from cartalg_codegen import emit
from cartalg_codegen.proofs import report
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import parse

#: A proof that takes longer does not end. The longest of a kernel that a fault is planted in takes some ten seconds.
SECONDS = 120


class Endless(BaseException):
    """A proof that does not end: nothing that a proof would take for a failure of its own."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise Endless in what takes longer."""

    def late(*_: Any) -> None:
        raise Endless

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def first_failure(tasks: Iterable[report.Task]) -> str:
    """The first row that fails, with what it says; empty if all hold."""
    for task in tasks:
        try:
            with limited(SECONDS):
                row = report.prove(task)
        except Endless:
            return f"{task.name}: runs without end"
        if row.failure:
            return f"{task.name}: {row.failure}"
    return ""


def rows(folder: Path, wanted: Callable[[report.Task], Any], rank: int = 1) -> list[report.Task]:
    """The rows of a report on a kernel set that are wanted, those of emitted files, short ones first."""
    found = [task for task in report.tasks(rank, folder) if task.kind != "kernel" or task.arguments[3]]
    return sorted(filter(wanted, found), key=lambda task: task.size)


def anew(kernels: tuple[str, ...], rules: int) -> dict[str, str]:
    """Emit kernels, compare them with those that are there, prove them and the rules to a rank.

    Returns:
        "prove", "check": what each says, empty where it sees nothing.
    """
    wanted = Set(max([1, *(parse(name).rank for name in kernels)]), only=kernels)
    shipped = shipped_folder()
    try:
        with limited(SECONDS):
            files = emit.render(wanted) if kernels else {}
    except Exception as error:
        said = f"nothing is emitted: {type(error).__name__}: {error}"
        files, found = {}, {"check": said, "prove": ""}
    else:
        found = {"check": differences(files, shipped) if files else "", "prove": ""}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "kernels"
        if files:
            emit.write(files, folder)
            found["prove"] = first_failure(rows(folder, lambda task: task.kind in ("set", "kernel")))
        if rules and not found["prove"]:
            tasks = rows(shipped, lambda task: task.kind not in ("set", "kernel"), rules)
            found["prove"] = first_failure(tasks)
    return found


def differences(files: dict[str, str], folder: Path) -> str:
    """The first of these emitted files, or of their entries in the manifest, that the folder has otherwise."""
    listings = [json.loads(text)["kernels"] for text in (files[emit.MANIFEST], (folder / emit.MANIFEST).read_text())]
    for name, entry in listings[0].items():
        if name in listings[1] and entry != listings[1][name]:
            return f"changed: {name}"
    for name, text in files.items():
        if name != emit.MANIFEST and (folder / name).is_file() and (folder / name).read_text() != text:
            return f"changed: {name}"
    return ""
