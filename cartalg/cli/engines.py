"""Commands for the engines that people run beside us."""

from pathlib import Path
from typing import Annotated

import typer

from cartalg.cli.terminal import console, needs, progress_bar, user_errors


@needs("train", "cartalg ipi")
def ipi(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, of a committee too, or a model file.")],
    structure: Annotated[Path, typer.Argument(help="File that ASE reads, with the atoms in i-PI's order.")],
    address: Annotated[str, typer.Option(help="Host where i-PI listens: <ffsocket mode='inet'>.")] = "localhost",
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = 31415,
    unix: Annotated[str | None, typer.Option(help="Address of <ffsocket mode='unix'> instead.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for i-PI to listen.", min=0)] = 60.0,
    backend: Annotated[str, typer.Option(help="auto, numba or torch")] = "auto",
) -> None:
    """Compute forces for i-PI until it ends; start as many as there are cores, i-PI shares its beads out.

    `cartalg ipi runs/acac init.xyz --unix pimd`

    `cartalg ipi runs/alloy init.xyz --address node7 --port 31415`

    The elements and whether the cell is periodic are those of the structure; positions and cell are i-PI's. An example
    with its input file is in docs/engines.md.
    """
    with user_errors():
        from cartalg.interfaces.ipi import serve
        from cartalg.simulate.structures import read_structure

        atoms = read_structure(structure, 0)
    with user_errors(), progress_bar(computes=True) as bar:
        task = bar.add_task("i-PI", total=None, note="waiting")
        count = serve(
            run,
            atoms,
            address,
            port,
            unix,
            wait,
            lambda done: bar.update(task, note=f"{done} evaluations"),
            backend=backend,
        )
    console.print(f"i-PI has ended: {count} evaluations", highlight=False)
