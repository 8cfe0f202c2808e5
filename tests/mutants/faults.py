"""Faults to plant: read from `lists/*.yaml`, one change of one file each.

A file of faults is a list of groups; a group names a file, what its faults have in common, and the faults:

    - file: numba_kernels/harmonics/harmonics_l2.py   # below generated/cartalg_kernels, or from the repository's root
      kernels: [harmonics_l2]   # faults of the generator: the kernels that are emitted anew and proved
      rules: 2                  # and the rules, to this rank
      tests: [tests/codegen]    # what is run where `prove` sees nothing
      faults:
        - what: only the first row is computed
          after: "def backward("   # optional: `old` is looked for behind this text
          old: range(start, stop)
          new: range(start, start + 1)

`old` is looked for as it stands, or as a regular expression if it begins with `re:`. In the place of old and new a
fault may have `append: text`, `create: text` (a file that is not there) or `remove: true`. `hash: keep` leaves the
manifest's hash of the file as it is; otherwise it is made to fit, so that only a proof can see the fault.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
KERNELS = Path("generated/cartalg_kernels")
#: Parts of the project, in the order of the table; each has a file of faults, or several.
AREAS = {
    "emitted": "Emitted files",
    "manifest": "The manifest and the folder",
    "generator": "The generator",
    "rules": "Rules and printed formulas",
    "wrappers": "Operators and the compiled path",
    "model": "Layers, engine, data, training",
}


class Stale(ValueError):
    """A fault that does not fit the file any more."""


@dataclass(frozen=True)
class Fault:
    """One fault, as in the file; `file` is the path from the repository's root."""

    area: str
    what: str
    file: str
    old: str = ""
    new: str = ""
    after: str = ""
    append: str = ""
    create: str | None = None
    remove: bool = False
    hash: str = "fits"
    kernels: tuple[str, ...] = ()
    rules: int = 0
    tests: tuple[str, ...] = ()
    #: Of a fault found by the automatic operators: the statement before, as a place to find it again.
    place: str = ""

    def text(self, before: str | None) -> str | None:
        """The file with the fault, None if it is removed.

        Args:
            before: The file without it, None if there is none.
        Raises:
            Stale: If the fault does not fit the file.
        """
        if (before is None) != (self.create is not None):
            raise Stale(f"{self.file} is {'missing' if before is None else 'there'}: {self.what}")
        if before is None or self.remove:
            return self.create
        if self.append:
            return before + self.append
        start = before.find(self.after)
        pattern = self.old.removeprefix("re:") if self.old.startswith("re:") else re.escape(self.old)
        place = re.compile(pattern).search(before, start + len(self.after)) if start >= 0 and self.old else None
        if not place:
            raise Stale(f"{self.file} does not hold {self.after!r} and then {self.old!r}: {self.what}")
        if place[0] == self.new:
            raise Stale(f"{self.file}: nothing changes: {self.what}")
        return before[: place.start()] + self.new + before[place.end() :]


def load(area: str) -> Iterator[Fault]:
    """The faults of one part of the project.

    Raises:
        ValueError: If a file says something else than the form above.
    """
    for path in sorted((ROOT / "tests/mutants/lists").glob(f"{area}*.yaml")):
        for group in yaml.safe_load(path.read_text()):
            common = {key: value for key, value in group.items() if key != "faults"}
            for fault in group["faults"]:
                values = {**common, **fault}
                values |= {key: tuple(values[key]) for key in ("kernels", "tests") if key in values}
                if not (ROOT / values["file"].split("/")[0]).is_dir():
                    values["file"] = str(KERNELS / values["file"])
                try:
                    yield Fault(area=area, **values)
                except TypeError as error:
                    raise ValueError(f"{path.name}, {fault.get('what')}: {error}") from None
