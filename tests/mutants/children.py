"""Work in a child process that has the libraries, but not the project, imported already.

Starting Python and importing Torch, SymPy and pytest takes longer than most of the tests that a fault needs. So the
libraries are imported once, and each check runs in a fork: it takes the project from the copy that holds the fault.
"""

import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

LIBRARIES = (
    "ase", "ase.build", "ase.io", "flint", "llvmlite.binding", "numba", "numpy", "pydantic", "pytest",
    "safetensors", "sympy", "torch", "vesin", "yaml",
)  # fmt: skip
#: Modules of the project, which a child imports from the copy.
PROJECT = ("cartalg", "cartalg_codegen", "cartalg_kernels")


def preload() -> None:
    """Import the libraries."""
    for name in LIBRARIES:
        importlib.import_module(name)


def run(root: Path, cache: Path, work: Callable[[], int], seconds: int) -> tuple[int | None, str]:
    """Do some work on a copy of the project.

    Args:
        root: The copy.
        cache: The cache folder of compiled kernels.
        work: What is done; it imports the project itself, and returns an exit status.
        seconds: After which it is ended.
    Returns:
        The exit status, None if the time was over, and all that was printed.
    """
    sys.stdout.flush()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            _become(root, cache, work, output.fileno())
        status = _wait(child, time.monotonic() + seconds)
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _become(root: Path, cache: Path, work: Callable[[], int], output: int) -> None:
    """What the child does; it does not return."""
    status = 1
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(root)
        paths = [str(root), *(str(root / part) for part in ("codegen", "generated", "tests", "tests/mutants"))]
        os.environ |= {"PYTHONPATH": os.pathsep.join(paths[:4]), "CARTALG_CACHE_DIR": str(cache)}
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        sys.path[:] = [*paths, *(p for p in sys.path if Path(p).resolve() != Path(__file__).parent)]
        own = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__main__"}
        for name in [*sys.modules]:
            if name.partition(".")[0] in PROJECT or name in own:
                del sys.modules[name]
        importlib.invalidate_caches()
        status = work()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(int(status))


def _wait(child: int, until: float) -> int | None:
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
