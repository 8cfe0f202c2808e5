"""`cartalg export`: a folder with a model's artefact, the library that runs it, an example and a wrapper."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cartalg import __version__
from cartalg.compilation import compile_all
from cartalg.export.artefact import content
from cartalg.export.operators import NotExported
from cartalg.export.pairs import with_every_pair
from cartalg.export.program import program
from cartalg.files import whole, write_file
from cartalg.model import Potential
from cartalg.ops.functions import resolve
from cartalg_codegen.backends.numba.objects import Job, kept
from cartalg_codegen.backends.numba.targets import LEVELS, NATIVE, level

RUNTIME = Path(__file__).parent / "runtime"
ARTEFACT, LIBRARY, SOURCES = "model.cartalg", "libcartalg.so", "source"
#: What lies beside the library, not in the folder of its sources.
BESIDE = ("cartalg.h", "example.c", "Makefile", "cartalg_model.py")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden")
#: Called with (what is done, number done, number in all).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exported:
    """What was written: the files, and the levels of the code."""

    artefact: Path
    library: Path | None
    levels: tuple[str, ...]


def export(
    model: Potential, folder: Path, levels: Iterable[str] = (), library: bool = True, progress: Progress | None = None
) -> Exported:
    """Write a model as a library.

    Args:
        model: The model.
        folder: To be written to.
        levels: Of x86-64, by name; by default that of this processor.
        library: Compile the library; without it only its sources are written.
        progress: Called after each kernel that is compiled.
    Raises:
        NotExported: If the model, or this machine, has no such library; the message says why.
        FileNotFoundError: If there is no C compiler.
        ValueError: For a level that is not known.
    """
    wanted = tuple(dict.fromkeys(levels)) or (level(),)
    unknown = [name for name in wanted if name not in LEVELS]
    if wanted == (NATIVE,):
        raise NotExported("libraries are made on x86-64 with AVX2, and for it, and this processor is another")
    if unknown:
        raise ValueError(f"no level {unknown[0]}; there are {', '.join(LEVELS)}")
    compiler = _compiler() if library else ""
    artefact = _artefact(model, wanted, progress or (lambda *_: None))
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(RUNTIME.iterdir()):
        if path.is_file():
            write_file((folder if path.name in BESIDE else folder / SOURCES) / path.name, path.read_bytes())
    write_file(folder / ARTEFACT, artefact)
    if library:
        _compile(compiler, folder)
    return Exported(folder / ARTEFACT, folder / LIBRARY if library else None, wanted)


def _artefact(model: Potential, levels: Sequence[str], progress: Progress) -> bytes:
    config = model.config
    if config.radial_mode == "direct":
        raise NotExported("radial_mode: direct has no kernel; train or convert with radial_mode: table")
    if resolve(model.backend, model.embedding).autograd:
        raise NotExported(f"backend {model.backend} has no machine code; load the model with backend numba")
    long = [p.name for p in config.properties if len(p.name) > 31]
    if long:
        raise NotExported(f"the name of the property {long[0]} is longer than 31 letters")
    try:
        found = program(with_every_pair(model)._outputs)
    except NotExported as error:
        raise NotExported(f"this model cannot be exported: {error}") from error
    jobs = {call.kernel.job for call in found.calls if call.kernel}
    codes = {name: _codes(jobs, name, progress) for name in levels}
    tensors = {p.name: 3**p.order for p in config.properties}
    about = {
        "elements": list(model.elements),
        "cutoff": config.cutoff,
        "units": "angstrom, eV",
        "precision": config.dtype,
        "levels": list(levels),
        "tensors": [p.model_dump(mode="json", exclude={"key"}) for p in config.properties],
        "made by": f"cartalg {__version__}",
        "config": config.model_dump(mode="json"),
    }
    return content(found, about, tensors, codes)


def _codes(jobs: Iterable[Job], target: str, progress: Progress) -> dict[Job, bytes]:
    """Machine code of jobs for a level, by the jobs as they were asked for."""
    asked = {job: replace(job, target=target) for job in jobs}
    compile_all(sorted(asked.values(), key=str), progress)
    found = {job: kept(own) for job, own in asked.items()}
    missing = [str(job) for job, code in found.items() if code is None]
    if missing:
        raise NotExported(
            f"{missing[0]} was compiled and is not in the cache; set CARTALG_CACHE_DIR to a folder of yours"
        )
    return {job: code for job, code in found.items() if code is not None}


def _compiler() -> str:
    """The C compiler: $CC, or one of the usual names."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise FileNotFoundError(
        "no C compiler: install gcc or clang or name yours in CC, or give --sources to compile the library elsewhere"
    )


def _compile(compiler: str, folder: Path) -> None:
    sources = sorted(str(path) for path in (folder / SOURCES).glob("*.c"))
    with whole(folder / LIBRARY) as library:
        command = [compiler, *FLAGS, f"-I{folder}", *sources, "-o", str(library), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            said = [*(done.stderr + done.stdout).strip().splitlines(), "nothing was said"]
            raise NotExported(f"{compiler} did not compile the library: {said[0]}")
        library.chmod(0o755)
