"""`cartalg data`: named data sets on the command line."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cartalg.cli.terminal import console, needs, progress_bar, user_errors
from cartalg.datasets.registry import SETS

data_app = typer.Typer(help="Named data sets: list them, get them.", no_args_is_help=True, rich_markup_mode="markdown")


@data_app.command("list")
def list_sets() -> None:
    """The data sets that have a name: what they are, their licence, and the split that papers use."""
    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True)
    for column in ("what it is", "licence", "split", "checked by"):
        table.add_column(column)
    for name, about in SETS.items():
        checked = "sha256" if all(s.sha256 for s in about.sources) else "number of frames; no checksum is published"
        what = f"{about.title}\n[dim]{about.paper}[/dim]"
        if about.members:
            what += f"\n[dim]parts: {', '.join(about.members)}[/dim]"
        what += f"\n[dim]published in {about.units}[/dim]"
        table.add_row(name, what, about.licence, about.split, checked)
    console.print(table)


@data_app.command("get")
@needs("train", "cartalg data get")
def get_set(
    name: Annotated[str, typer.Argument(help="One of `cartalg data list`.")],
    to: Annotated[Path | None, typer.Option(help="Folder to make; by default one of that name, here.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A part of the set; may be given again.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--from", help="Take the files from this folder, where there is no network.")
    ] = None,
    split: Annotated[int, typer.Option(min=1, max=10, help="Which of the published splits.")] = 1,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Accept files that no checksum is published for.")
    ] = False,
) -> None:
    """Download a data set, check it, and write it as extended XYZ in eV and angstrom.

    `cartalg data get acetylacetone --to DATA/acetylacetone`, then
    `cartalg train docs/examples/acetylacetone.yaml --data-dir DATA/acetylacetone --output RUN`

    `cartalg data get rmd17 --only ethanol --split 2`

    `cartalg data get 3bpa --from /mnt/downloads`

    The folder appears when all is there and checked; SOURCE.json in it says where everything came from.
    """
    from cartalg.datasets.fetch import get

    with user_errors(), progress_bar() as bar:
        target = to or Path(name)
        written = get(name, target, bar, tuple(only or ()), folder, split, unchecked)
    console.print(
        f"{target}: {', '.join(p.name for p in written)}; licence {SETS[name].licence}", highlight=False, soft_wrap=True
    )
