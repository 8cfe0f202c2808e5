"""What every command shares: output, one-line errors, the progress bar."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console, errors = Console(), Console(stderr=True)


@contextmanager
def user_errors() -> Iterator[None]:
    """Show a mistake in the input as one line, without a traceback; exit with 1."""
    try:
        yield
    except BrokenPipeError:  # the reader, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except (ValueError, LookupError, OSError, FloatingPointError, RuntimeError) as error:
        errors.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """The progress bar of every command, on standard error; it has a line for kernels while they are compiled."""
    from cartalg.ops.operators import announcing

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=errors if os.environ.get("RANK", "0") == "0" else Console(quiet=True),  # one of several speaks
    )
    compiling = bar.add_task("compiling, once", total=None, visible=False, note="")
    with bar, announcing(lambda kernel: bar.update(compiling, note=kernel, visible=bool(kernel))):
        yield bar


def counting(bar: Progress, description: str) -> Callable[[str, int, int], None]:
    """A new line of a progress bar, as a function of (what is done, number done, number in all)."""
    task = bar.add_task(description, total=None, note="")
    return lambda name, n, total: bar.update(task, completed=n, total=total, note=name)
