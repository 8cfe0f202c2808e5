"""`cartalg uncertainty`, `cartalg select`: how wrong a model may be, and what to label next."""

from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.table import Table

from cartalg.cli.terminal import console, needs, progress_bar, user_errors
from cartalg.collector import at_rest

RunArgument = Annotated[Path, typer.Argument(help="Folder of a training run, of a committee too, or a model file.")]
BackendOption = Annotated[str, typer.Option(help="auto, numba or torch")]
#: Names and units of what has a reliability.
UNITS = {"energy": "eV", "forces": "eV/A"}


@needs("train", "cartalg uncertainty")
def uncertainty(
    run: RunArgument,
    config: Annotated[Path | None, typer.Option(help="Of the run; by default what its checkpoint holds.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where data paths start; else the config's folder.")] = None,
    train: Annotated[list[Path] | None, typer.Option(help="Training frames, in place of a configuration's.")] = None,
    valid: Annotated[list[Path] | None, typer.Option(help="Labelled frames that it was not trained on.")] = None,
    backend: BackendOption = "auto",
) -> None:
    """Measure how far a model's training data reach, and scale its uncertainty by validation errors.

    `cartalg train` does so at its end; this is for runs and models that lie there:

    `cartalg uncertainty runs/acac --data-dir DATA`

    `cartalg uncertainty mace.safetensors --train train.xyz --valid valid.xyz`

    The folder gets uncertainty.safetensors, for each member of a committee, which gets committee.json.
    """
    with at_rest(lasting=True):
        from cartalg.uncertainty.existing import Source, measure_run

    with user_errors(), progress_bar(computes=True) as bar:
        source = Source(config, data_dir, train or (), valid or ())
        found = measure_run(run, source, backend, bar)
    console.print(f"{', '.join(map(str, found.files))}", highlight=False, soft_wrap=True)
    console.print(
        reliability_table(
            {name: one.figures() for name, one in found.assessment.reliability.items()},
            f"{found.train} training frames; on {found.valid} validation frames",
        )
    )


@needs("train", "cartalg select")
def select(
    run: RunArgument,
    frames: Annotated[list[Path], typer.Argument(help="Candidates: files that ASE reads, a trajectory for instance.")],
    count: Annotated[int, typer.Option(min=1, help="How many to choose.")],
    output: Annotated[Path, typer.Option(help="Extended XYZ to write.")],
    strategy: Annotated[
        str, typer.Option(help="information: uncertain, and each unlike the others; uncertainty: grade alone; random")
    ] = "information",
    max_grade: Annotated[
        float | None, typer.Option(min=0, help="Leave out frames beyond, which no calculation will converge for.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of a random choice.")] = 0,
    backend: BackendOption = "auto",
) -> None:
    """Choose frames that are worth a label: those that tell the model most, and each something else.

    `cartalg select runs/acac md/trajectory.xyz --count 20 --output to_label.xyz`

    `cartalg select runs/acac hot/trajectory.xyz cold/trajectory.xyz --count 50 --output to_label.xyz --max-grade 20`

    The file has the frames without labels, in order, each with its number among the candidates, grade (1 is the
    farthest atom of the training data), energy_std in eV and information in nats.
    """
    with at_rest(lasting=True):
        from cartalg.uncertainty.runs import select_frames

    with user_errors(), progress_bar(computes=True) as bar:
        found = select_frames(run, frames, count, output, strategy, max_grade, seed, backend, bar)

    def reach(grades: list[float]) -> str:
        return f"{min(grades):.3g} to {max(grades):.3g}, median {median(grades):.3g}"

    own, every = [one.grade for one in found.chosen], found.grades.tolist()
    console.print(
        f"{output}: {len(own)} of {len(every)} frames; grades {reach(own)}; of all candidates {reach(every)}",
        highlight=False,
        soft_wrap=True,
    )


def reliability_table(figures: dict[str, dict[str, float]], title: str) -> Table:
    """Predicted errors beside found ones as a table, from `Reliability.figures` by name."""
    table, columns = Table(title=title), dict.fromkeys(column for values in figures.values() for column in values)
    table.add_column("uncertainty")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, values in figures.items():
        table.add_row(f"{name}, {UNITS[name]}", *(f"{values[c]:.3g}" if c in values else "" for c in columns))
    return table
