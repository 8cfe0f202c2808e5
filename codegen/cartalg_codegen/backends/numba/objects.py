"""Machine code of emitted functions: what it is made of, where it is kept, and how it is loaded.

A kept object is named by the hash of everything that it was made from (emitted files, argument types, compiler, LLVM,
processor) and begins with the hash of its content. Two folders hold such objects: the one that came with the library,
made for the usual kernels by ``cartalg compile``, and the user's cache. One that cannot be read, or was cut or
changed, is made anew; one that could be someone else's is not loaded.
"""

import ctypes
import hashlib
import json
import logging
import mmap
import struct
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

import llvmlite

from cartalg.files import OBJECTS, shipped_folder, write_file
from cartalg_codegen.backends.folders import cache_root, is_trusted
from cartalg_codegen.backends.numba.loader import read
from cartalg_codegen.backends.numba.targets import LEVELS, machine
from cartalg_codegen.backends.numba.values import Kind, Precision

#: What the machine code of a function holds: it on a share of its rows, and the same for a thread that asks.
FUNCTIONS = ("cartalg_block", "cartalg_region")
INDEX = Path(OBJECTS).name
#: Modules that machine code depends on.
_MAKERS = ("compiler", "entry", "values", "targets", "making")
log = logging.getLogger("cartalg.kernels")


@dataclass(frozen=True)
class Job:
    """A function of an emitted file for types of arguments and a processor.

    Attributes:
        folder, version: Of the set's emitted files, as in `loader.Source`.
        source: The file, ``kind.module``.
        stage: The function, with arguments (start, stop, thread, *kinds).
        kinds: Types of the arguments after the first three.
        columns: For each, 0, or where lanes are rows the number of columns, negative if the array is written.
        precision: Of reals and lanes.
        target: A level, or ``"native"``.
    """

    folder: str
    version: str
    source: str
    stage: str
    kinds: tuple[Kind, ...]
    columns: tuple[int, ...]
    precision: Precision
    target: str

    def __str__(self) -> str:
        return f"{self.source.partition('.')[2]} {self.stage}"

    @cached_property
    def about(self) -> str:
        """All that the machine code depends on beside LLVM."""
        digest = read(self.folder, self.version, self.source).digest
        kinds, target = list(map(str, self.kinds)), self.target
        if target not in LEVELS:
            target = machine(target)[1]  # the processor's own name
        return f"{_compiler()} {target} {self.source} {self.stage} {digest} {kinds} {self.columns} {self.precision}"

    def key(self, llvm: str = llvmlite.__version__) -> str:
        """The name of the object that a version of llvmlite makes."""
        return hashlib.sha256(f"{self.about} llvmlite {llvm}".encode()).hexdigest()

    def file(self, llvm: str = llvmlite.__version__) -> str:
        """The name of its object."""
        return f"{self.key(llvm)}.o"

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        kinds = [[kind.scalar, kind.axes] for kind in self.kinds]
        return {**vars(self), "kinds": kinds, "precision": [self.precision.bits, self.precision.width]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """From another process."""
        names = ("folder", "version", "source", "stage", "target")
        kinds, precision = tuple(Kind(*kind) for kind in data["kinds"]), Precision(*data["precision"])
        return cls(**{n: data[n] for n in names}, kinds=kinds, columns=tuple(data["columns"]), precision=precision)


@cache
def _compiler() -> str:
    """A hash of the compiler itself."""
    texts = [(Path(__file__).parent / f"{name}.py").read_bytes() for name in _MAKERS]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def shipped_objects() -> Path:
    """The folder of the objects that came with the library; it need not be there."""
    return (shipped_folder() / OBJECTS).parent


def cached_objects() -> Path:
    """The folder of the objects that this user's processes have made."""
    return cache_root() / "objects"


def kept(job: Job) -> bytes | None:
    """The machine code of a job, if it is there and can be trusted."""
    llvm, listed = _shipped()
    if listed:
        name = job.file(llvm)
        if name in listed:
            code = content(shipped_objects() / name)
            if code is not None and hashlib.sha256(code).hexdigest() == listed[name]["sha256"]:
                return code
            log.warning("%s is damaged (%s), so it is compiled; reinstall cartalg", shipped_objects() / name, job)
    folder = cached_objects()
    path = folder / job.file()
    try:
        if not is_trusted(folder):
            _refuse(folder)
            return None
        return content(path) if is_trusted(path) else None
    except OSError:
        return None


def keep(folder: Path, job: Job, code: bytes) -> Path:
    """Write machine code where it is found again. Raises OSError where that is not possible."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / job.file()
    write_file(path, hashlib.sha256(code).digest() + code)
    return path


def content(path: Path) -> bytes | None:
    """The code of a kept object; None if there is none, or another than was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    return code if code and hashlib.sha256(code).digest() == digest else None


@cache
def _shipped() -> tuple[str, dict[str, Any]]:
    """llvmlite's version that made the objects that came with the library, and their list."""
    try:
        index = json.loads((shipped_objects() / INDEX).read_bytes())
        return index["llvmlite"], index["objects"]
    except FileNotFoundError:
        return "", {}
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s cannot be read, so kernels are compiled: %s", shipped_objects() / INDEX, error)
        return "", {}


@cache
def _refuse(folder: Path) -> None:
    """Said once: without it a user would wonder why kernels are compiled at every start."""
    log.warning("%s: others can write there, so nothing is loaded from it; remove it, or make it yours alone", folder)


class Library:
    """Machine code in memory, as long as this lives."""

    def __init__(self, code: bytes) -> None:
        if code.startswith(b"\x7fELF"):
            self._code: Any = _Linked(code)
            self.addresses = self._code.addresses
            return
        starts, image = struct.unpack_from("<2Q", code), code[16:]
        self._code = mmap.mmap(-1, len(image))
        self._code.write(image)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        if _libc().mprotect(base, len(self._code), mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "this system does not let a process run code that it has loaded")
        self.addresses = tuple(base + start for start in starts)


class _Linked:
    """An object that LLVM links and loads: where images are not made, on machines other than x86-64."""

    def __init__(self, code: bytes) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.addresses = tuple(self._engine.get_function_address(name) for name in FUNCTIONS)


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library
