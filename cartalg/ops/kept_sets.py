"""Kernel sets in the user's cache folder: emitted on request, and copies of sets that have been looked over.

Emitted files are run. A set that a model file names came from whoever wrote the file, so nothing of it is imported: it
is compared with what the generator emits, and what the generator has emitted is run in its place.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import cartalg.symbolic
import cartalg_codegen
from cartalg_codegen.backends.folders import cache_root, is_trusted
from cartalg_codegen.emit import MANIFEST, differences, render, write
from cartalg_codegen.sets import Set

log = logging.getLogger("cartalg.kernels")
#: Of a model file: whether folders of kernels that it names are run as they are.
TRUST_OPTION = "--trust-kernels"


class UntrustedKernels(ValueError):
    """A folder of kernels that holds something else than the generator emits."""


def keep(name: str, make: Callable[[], Mapping[str, str]], message: str) -> Path:
    """A folder of the cache with emitted files, written when it is first asked for; without a cache, of the process.

    Args:
        name: Of the folder; it stands for the files, of one state of the generator.
        make: Gives them.
        message: Logged before they are made; ``%s`` is the folder.
    Raises:
        PermissionError: If someone else could have written what lies there.
    """
    folder = cache_root() / "kernels" / f"{name}-{_sources()}"
    if not (folder / MANIFEST).is_file():
        log.warning(message, folder)
        files = make()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_at_once(files, folder)
        except OSError:  # no cache: for this process alone
            folder = Path(tempfile.mkdtemp(prefix="cartalg-"))
            write(files, folder)
    if not is_trusted(folder):
        raise PermissionError(
            f"{folder}: others can write there, and its files are run; remove it, or make it yours alone"
        )
    return folder


def verified(folder: Path) -> Path:
    """A copy, in the cache, of a kernel set that someone else may have written. Nothing in `folder` is imported.

    The set that its manifest describes is emitted anew, once for each state of the generator, and compared with it.

    Raises:
        FileNotFoundError: If there is no set.
        UntrustedKernels: If it is not what the generator emits; the message names the first file.
        PermissionError: As `keep`.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no kernel set in {folder}, which a model file names")
    text = path.read_bytes()

    def emitted() -> dict[str, str]:
        try:
            chosen = Set.from_json(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise UntrustedKernels(f"{path} is no manifest of this version: {error}") from None
        files = render(chosen)
        _refuse(folder, differences(files, folder))
        return files

    message = f"a model file names the kernels in {folder}: comparing them with what is emitted here; kept in %s"
    kept = keep(f"set-{hashlib.sha256(text).hexdigest()[:16]}", emitted, message)
    known = {name: (kept / name).read_text() for name in _listed(kept)}
    _refuse(folder, differences(known, folder))
    return kept


def _listed(folder: Path) -> list[str]:
    """The files of a kept set."""
    kernels = json.loads((folder / MANIFEST).read_bytes())["kernels"]
    return [MANIFEST, "__init__.py", *(name for kernel in kernels.values() for name in kernel["sha256"])]


def _refuse(folder: Path, differing: list[str]) -> None:
    if differing:
        raise UntrustedKernels(
            f"{folder}, which a model file names, is not what `cartalg generate` emits here ({differing[0]}"
            f"{f' and {len(differing) - 1} more' if differing[1:] else ''}), and its files would be run; if you trust "
            f"where they come from, use `cartalg {TRUST_OPTION} ..` or `trust_kernels=True`"
        )


def _write_at_once(files: Mapping[str, str], folder: Path) -> None:
    """A kernel set that is there in whole or not at all, whoever else makes it at the same time."""
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        write(files, temporary / "set")
        (temporary / "set").chmod(0o700)
        try:
            (temporary / "set").rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@cache
def _sources() -> str:
    """A hash of all that decides what is emitted."""
    packages = [Path(str(module.__file__)).parent for module in (cartalg.symbolic, cartalg_codegen)]
    texts = [path.read_bytes() for package in packages for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]
