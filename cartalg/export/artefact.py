"""The file of an exported model: a program, its constants, and machine code for one or several levels of x86-64.

All numbers are little-endian and 64 bits wide. The file begins with `MAGIC`, the format, its own size, and the SHA-256
of all that follows the first 64 bytes; then come offset and size of each part:

    about       JSON for people and scripts: elements, cutoff, units, what it was made of
    numbers     elements, cutoff (a double), calls, blocks, kernels, levels, tensors; place of energies and of gradient
    elements    chemical symbols, 8 bytes each
    blocks      for each block of memory the coefficients of its bytes
    calls       one after the other, each with its length first
    kernels     for each level and kernel: offset and size of its code, and where the function begins in it
    levels      3 for x86-64-v3, 4 for x86-64-v4
    tensors     for each: name, 32 bytes; numbers of an atom, bytes of a number, place
    constants   weights, as kernels take them
    code        of all kernels; each can be put anywhere in memory

runtime/artefact.c reads it.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from cartalg.export.operators import NotExported
from cartalg.export.program import ALIGN, Call, Place, Program
from cartalg.export.steps import CODES, DTYPES
from cartalg_codegen.backends.numba.objects import Job

MAGIC, FORMAT = b"CARTALG\n", 1
HEADER = 64
PARTS = ("about", "numbers", "elements", "blocks", "calls", "kernels", "levels", "tensors", "constants", "code")
SECTIONS = ("setup", "atoms", "result", "others", "gradient")
KERNEL, GROUP = 100, 101
PAGE = 4096


def content(
    program: Program,
    about: Mapping[str, Any],
    tensors: Mapping[str, int],
    codes: Mapping[str, Mapping[Job, bytes]],
) -> bytes:
    """The file.

    Args:
        program: What runs.
        about: Has ``elements`` and ``cutoff``, in angstrom, and whatever else is worth saying.
        tensors: Numbers of an atom, for each tensor that the model predicts.
        codes: By level and job, machine code as `cartalg_codegen.backends.numba.making.made` gives it.
    Raises:
        NotExported: If code is no image that can be put anywhere in memory.
    """
    jobs = list(dict.fromkeys(call.kernel.job for call in program.calls if call.kernel))
    kernels, code = _code(jobs, codes)
    energies, gradient = (_place(program.outputs[name]) for name in ("energies", "gradient"))
    counts = [len(program.calls), len(program.blocks), len(jobs), len(codes), len(tensors)]
    real = DTYPES.index(program.outputs["gradient"].dtype)
    parts = {
        "about": json.dumps(about, indent=1).encode() + b"\0",
        "numbers": _words([len(about["elements"]), _bits(about["cutoff"]), *counts, *energies, *gradient, real]),
        "elements": b"".join(e.encode().ljust(8, b"\0") for e in about["elements"]),
        "blocks": _words([c for block in program.blocks for c in block]),
        "calls": b"".join(_call(call, jobs) for call in program.calls),
        "kernels": _words(kernels),
        "levels": _words([int(level[-1]) for level in codes]),
        "tensors": b"".join(
            name.encode().ljust(32, b"\0") + _words([size, DTYPES.index(place.dtype), *_place(place)])
            for name, size in tensors.items()
            for place in [program.outputs[name]]
        ),
        "constants": program.constants,
        "code": code,
    }
    body, directory = bytearray(16 * len(PARTS)), []
    for name in PARTS:
        body += bytes(-(HEADER + len(body)) % ALIGN)
        directory += [HEADER + len(body), len(parts[name])]
        body += parts[name]
    body[: 16 * len(PARTS)] = _words(directory)
    head = MAGIC + _words([FORMAT, HEADER + len(body)]) + hashlib.sha256(body).digest()
    return head.ljust(HEADER, b"\0") + bytes(body)


def _code(jobs: Sequence[Job], codes: Mapping[str, Mapping[Job, bytes]]) -> tuple[list[int], bytes]:
    """For each level and job where its code is, its size and where its function begins; and all of it."""
    table, code = list[int](), bytearray()
    for of_level in codes.values():
        for job in jobs:
            found = of_level[job]
            if found.startswith(b"\x7fELF"):
                raise NotExported(f"{job}: code that needs a linker; libraries are made for x86-64 alone")
            start, _ = struct.unpack_from("<2Q", found)
            code += bytes(-len(code) % ALIGN)
            table += [len(code), len(found) - 16, start]
            code += found[16:]
    return table, bytes(code)


def _call(call: Call, jobs: Sequence[Job]) -> bytes:
    """Length, section, code; of a kernel number, group and words, of a loop its axes, operands and two numbers."""
    words = [SECTIONS.index(call.section)]
    if call.kernel:
        group = call.kernel.group
        words += [GROUP if group else KERNEL, jobs.index(call.kernel.job), len(call.places)]
        words += [group.number, *group.words, *group.bytes] if group else [0] * 5
        for place in call.places:
            words += _place(place)
    else:
        words += [CODES.index(call.code), len(call.shape), *(c for size in call.shape for c in size), len(call.places)]
        for place in call.places:
            words += [DTYPES.index(place.dtype), *_place(place), *place.strides]
        words += [_bits(n) for n in (*call.numbers, 0.0, 0.0)[:2]]
    return _words([len(words) + 1, *words])


def _place(place: Place) -> list[int]:
    return [place.block, *place.offset]


def _bits(number: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", number))[0])


def _words(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)
