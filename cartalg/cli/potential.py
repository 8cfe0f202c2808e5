"""`cartalg train`, `cartalg evaluate`, `cartalg demo`: the potential."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cartalg.cli.terminal import console, needs, progress_bar, user_errors


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
    from cartalg.train.run import train_run

    with user_errors(), progress_bar(computes=True) as bar:
        train_run(config, output, data_dir, restart, backend, bar)


@needs("train", "cartalg evaluate")
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file or folder of a run.")],
    file: Annotated[Path, typer.Argument(help="Labelled frames, extended XYZ.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, units in the key names.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Parity plot; by default beside the model.")] = None,
    numbers: Annotated[Path | None, typer.Option(help="Text file of frame numbers to use.")] = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    backend: Annotated[str, typer.Option(help="auto, numba or torch")] = "auto",
) -> None:
    """Errors of a model on labelled frames: MAE and RMSE of energy, energy per atom, forces, stress.

    `cartalg evaluate runs/acac test_300K.xyz --json`
    """
    from cartalg.data.frames import Keys
    from cartalg.train.run import evaluate_file

    with user_errors(), progress_bar(computes=True) as bar:
        keys = Keys(energy_key, forces_key, stress_key)
        result, path, count = evaluate_file(model, file, keys, numbers, plot, backend, bar)
    if as_json:
        print(json.dumps({"frames": count, **result}, indent=2))
        return
    console.print(errors_table(result, f"{file.name}, {count} frames"))
    console.print(f"parity plot: {path}", highlight=False, soft_wrap=True)


def errors_table(result: dict[str, float], title: str) -> Table:
    """MAE and RMSE as a table."""
    from cartalg.train.metrics import UNIT_SUFFIX, UNITS

    table = Table(title=title)
    for column, side in (("", "left"), ("MAE", "right"), ("RMSE", "right"), ("unit", "left")):
        table.add_column(column, justify=side)  # type: ignore
    for quantity, (unit, _) in UNITS.items():
        mae = result.get(f"{quantity}_mae_{UNIT_SUFFIX[quantity]}")
        rmse = result.get(f"{quantity}_rmse_{UNIT_SUFFIX[quantity]}")
        if mae is not None and rmse is not None:
            table.add_row(quantity.replace("_", " "), f"{mae:.3g}", f"{rmse:.3g}", unit)
    for name in (key.removesuffix("_relative_rmse_percent") for key in result if key.endswith("relative_rmse_percent")):
        relative = f"as in the file; RMSE {result[f'{name}_relative_rmse_percent']:.3g} % of the spread"
        table.add_row(name, f"{result[f'{name}_mae']:.3g}", f"{result[f'{name}_rmse']:.3g}", relative)
    return table


@needs("train", "cartalg demo")
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the model, plots and report.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Two epochs and 20 fs: only to see that it runs.")] = False,
) -> None:
    """The whole pipeline on the shipped data: check kernels, train, evaluate, 1 ps of NVE dynamics, report."""
    from cartalg.demo import run_demo

    say: Callable[[str], None] = lambda text: console.print(text, highlight=False, soft_wrap=True)  # noqa: E731
    with user_errors(), progress_bar(computes=True) as bar:
        run_demo(output, quick, bar, say, lambda result, title: console.print(errors_table(result, title)))
