"""From specifications to files: each is printed by every backend that has it, and listed in a manifest.

    rules (cartalg.symbolic) -> specs -> derive -> lowering -> backends -> files + manifest.json

Output is deterministic: no date, no machine, no order that depends on a hash seed.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from cartalg.collector import at_rest
from cartalg.files import write_file
from cartalg_codegen.backends import BACKENDS, Backend
from cartalg_codegen.counts import operations
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import KernelSpec, from_json
from cartalg_codegen.text import header

GENERATOR = "2"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Listed:
    """A kernel in a manifest.

    Attributes:
        spec: What it is.
        operations: Multiplications and additions of each stage.
        sha256: Of each of its files, by path in the set.
    """

    spec: KernelSpec
    operations: Mapping[str, int]
    sha256: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {**self.spec.to_json(), "operations": dict(self.operations), "sha256": dict(self.sha256)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From a manifest."""
        return cls(from_json(data), dict(data["operations"]), dict(data["sha256"]))


@dataclass(frozen=True)
class Manifest:
    """What a kernel set holds.

    Attributes:
        chosen: The set that was asked for: emitted anew, it gives the same files.
        kernels: By name, in the order of the pipeline.
    """

    chosen: Set
    kernels: Mapping[str, Listed]

    @property
    def max_rank(self) -> int:
        """Highest rank of any tensor in the set."""
        return self.chosen.max_rank

    def to_json(self) -> str:
        """The file."""
        head = {"generator": GENERATOR, **self.chosen.to_json()}
        listing = {name: kernel.to_json() for name, kernel in self.kernels.items()}
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in listing.items()]
        body = json.dumps(head, indent=1)[:-2]
        return body + ',\n "kernels": {\n' + ",\n".join(lines) + "\n }\n}\n"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From a file. Raises ValueError for another generator's, KeyError where something is missing."""
        if data["generator"] != GENERATOR:
            raise ValueError(f"it was written by generator {data['generator']}, this is generator {GENERATOR}")
        kernels = {name: Listed.from_json(value) for name, value in data["kernels"].items()}
        wrong = [name for name, listed in kernels.items() if listed.spec.name != name]
        if wrong:
            raise ValueError(f"{wrong[0]} is described as {kernels[wrong[0]].spec.name}")
        return cls(Set.from_json(data), kernels)


def kernel_files(spec: KernelSpec) -> dict[str, str]:
    """The files of one kernel, by path in a set."""
    files = {}
    for backend in BACKENDS.values():
        for part, body in backend.print(spec).items():
            text = kernel_header(spec, backend, part) + "\n" + body.rstrip() + "\n"
            files[backend.file(spec, part)] = text
    return files


def kernel_header(spec: KernelSpec, backend: Backend, part: str) -> str:
    """The comment at the top of an emitted file."""
    facts = [("Part", part)] if part else []
    facts.append(("Rule", spec.rule))
    if spec.formula and not part:
        facts.append(("Formula", spec.formula))
    facts.append(("Layout", spec.layout))
    counted = operations(spec)
    if backend.autograd:
        counted = {name: count for name, count in counted.items() if name.startswith(("forward,", "edge,"))}
    if counted and not part:
        facts.append(("Operations", "; ".join(f"{name} {count}" for name, count in counted.items())))
    facts.append(("Derivation", f"{spec.source}, generator {GENERATOR}, inputs sha256 {inputs_digest(spec)}"))
    return header(spec.name, facts)


@cache
def inputs_digest(spec: KernelSpec) -> str:
    """Of everything that the text is printed from: specification, coefficients, programs."""
    programs = getattr(spec, "programs", ())
    inputs = json.dumps(spec.to_json(), sort_keys=True) + repr(
        [(p.name, p.inputs, p.outputs, p.body) for p in programs]
    )
    return hashlib.sha256(f"{GENERATOR}\n{inputs}".encode()).hexdigest()[:16]


def render(chosen: Set, progress: Callable[[str, int, int], None] | None = None) -> dict[str, str]:
    """All files of a kernel set as {relative path: text}.

    Args:
        chosen: The set.
        progress: Called with (kernel name, number done, number in all) after each kernel.
    """
    files: dict[str, str] = {"__init__.py": header("Kernels for irreducible Cartesian tensors", [("List", MANIFEST)])}
    listing: dict[str, Listed] = {}
    todo = list(chosen.specs())
    for number, spec in enumerate(todo, start=1):
        with at_rest():
            texts = kernel_files(spec)
            files |= texts
            listing[spec.name] = Listed(spec, operations(spec), {path: digest(text) for path, text in texts.items()})
        if progress:
            progress(spec.name, number, len(todo))
    files[MANIFEST] = Manifest(chosen, listing).to_json()
    return files


def digest(text: str) -> str:
    """The hash of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write a kernel set, each file whole; emitted files that are no longer in the set are removed.

    Raises:
        FileExistsError: If the folder holds files but no kernel set: nothing of the user's is overwritten.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise FileExistsError(f"{folder} is not empty and holds no kernel set ({MANIFEST}); choose an empty folder")
    for relative, text in files.items():
        write_file(folder / relative, text)
    for stale in emitted(folder) - set(files):
        (folder / stale).unlink()


def differences(files: Mapping[str, str], folder: Path) -> list[str]:
    """What differs between a rendered set and a folder, one line a file; empty if the folder is current."""
    present = emitted(folder)
    result = [f"missing: {name}" for name in files if name not in present]
    result += [f"not part of the set: {name}" for name in sorted(present - set(files))]
    result += [f"changed: {n}" for n, text in files.items() if n in present and (folder / n).read_text() != text]
    return sorted(result)


def emitted(folder: Path) -> set[str]:
    """Files of a folder that a kernel set may hold, or that Python would import from it."""
    suffixes = {".py", *(b.suffix for b in BACKENDS.values())}
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix in suffixes and p.is_file()}
    return found | ({MANIFEST} if (folder / MANIFEST).is_file() else set())
