"""Copies of the repository and of kernel sets to plant faults in. Files are links until one is changed."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults import KERNELS, ROOT, Fault

from cartalg_codegen.emit import MANIFEST, digest

#: What a copy of the repository needs so that its tests run.
PARTS = ("cartalg", "codegen", "generated", "tests", "docs", "pyproject.toml", "README.md")


def link(source: Path, target: Path) -> None:
    """A copy of a folder or file whose files are hard links, or copies where the system makes none."""

    def one(a: str, b: str) -> str:
        try:
            os.link(a, b)
        except OSError:
            shutil.copy2(a, b)
        return b

    if source.is_dir():
        shutil.copytree(source, target, copy_function=one, dirs_exist_ok=True)
    else:
        one(str(source), str(target))


def tree(target: Path) -> Path:
    """A copy of the repository at `target`."""
    target.mkdir(parents=True)
    for part in PARTS:
        link(ROOT / part, target / part)
    return target


@contextmanager
def planted(fault: Fault, root: Path) -> Iterator[None]:
    """The fault in a copy of the repository, as long as the context lasts."""
    path, original = root / fault.file, ROOT / fault.file
    before = original.read_text() if original.is_file() else None
    after = fault.text(before)
    replace(path, after)
    listing = None
    try:
        if fault.file.startswith(str(KERNELS)) and fault.hash == "fits":
            listing = rehash(root / KERNELS, str(Path(fault.file).relative_to(KERNELS)), after)
        yield
    finally:
        path.unlink(missing_ok=True)
        if before is not None:
            link(original, path)
        if listing:
            listing.unlink()
            link(ROOT / KERNELS / MANIFEST, listing)


def replace(path: Path, text: str | None) -> None:
    """Write a file that may be a link, or remove it."""
    path.unlink(missing_ok=True)
    if text is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def rehash(folder: Path, file: str, text: str | None) -> Path | None:
    """Make the manifest's hash of a file fit its text; returns the manifest if it had to be changed."""
    path = folder / MANIFEST
    if file == MANIFEST or text is None:
        return None
    listing = path.read_text()
    for entry in json.loads(listing)["kernels"].values():
        if entry["sha256"].get(file):
            replace(path, listing.replace(entry["sha256"][file], digest(text)))
            return path
    return None
