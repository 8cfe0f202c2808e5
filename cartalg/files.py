"""Files: written whole, and where the library's own kernels are."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

#: In a folder of kernels: what machine code lies beside the list. Made of the kernels, no part of their set.
OBJECTS = "objects/index.json"


@contextmanager
def whole(path: Path, lasting: bool = False) -> Iterator[Path]:
    """A temporary file beside `path`, with its suffix, that takes its place at the end of the block.

    Folders are made as needed; a failure leaves what was there, and no temporary file.

    Args:
        path: The file.
        lasting: Whether it is on the disk then, whatever becomes of the machine: takes some 15 ms.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        if lasting:
            settle(temporary)
        temporary.replace(path)
        if lasting:
            settle(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Have the system put a file's content, or a folder's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole: `whole` with its content at hand. Text is written as UTF-8, lines as they are."""
    with whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@cache
def shipped_folder() -> Path:
    """The folder of the package `cartalg_kernels`, not imported for that.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    spec = importlib.util.find_spec("cartalg_kernels")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package cartalg_kernels is missing: reinstall cartalg, or run `make generate`")
    return Path(spec.origin).parent
