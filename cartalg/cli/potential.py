"""`cartalg train`, `cartalg evaluate`, `cartalg demo`: the potential."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cartalg.cli.terminal import console, needs, progress_bar, user_errors
from cartalg.cli.uncertainty import reliability_table
from cartalg.collector import at_rest
from cartalg.quantities import QUANTITIES, Quantity


def key_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option --NAME-key for each quantity of the table; it gets them as `keys`, by name."""
    names = [quantity.name for quantity in QUANTITIES]

    @wraps(command)
    def run(**options: Any) -> None:
        command(keys={name: options.pop(f"{name}_key") for name in names}, **options)

    parameters = [p for p in inspect.signature(command).parameters.values() if p.name != "keys"]
    for name in names:
        option = Annotated[str | None, typer.Option(help=f"Name of the {name} in the file.")]
        parameters.append(
            inspect.Parameter(f"{name}_key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        )
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


@needs("train", "cartalg train")
def train(
    config: Annotated[Path, typer.Argument(help="YAML configuration.")],
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Where data paths start; by default the config's folder.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start anew although the folder has a checkpoint.")
    ] = False,
    backend: Annotated[str, typer.Option(help="auto, numba or torch")] = "auto",
) -> None:
    """Train a potential; run again to go on after an interruption.

    `cartalg train docs/examples/acetylacetone.yaml --data-dir DATA --output runs/acac`

    In two processes: `torchrun --nproc-per-node 2 -m cartalg train ..`.

    The folder gets model.safetensors (best validation loss), checkpoint.safetensors, metrics.csv, tensorboard/ and
    plots.
    """
    with at_rest(lasting=True):
        from cartalg.train.run import train_run

    with user_errors(), progress_bar(computes=True) as bar:
        train_run(config, output, data_dir, restart, backend, bar)


@needs("train", "cartalg evaluate")
@key_options
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file or folder of a run, of a committee too.")],
    file: Annotated[Path, typer.Argument(help="Labelled frames, extended XYZ.")],
    keys: Mapping[str, str | None],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, units in the key names.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Parity plot; by default beside the model.")] = None,
    numbers: Annotated[Path | None, typer.Option(help="Text file of frame numbers to use.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Errors by group, too: a key of the frames such as config_type.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, numba or torch")] = "auto",
) -> None:
    """Errors of a model on labelled frames: MAE and RMSE of energy, energy per atom, forces, stress, tensors.

    `cartalg evaluate runs/acac test_300K.xyz --json`

    `cartalg evaluate runs/si Si_test.xyz --by group`

    Where the run says how wrong it may be, and of a committee, also: errors over standard deviations (1 is right),
    negative log likelihood, miscalibration area (0 is perfect) and rank correlation, with a picture.
    """
    with at_rest(lasting=True):
        from cartalg.train.run import evaluate_file

    with user_errors(), progress_bar(computes=True) as bar:
        found = evaluate_file(model, file, keys, numbers, plot, backend, bar, by)
    result = found.comparison.errors()
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return
    console.print(errors_table(result, f"{file.name}, {found.frames} frames", found.comparison.quantities))
    if found.groups:
        console.print(groups_table(found.as_json(), by or "", found.comparison.quantities))
    if found.assessment.reliability:
        figures = {name: one.figures() for name, one in found.assessment.reliability.items()}
        console.print(reliability_table(figures, "errors beside those that the model expects"))
    if found.assessment.grades is not None:
        beyond = int((found.assessment.grades > 1).sum())
        console.print(
            f"extrapolation grades up to {found.assessment.grades.max():.3g}; {beyond} of {found.frames} frames have "
            "atoms beyond the training data (1)",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(f"parity plot: {found.plot}", highlight=False, soft_wrap=True)
    if found.calibration_plot:
        console.print(f"calibration plot: {found.calibration_plot}", highlight=False, soft_wrap=True)


def errors_table(errors: Mapping[str, float], title: str, quantities: Sequence[Quantity] = QUANTITIES) -> Table:
    """MAE and RMSE as a table."""
    table = Table(title=title)
    for column, side in (("", "left"), ("MAE", "right"), ("RMSE", "right"), ("unit", "left")):
        table.add_column(column, justify=side)  # type: ignore
    for report in (report for quantity in quantities for report in quantity.reports):
        if report.key("mae") in errors:
            unit = report.unit.report if report.unit else ""
            if not unit:
                unit = f"as in the file; RMSE {errors[report.headline[0]]:.3g} % of the spread"
            mae, rmse = (f"{errors[report.key(measure)]:.3g}" for measure in ("mae", "rmse"))
            table.add_row(report.title, mae, rmse, unit)
    return table


def groups_table(found: Mapping[str, Any], by: str, quantities: Sequence[Quantity]) -> Table:
    """The errors of each quantity for each group, as `cartalg.train.run.Evaluation.as_json` gives them."""
    table, keys = Table(title=f"by {by}"), []
    table.add_column(by)
    table.add_column("frames", justify="right")
    for report in (q.compared for q in quantities if q.compared.key("mae") in found):
        columns = [("RMSE", *report.headline)]
        if report.unit:
            columns.insert(0, ("MAE", report.key("mae"), report.unit.report))
        for measure, key, unit in columns:
            table.add_column(f"{report.title}\n{measure}, {unit}", justify="right")
            keys.append(key)
    for name, errors in found["groups"].items():
        table.add_row(name, str(errors["frames"]), *(f"{errors[k]:.3g}" if k in errors else "" for k in keys))
    return table


@needs("train", "cartalg demo")
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the model, plots and report.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Two epochs and 20 fs: only to see that it runs.")] = False,
) -> None:
    """The whole pipeline on the shipped data: check kernels, train, evaluate, 1 ps of NVE dynamics, report."""
    with at_rest(lasting=True):
        from cartalg.demo import run_demo

    say: Callable[[str], None] = lambda text: console.print(text, highlight=False, soft_wrap=True)  # noqa: E731
    with user_errors(), progress_bar(computes=True) as bar:
        run_demo(output, quick, bar, say, lambda result, title: console.print(errors_table(result, title)))
