"""`cartalg lammps`: an input of LAMMPS for a potential."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cartalg.cli.terminal import console, needs, user_errors
from cartalg.collector import at_rest


@needs("lammps", "cartalg lammps")
def lammps(
    model: Annotated[Path, typer.Argument(help="Model file or folder of a run, of a committee too.")],
    structure: Annotated[
        Path | None,
        typer.Argument(help="Any file that ASE reads: its last frame. Without one, structure.data is yours."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder to write.")] = Path("lammps"),
    ensemble: Annotated[Literal["nve", "nvt", "npt"], typer.Option(help="What is kept constant.")] = "nvt",
    temperature: Annotated[float, typer.Option(help="In kelvin.")] = 300.0,
    pressure: Annotated[float, typer.Option(help="In bar, for npt.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Number of steps.")] = 1000,
    timestep: Annotated[float | None, typer.Option(help="In fs; by default 1, or 0.5 with hydrogen.")] = None,
) -> None:
    """A commented input of LAMMPS, ready to start on one process or on many, without compiling anything.

    `cartalg lammps runs/alloy alloy.xyz --output md --ensemble npt --temperature 600`

    `cd md && mpirun -n 2 python -m cartalg.interfaces.lammps in.lammps`

    The input is LAMMPS's own but for the lines `pair_style cartalg RUN` and `pair_coeff * * ELEMENTS`, which that
    module understands: put them into any input file of yours. Scripts in Python: docs/lammps.md.
    """
    with at_rest(lasting=True):
        from cartalg.interfaces.lammps.write import Plan, write_input
        from cartalg.simulate.structures import read_structure
        from cartalg.train.checkpoint import load_committee

    with user_errors():
        plan = Plan(ensemble, temperature, pressure, steps, timestep)
        atoms = None if structure is None else read_structure(structure, -1)
        written = write_input(output, model.resolve(), load_committee(model), atoms, plan)
    console.print(
        f"{' and '.join(map(str, written))}\n"
        f"start: cd {output} && mpirun -n 2 python -m cartalg.interfaces.lammps {written[0].name}",
        highlight=False,
        soft_wrap=True,
    )
