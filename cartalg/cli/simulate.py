"""`cartalg md`: simulations."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.markup import escape

from cartalg.cli.terminal import console, errors, needs, progress_bar, user_errors
from cartalg.collector import at_rest
from cartalg.simulate.options import Simulation

#: Exit status of a simulation that was stopped where its model's training data end.
LEFT = 3


def simulation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each key of `Simulation`; it gets those that are given as `given`, by name."""
    hints = get_type_hints(Simulation)

    @wraps(command)
    def run(**options: Any) -> None:
        command(given={f.name: options.pop(f.name) for f in fields(Simulation)}, **options)

    parameters = [p for p in inspect.signature(command).parameters.values() if p.name != "given"]
    for f in fields(Simulation):
        default = "" if f.default is None else f" [default: {f.default}]"
        kind = hints[f.name] if f.default is None else hints[f.name] | None
        option = Annotated[kind, typer.Option(help=escape(f"{f.metadata['description']}{default}"))]  # type: ignore
        parameters.append(inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


@needs("train", "cartalg md")
@simulation_options
def md(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, of a committee too, or a model file.")],
    structure: Annotated[Path, typer.Argument(help="File that ASE reads: extended XYZ, CIF, POSCAR, ..")],
    output: Annotated[Path, typer.Option(help="Folder of the simulation.")],
    given: Mapping[str, Any],
    config: Annotated[Path | None, typer.Option(help="YAML file with any of the keys below.")] = None,
    backend: Annotated[str, typer.Option(help="auto, numba or torch")] = "auto",
) -> None:
    """Molecular dynamics; run again to go on after a kill, bit for bit, or with more --steps.

    `cartalg md runs/acac acac.xyz --output md --temperature 300 --steps 200000`

    `cartalg md runs/alloy alloy.cif --output md --ensemble npt --temperature 900 --pressure 1 --timestep 1`

    The folder gets trajectory.xyz, log.csv, state.safetensors, final.xyz and simulation.png. Where energy, forces or
    distances leave what the training data cover, it stops with status 3 and writes the structure to outside.xyz.
    """
    with at_rest(lasting=True):
        from cartalg.simulate.dynamics import LeftCoverage, simulate
        from cartalg.simulate.settings import load_options

    with user_errors():
        options = load_options(config, given)
    with user_errors(), progress_bar(computes=True) as bar:
        try:
            found = simulate(run, structure, output, options, backend, bar)
        except LeftCoverage as left:
            bar.stop()
            errors.print(f"[red]stopped:[/red] {escape(str(left))}", highlight=False, soft_wrap=True)
            raise typer.Exit(LEFT) from None
    mean, spread = found.temperature
    drift = "" if found.drift != found.drift else f"; conserved energy drifts by {found.drift:.3g} meV/atom/ns"
    speed = "nothing left to do" if found.ns_per_day != found.ns_per_day else f"{found.ns_per_day:.3g} ns/day"
    console.print(
        f"{output}: {found.steps} steps, {found.time_ps:g} ps; {speed}; {mean:.0f} K, standard deviation "
        f"{spread:.0f} K, in the second half{drift}",
        highlight=False,
        soft_wrap=True,
    )
