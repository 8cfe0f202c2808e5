"""`cartalg curves`: validation errors of runs against the clock."""

from pathlib import Path
from typing import Annotated

import typer

from cartalg.cli.terminal import console, needs, user_errors
from cartalg.collector import at_rest


@needs("train", "cartalg curves")
def curves(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, finished or not.")],
    to: Annotated[Path, typer.Option(help="Picture to write.")] = Path("curves.png"),
    against: Annotated[str, typer.Option(help="minutes or epochs")] = "minutes",
    published: Annotated[
        list[str] | None,
        typer.Option(help="A line at an error to compare with: its key without valid_, and the number."),
    ] = None,
) -> None:
    """Validation errors of one or several runs against minutes of training, as metrics.csv holds them.

    `cartalg curves runs/short runs/long --published forces_rmse_meV_per_A=5.1 --to curves.png`
    """
    with at_rest(lasting=True):
        from cartalg.train.curves import draw_curves

    with user_errors():
        last = draw_curves(runs, to, against, published or [])
    for name, errors in last.items():
        console.print(f"{name}: {errors}", highlight=False, soft_wrap=True)
    console.print(f"picture: {to}", highlight=False, soft_wrap=True)
