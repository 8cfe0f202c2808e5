"""Where the frames of an extended XYZ file are, and that its columns are what its lines hold.

A reader that looks for the names it knows says nothing of a name that is misspelt: without `pos` all atoms lie at the
origin, without `Properties` forces are columns of no meaning.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from cartalg.data.errors import DataError

_PROPERTIES = re.compile(rb'(?:^|\s)Properties\s*=\s*"?([^\s"]*)')
_DEFAULT = b"species:S:1:pos:R:3"


def layout(stream: BinaryIO, path: object) -> Iterator[tuple[int, int]]:
    """Of each frame, the number of its atoms and the byte after its last line.

    Args:
        stream: The file, from its beginning.
        path: Named in messages.
    Raises:
        DataError: If a frame is malformed or truncated, or its columns are not those that it says.
    """
    number = 0
    while line := stream.readline():
        if not line.strip() and not stream.read().strip():
            break  # empty lines at the end
        source = f"{path}, frame {number}"
        if not re.fullmatch(rb"\s*[0-9]+\s*", line):
            raise DataError(f"{source}: begins with {line[:40]!r}, not with a number of atoms")
        count, comment = int(line), stream.readline()
        if b"\r" in line.removesuffix(b"\r\n") or comment.count(b"\r") > comment.endswith(b"\r\n"):
            raise DataError(f"{source}: carriage returns within lines; give it the line ends of one system")
        bare = re.sub(rb'"[^"]*"', b"", comment)
        if b'"' in bare or any(bare.count(a) != bare.count(b) for a, b in ((b"[", b"]"), (b"{", b"}"))):
            raise DataError(f"{source}: quotes or brackets of its second line do not close, so labels would be lost")
        width = _width(comment, source) if count else 0
        for atom in range(count):
            line = stream.readline()
            if not line:
                raise DataError(f"{source}: truncated, it should have {count} atoms, and has {atom}")
            if not line.isascii():
                raise DataError(f"{source}: the line of atom {atom} holds what is neither a symbol nor a number")
            if len(line.split()) != width:
                raise DataError(
                    f"{source}: the line of atom {atom} has {len(line.split())} columns, but {width} are named; give "
                    "their names as Properties=species:S:1:pos:R:3:.."
                )
        if not comment:
            raise DataError(f"{source}: truncated, it should have {count} atoms")
        yield count, stream.tell()
        number += 1
    if not number:
        raise DataError(f"{path}: holds no frame")


def _width(comment: bytes, source: str) -> int:
    """Number of columns of an atom."""
    found = _PROPERTIES.search(comment)
    said = (found[1] if found else _DEFAULT).decode(errors="replace")
    names, _, widths = (said.split(":")[n::3] for n in range(3))
    if len(names) != len(widths) or not all(w.isascii() and w.isdigit() for w in widths):
        raise DataError(f"{source}: Properties={said} is not made of name:type:columns")
    for needed, others in (("species", ("species", "Z", "numbers")), ("pos", ("pos", "positions"))):
        if not {*others} & {*names}:
            raise DataError(f"{source}: Properties={said} names no {needed}")
    return sum(map(int, widths))
