"""Object files as machine code that can be put anywhere in memory and run: sections laid out, references resolved.

Kernels call nothing but one another and hold nothing but code and constants, so this is all that a linker has to do
for them. LLVM's own linker would have to be loaded for it: 40 MB and 50 ms in every process that runs a kernel.

Source: System V ABI, AMD64 supplement, section 4.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

#: Types of sections, flags, machine and kinds of relocation that are used here, as in <elf.h>.
PROGBITS, SYMTAB, RELA, NOBITS, WRITE, ALLOC, X86_64 = 1, 2, 4, 8, 1, 2, 62
PC32, PLT32 = 2, 4


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class Unlinkable(ValueError):
    """An object that needs a true linker; the message says why."""


def link(code: bytes, wanted: tuple[str, ...]) -> tuple[bytes, list[int]]:
    """The content of memory that an ELF object for x86-64 stands for, and where functions begin in it.

    Args:
        code: The object.
        wanted: Names of functions.
    Raises:
        Unlinkable: If it is for another machine, refers to what it does not define, or holds variables.
    """
    if code[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", code, 18) != (X86_64,):
        raise Unlinkable("it is no ELF object for x86-64")
    sections = list(_sections(code))
    image, places = bytearray(), dict[int, int]()
    for number, section in enumerate(sections):
        if section.flags & ALLOC and section.kind in (PROGBITS, NOBITS) and section.size:
            if section.flags & WRITE or section.kind == NOBITS:
                raise Unlinkable("it holds variables")
            image += bytes(-len(image) % max(section.align, 1))
            places[number] = len(image)
            image += code[section.offset : section.offset + section.size]
    symbols = next(s for s in sections if s.kind == SYMTAB)
    names = sections[symbols.link].offset

    def symbol(number: int) -> tuple[str, int | None]:
        name, _, home, value = struct.unpack_from("<IHHQ", code, symbols.offset + 24 * number)
        text = code[names + name : code.index(b"\0", names + name)].decode()
        return text, places[home] + value if home in places else None

    for section in sections:
        if section.kind != RELA or section.info not in places:
            continue
        for at in range(section.offset, section.offset + section.size, 24):
            offset, about, addend = struct.unpack_from("<QQq", code, at)
            name, target = symbol(about >> 32)
            if about & 0xFFFFFFFF not in (PC32, PLT32) or target is None:
                raise Unlinkable(f"it refers to {name or 'a section'} in a way that is not known here")
            place = places[section.info] + offset
            struct.pack_into("<i", image, place, target + addend - place)
    found = dict(symbol(number) for number in range(symbols.size // 24))
    starts = [found.get(name) for name in wanted]
    if None in starts:
        raise Unlinkable(f"it lacks one of {', '.join(wanted)}")
    return bytes(image), [start for start in starts if start is not None]


def _sections(code: bytes) -> Iterator[_Section]:
    (start,), (size, count) = struct.unpack_from("<Q", code, 40), struct.unpack_from("<HH", code, 58)
    for at in range(start, start + size * count, size):
        _, kind, flags, _, offset, length, link, info, align, _ = struct.unpack_from("<IIQQQQIIQQ", code, at)
        yield _Section(kind, flags, offset, length, link, info, align)
