"""`cartalg convert`: models of other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cartalg.cli.terminal import console, needs, progress_bar, user_errors


@needs("mace", "cartalg convert")
def convert(
    source: Annotated[Path, typer.Argument(help="Model file of mace-torch; with --to mace the folder of a run.")],
    output: Annotated[Path, typer.Option(help="Folder to write, as of a training run; with --to mace a file.")],
    to: Annotated[
        Literal["mace"] | None, typer.Option(help="Write a model of mace-torch, where the architecture allows.")
    ] = None,
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

    `cartalg convert runs/mace --to mace --output MACE.model` writes such a potential, as it is or trained further, as a
    model of mace-torch.
    """
    with user_errors():
        if to == "mace":
            _back(source, output, dtype, [name for name, given in (("head", head), ("direct", direct)) if given])
            return
        if source.is_dir():
            raise ValueError(f"{source} is a folder; to write a run as a model of mace-torch, give --to mace")
        from cartalg.interfaces.mace.run import convert_file

        with progress_bar(computes=True) as bar:
            bar.add_task("converting and comparing", total=None, note="")
            found = convert_file(source, output, trust, head, dtype, direct)
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


def _back(run: Path, output: Path, dtype: Literal["float32", "float64"] | None, given: list[str]) -> None:
    if given:
        raise ValueError(f"--{given[0]} is for reading a model of mace-torch, not for --to mace")
    from cartalg.interfaces.mace.run import convert_back

    with progress_bar(computes=True) as bar:
        bar.add_task("converting and comparing", total=None, note="")
        found = convert_back(run, output, dtype)
    console.print(
        f"{output}: a ScaleShiftMACE of mace-torch, the head Default\n"
        f"beside this potential, largest force difference over the largest force on a test cluster: "
        f"{found.exact.forces:.1e} in double precision, {found.run.forces:.1e} with the run's tables and precision",
        highlight=False,
        soft_wrap=True,
    )
