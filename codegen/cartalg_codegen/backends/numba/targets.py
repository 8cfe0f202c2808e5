"""What machine code is made for: a level of the x86-64 architecture, or the processor at hand where there is none.

Code for a level runs on every processor that has it, so what one machine has made another can use. With 512-bit vectors
allowed, it is as fast as code for the processor itself (docs/decisions.md).
"""

from functools import cache
from pathlib import Path
from typing import Any

#: The levels, the highest first: what Linux calls their abilities, what LLVM is told beside the name, and bytes of a
#: vector register.
LEVELS: dict[str, tuple[tuple[str, ...], str, int]] = {
    "x86-64-v4": (("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"), "-prefer-256-bit", 64),
    "x86-64-v3": ((), "", 32),
}
#: Every level above needs these.
COMMON = ("avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")
#: Where no level is known.
NATIVE = "native"
#: Bytes of a vector there: not measured.
NATIVE_VECTOR = 32
#: LLVM's effort: 2 gives the code of 3 here in less time.
EFFORT = 2


@cache
def level() -> str:
    """The highest level of the processor at hand, or `NATIVE`."""
    try:
        return level_of(Path("/proc/cpuinfo").read_text())
    except OSError:
        return NATIVE


def level_of(cpuinfo: str) -> str:
    """The level of a processor that Linux describes so."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((value.split() for name, _, value in lines if name.strip() == "flags"), [])
    return next((name for name, (own, *_) in LEVELS.items() if {*COMMON, *own} <= {*flags}), NATIVE)


def vector_bytes(target: str) -> int:
    """Bytes of a vector register of a level, or of `NATIVE`."""
    return LEVELS[target][2] if target in LEVELS else NATIVE_VECTOR


@cache
def _llvm() -> Any:
    """LLVM, ready. A frame of rank 6 has 455 entries; of more than 250 places LLVM no longer asks which may overlap."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.set_option("cartalg", "-alias-set-saturation-threshold=4096")
    return llvm


@cache
def machine(target: str) -> tuple[Any, str]:
    """LLVM's machine for a level or `NATIVE`, and its name with all that it can."""
    llvm = _llvm()
    if target == NATIVE:
        name, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    else:
        name, features = target, LEVELS[target][1]
    made = llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=EFFORT, reloc="pic", codemodel="default"
    )
    return made, f"{name} {features}"
