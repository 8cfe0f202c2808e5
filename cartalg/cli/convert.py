"""`cartalg convert`: models of other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cartalg.cli.terminal import console, needs, user_errors


@needs("mace", "cartalg convert")
def convert(
    file: Annotated[Path, typer.Argument(help="Model file of mace-torch.")],
    output: Annotated[Path, typer.Option(help="Folder to write, as of a training run.")],
    trust: Annotated[
        bool, typer.Option("--trust", help="The file may run its code: MACE files are pickles, and reading runs them.")
    ] = False,
    head: Annotated[str | None, typer.Option(help="Which head, where there are several.")] = None,
    dtype: Annotated[
        Literal["float32", "float64"] | None, typer.Option(help="Precision; by default the file's.")
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Radial networks on each edge, not tables: exact, and slow.")
    ] = False,
) -> None:
    """A MACE model on these kernels: the same energies, in a folder that every command and the calculator take.

    `cartalg convert MACE.model --output runs/mace --trust`, then `cartalg evaluate runs/mace test.xyz`

    The file is read by mace's own library, which unpickles it: that runs code that the file names, so it wants --trust.
    The folder holds safetensors and is never unpickled. Both models are compared on a cluster before anything is
    written; what has no equal here is named, and nothing is written.
    """
    with user_errors():
        from cartalg.interfaces.mace.run import convert_file

        found = convert_file(file, output, trust, head, dtype, direct)
    config = found.potential.config
    radial = "networks on each edge" if direct else f"tables of {config.knots} intervals"
    console.print(
        f"{output}: {config.layers} layers, {config.channels} channels, {len(found.potential.elements)} elements, "
        f"{config.dtype}, radial {radial}\n"
        f"beside MACE in double precision, largest force difference over the largest force on a test cluster: "
        f"{found.exact.forces:.1e} converted exactly, {found.written.forces:.1e} as written",
        highlight=False,
        soft_wrap=True,
    )
