"""What every command shares: output, one-line errors, the progress bar."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cartalg.extras import MissingExtra, require

#: Where backends say which kernel they compile; an empty message when it is done.
COMPILATION_LOG = "cartalg.compilation"
#: Exit status of a mistake in the input; 1 is a check that failed.
WRONG_INPUT = 2
console, errors = Console(), Console(stderr=True)
P = ParamSpec("P")
R = TypeVar("R")


def needs(extra: str, command: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a command run only where an extra is installed; elsewhere one line says how to install it."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*arguments: P.args, **options: P.kwargs) -> R:
            with user_errors():
                require(extra, command)
            return function(*arguments, **options)

        return run

    return decorate


@contextmanager
def user_errors() -> Iterator[None]:
    """Show a mistake in the input as one line, without a traceback; exit with 2, as for a wrong option."""
    try:
        yield
    except typer.Exit:  # a RuntimeError, too
        raise
    except BrokenPipeError:  # the reader, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except (ValueError, LookupError, OSError, FloatingPointError, RuntimeError, MissingExtra) as error:
        errors.print(f"[red]error:[/red] {escape(one_line(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(WRONG_INPUT) from error


def one_line(error: BaseException) -> str:
    """What an error says, in one line, without what a terminal would obey: a file's own words may be in it."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def progress_bar(computes: bool = False) -> Iterator[Progress]:
    """The progress bar of every command, on standard error.

    Args:
        computes: The command calls kernels: it needs cartalg[torch], and has a line for them while they are compiled.
    """
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
    with bar, _compilation_shown(bar) if computes else nullcontext():
        yield bar


@contextmanager
def _compilation_shown(bar: Progress) -> Iterator[None]:
    """A line with the kernel that is being compiled or loaded, as the log of the backends says."""
    task, log = bar.add_task("compiling, once", total=None, visible=False, note=""), logging.getLogger(COMPILATION_LOG)

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kernel = record.getMessage()
            bar.update(task, note=kernel, visible=bool(kernel))

    handler, level = Shown(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def counting(bar: Progress, description: str) -> Callable[[str, int, int], None]:
    """A new line of a progress bar, as a function of (what is done, number done, number in all)."""
    task = bar.add_task(description, total=None, note="")
    return lambda name, n, total: bar.update(task, completed=n, total=total, note=name)
