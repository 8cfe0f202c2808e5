"""Machine code: made by LLVM for the processor at hand, kept on the disk, and loaded.

A kept object is named by everything that it was made from (emitted files, argument types, compiler, processor) and
begins with the hash of its content. One that cannot be read, or was cut or changed, is made anew; one that could be
someone else's is not loaded.
"""

import ctypes
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from cartalg.files import write_file
from cartalg_codegen.backends.folders import cache_root, is_trusted

#: LLVM's effort: 2 gives the code of 3 here in less time.
LEVEL = 2
log = logging.getLogger("cartalg.kernels")


@cache
def target() -> tuple[Any, str]:
    """The machine that code is made for, and its name with all its abilities."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=LEVEL, reloc="pic", codemodel="default"
    )
    return machine, f"{name} {features} llvmlite {llvmlite.__version__}"


@cache
def _sources() -> bytes:
    """The compiler itself, which objects depend on."""
    return b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))


def compiled(made_from: str, text: Callable[[], str]) -> "Library":
    """Machine code for LLVM assembly, from the disk if it is there.

    Args:
        made_from: Says everything that the assembly depends on.
        text: Makes the assembly.
    """
    about = hashlib.sha256(_sources() + f"{target()[1]}\n{made_from}".encode()).hexdigest()
    path = cache_root() / "objects" / f"{about}.o"
    code = _kept(path)
    if code is None:
        code = _made(text())
        with suppress(OSError):  # no cache, no harm
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(path, hashlib.sha256(code).digest() + code)
    return Library(code)


def _kept(path: Path) -> bytes | None:
    """The code of a kept object; None if there is none that can be trusted."""
    try:
        if not is_trusted(path.parent):
            _refuse(path.parent)
            return None
        content = path.read_bytes() if is_trusted(path) else b""
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    return code if code and hashlib.sha256(code).digest() == digest else None


@cache
def _refuse(folder: Path) -> None:
    """Said once: without it a user would wonder why kernels are compiled at every start."""
    log.warning("%s: others can write there, so nothing is loaded from it; remove it, or make it yours alone", folder)


def _made(text: str) -> bytes:
    """LLVM assembly as an object file."""
    machine, _ = target()
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=LEVEL)
    options.loop_vectorization = options.slp_vectorization = False  # lanes are vectors already
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)  # type: ignore[no-any-return]


class Library:
    """Machine code in memory, as long as this lives."""

    def __init__(self, code: bytes) -> None:
        target()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> ctypes.c_void_p:
        """Where a function is."""
        return ctypes.c_void_p(self._engine.get_function_address(name))
