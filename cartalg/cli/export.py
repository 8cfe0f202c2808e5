"""`cartalg export`: a model as a library without Python or Torch."""

from pathlib import Path
from typing import Annotated

import typer

from cartalg.cli.terminal import console, counting, needs, progress_bar, user_errors
from cartalg.collector import at_rest


@needs("train", "cartalg export")
def export(
    model: Annotated[Path, typer.Argument(help="Model file or folder of a run.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    level: Annotated[
        list[str] | None,
        typer.Option(help="x86-64-v3 or x86-64-v4; may be given twice. By default that of this processor."),
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Do not compile the library: write its C sources alone.")
    ] = False,
    lammps: Annotated[
        bool, typer.Option("--lammps", help="Compile a plugin for the installed LAMMPS, too: `pair_style cartalg`.")
    ] = False,
) -> None:
    """A model as a C library without Python or Torch: energies, forces, virial, the same numbers.

    `cartalg export runs/acac --output acac-library`, then `cd acac-library && make example && ./example model.cartalg`

    `cartalg export runs/acac --output acac-library --level x86-64-v3 --level x86-64-v4` runs on either processor

    `cartalg export runs/alloy --output alloy-library --lammps` for `lmp` itself, without Python (docs/lammps.md)

    The folder holds model.cartalg (weights and machine code, checked by its hash when it is read), libcartalg.so, its
    header cartalg.h, an example in C, and cartalg_model.py for Python with NumPy alone. What each call takes and gives:
    docs/export.md.
    """
    with at_rest(lasting=True):
        from cartalg.export.build import export as write
        from cartalg.export.plugin import write_plugin
        from cartalg.train.checkpoint import load_model

    with user_errors(), progress_bar(computes=True) as bar:
        if sorted(model.glob("member-*")):
            raise ValueError(f"{model} is a committee: export its members one by one, {model}/member-0 first")
        if lammps and sources:
            raise ValueError("--lammps compiles, --sources does not: give one of them")
        loaded = load_model(model)
        found = write(loaded, output, level or (), not sources, counting(bar, "compiling"))
        plugin = f", {write_plugin(output).name}" if lammps else ""
    size = found.artefact.stat().st_size / 1e6
    what = f"libcartalg.so{plugin}" if found.library else "sources of the library"
    console.print(
        f"{output}: {found.artefact.name} ({size:.1f} MB, code for {', '.join(found.levels)}), {what}, cartalg.h, "
        f"example.c, cartalg_model.py; elements by type: {', '.join(loaded.elements)}",
        highlight=False,
        soft_wrap=True,
    )
