"""The command line: each module holds the commands of one area."""

import os
from typing import Annotated

import typer

from cartalg import __version__
from cartalg.cli import (
    benchmark,
    convert,
    curves,
    engines,
    export,
    inspect_physics,
    kernels,
    lammps,
    potential,
    simulate,
    uncertainty,
)
from cartalg.cli.datasets import data_app
from cartalg.cli.inspect import inspect_app
from cartalg.cli.terminal import console, user_errors

app = typer.Typer(
    help="Irreducible Cartesian tensors: exact rules, generated kernels, a potential to train and run.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(inspect_app, name="inspect")
for name, command in inspect_physics.COMMANDS.items():
    inspect_app.command(name)(command)
for command in (kernels.generate, kernels.prove, kernels.atlas, potential.train, potential.evaluate, potential.demo):
    app.command()(command)
app.command("compile")(kernels.compile_kernels)
app.command()(convert.convert)
app.command()(curves.curves)
app.command()(uncertainty.uncertainty)
app.command()(uncertainty.select)
app.command()(benchmark.benchmark)
for command in (simulate.md, simulate.relax, simulate.phonons, lammps.lammps, engines.ipi, export.export):
    app.command()(command)
app.add_typer(data_app, name="data")


def give_way() -> None:
    """Let threads that wait sleep, not spin, on a machine that has other work.

    Spinning for milliseconds, as OpenMP does by default, keeps the very thread from running that is waited for. It is
    read when Torch is loaded, which no command has done yet. What the environment says goes first.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > (os.cpu_count() or 1) / 2 and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "0")


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    trust_kernels: Annotated[
        bool,
        typer.Option("--trust-kernels", help="Run kernels that a model file names as they are."),
    ] = False,
) -> None:
    """Common options."""
    give_way()
    if trust_kernels:
        with user_errors():
            from cartalg.ops.kernel_sets import POLICY
        POLICY.trusting = True
    if version:
        console.print(f"cartalg {__version__}")
        raise typer.Exit
