"""`cartalg md`, `cartalg relax`, `cartalg phonons`: simulations."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.markup import escape
from rich.table import Table

from cartalg.cli.terminal import console, errors, needs, progress_bar, user_errors
from cartalg.collector import at_rest
from cartalg.simulate.options import Simulation

#: Exit status of a simulation that was stopped where its model's training data end.
LEFT = 3
RunArgument = Annotated[Path, typer.Argument(help="Folder of a training run, of a committee too, or a model file.")]
BackendOption = Annotated[str, typer.Option(help="auto, numba or torch")]


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
    run: RunArgument,
    structure: Annotated[Path, typer.Argument(help="File that ASE reads: extended XYZ, CIF, POSCAR, ..")],
    output: Annotated[Path, typer.Option(help="Folder of the simulation.")],
    given: Mapping[str, Any],
    config: Annotated[Path | None, typer.Option(help="YAML file with any of the keys below.")] = None,
    backend: BackendOption = "auto",
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


@needs("train", "cartalg relax")
def relax(
    run: RunArgument,
    structures: Annotated[Path, typer.Argument(help="File that ASE reads; every frame of it is relaxed.")],
    output: Annotated[Path, typer.Option(help="Extended XYZ to write.")],
    fmax: Annotated[float, typer.Option(min=0, help="Largest force that is left, in eV/A.")] = 0.01,
    steps: Annotated[int, typer.Option(min=1, help="At most, of each frame.")] = 1000,
    optimizer: Annotated[str, typer.Option(help="bfgs, bfgs-linesearch, fire or lbfgs")] = "fire",
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell, too: shape and volume.")] = False,
    pressure: Annotated[float, typer.Option(help="On the cell, in GPa.")] = 0.0,
    backend: BackendOption = "auto",
) -> None:
    """Relax structures to their nearest minima; the file is written whole, at the end.

    `cartalg relax runs/alloy structures.xyz --output relaxed.xyz --cell`

    Status 3 if a frame did not converge: its last structure is written, with converged=F.
    """
    with at_rest(lasting=True):
        from cartalg.simulate.relax import relax_file

    with user_errors(), progress_bar(computes=True) as bar:
        if pressure and not cell:
            raise ValueError("--pressure is on a cell that is relaxed: give --cell")
        found = relax_file(run, structures, output, fmax, steps, optimizer, cell, pressure, backend, bar)
    table = Table(title=f"{output}, {len(found)} frames")
    for column in ("frame", "steps", "eV before", "eV after", "moved, A", "force, eV/A", "converged"):
        table.add_column(column, justify="right")
    for number, one in enumerate(found):
        energies = f"{one.before:.5f}", f"{one.after:.5f}"
        ended = f"{one.force:.2g}", "yes" if one.converged else "[red]no[/red]"
        table.add_row(str(number), str(one.steps), *energies, f"{one.moved:.3f}", *ended)
    console.print(table)
    left = sum(not one.converged for one in found)
    if left:
        errors.print(f"[red]{left} of {len(found)} frames did not converge[/red] in {steps} steps", highlight=False)
        raise typer.Exit(LEFT)


@needs("train", "cartalg phonons")
def phonons(
    run: RunArgument,
    structure: Annotated[Path, typer.Argument(help="File that ASE reads: a relaxed structure.")],
    output: Annotated[Path, typer.Option(help="Folder for pictures and tables.")],
    frame: Annotated[int, typer.Option(help="Of the structure file; -1 is its last.")] = -1,
    supercell: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Copies along each cell vector; by default to 12 A and more.")
    ] = None,
    displacement: Annotated[float, typer.Option(min=1e-4, help="Of atoms, in A; of a crystal.")] = 0.02,
    temperatures: Annotated[tuple[float, float, float], typer.Option(help="Of the table, in K: first, last, step.")] = (
        0.0,
        1000.0,
        10.0,
    ),
    backend: BackendOption = "auto",
) -> None:
    """Phonons of a crystal (cartalg[phonons]), or vibrations of a molecule from the exact Hessian.

    `cartalg phonons runs/alloy relaxed.xyz --output phonons --supercell 4 4 4`

    The folder gets phonons.png (bands and density) and phonopy.yaml, or vibrations.png and vibrations.csv, and
    thermal.csv. Imaginary modes are reported.
    """
    with at_rest(lasting=True):
        from cartalg.simulate.phonons import RELAXED, phonons_file

    with user_errors(), progress_bar(computes=True) as bar:
        found = phonons_file(run, structure, output, frame, supercell, displacement, temperatures, backend, bar)
    say = [f"{output}: {found.what}; {found.lowest:.4g} to {found.highest:.4g} {found.unit}"]
    say.append(f"zero-point energy {found.zero_point:.4f} eV")
    if found.imaginary:
        say.append(f"[red]{found.imaginary} of {found.modes} modes are imaginary: not a minimum[/red]")
    else:
        say.append("no imaginary modes")
    if found.force > RELAXED:
        say.append(f"[red]the largest force is {found.force:.2g} eV/A: relax first, `cartalg relax`[/red]")
    console.print("; ".join(say), highlight=False, soft_wrap=True)
