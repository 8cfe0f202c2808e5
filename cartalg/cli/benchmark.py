"""`cartalg benchmark`: a named set from its data to a result that can be compared."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cartalg.cli.terminal import console, needs, progress_bar, user_errors
from cartalg.collector import at_rest


@needs("train", "cartalg benchmark")
def benchmark(
    name: Annotated[str | None, typer.Argument(help="One of `cartalg benchmark --list`.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="What there is, and what others published; then stop.")
    ] = False,
    short: Annotated[bool, typer.Option("--short", help="About 20 minutes of one core.")] = False,
    long: Annotated[bool, typer.Option("--long", help="About 3 hours of one core.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One epoch: only to see that it runs.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default benchmarks/NAME-LENGTH-SEED, here.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Take the data's files from this folder, where there is no network.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The data as `cartalg data get` wrote it; by default it is got.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, split and order; 0: as the settings have it.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of a training step; results count CPU time.")] = 1,
    restart: Annotated[bool, typer.Option("--restart", help="Train anew although the folder has a run.")] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Accept files that no checksum is published for.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            help="Page to write the tables of --results into, between its two marks; pictures go to images/ beside it."
        ),
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Folder of results, NAME.json; for --write.")] = None,
    backend: Annotated[str, typer.Option(help="auto, numba or torch")] = "auto",
) -> None:
    """Run a benchmark: get the data, train, evaluate, and write result.json; run again to go on after an interruption.

    `cartalg benchmark --list`

    `cartalg benchmark mlearn_si --short --unchecked`

    `cartalg benchmark acetylacetone --long --from /mnt/downloads --output runs/acac`

    `cartalg benchmark --results docs/results --write docs/results.md`

    The result says errors (by group, where frames have groups), holes between atoms, time, settings, versions, machine
    and hashes of data, settings and model; learning.png shows the way there. A length without --short or --long is the
    example's.
    """
    with at_rest(lasting=True):
        from cartalg.benchmark.pictures import curve_picture
        from cartalg.benchmark.render import leaderboard, picture_of, read_results, tables, written_into
        from cartalg.benchmark.run import RESULT_FILE, run_benchmark
        from cartalg.benchmark.table import BENCHMARKS
        from cartalg.files import write_file

    with user_errors():
        chosen = [word for word, given in (("short", short), ("long", long), ("quick", quick)) if given]
        if len(chosen) > 1:
            raise ValueError(f"give one of --{' and --'.join(chosen)}, not both")
        if bool(write) != bool(results):
            raise ValueError("--write PAGE and --results FOLDER belong together")
        if name is None and not (listed or write):
            raise ValueError("give the NAME of a benchmark; `cartalg benchmark --list` says which there are")
        if write and results:
            found = read_results(results)
            write_file(write, written_into(write.read_text(), tables(found)))
            for one in found:
                curve_picture(one, write.parent / picture_of(one))
            console.print(f"{write}: {len(found)} results", highlight=False)
    if listed:
        console.print(benchmarks_table(BENCHMARKS))
    if listed or write or name is None:
        return
    length = chosen[0] if chosen else "example"
    folder = output or Path("benchmarks") / f"{name}-{length}-{seed}"
    with user_errors(), progress_bar(computes=True) as bar:
        result = run_benchmark(name, folder, bar, length, seed, threads, source, data_dir, restart, unchecked, backend)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    head, _, line = leaderboard([result]).split("\n")
    for word, value in zip(head.strip("| ").split(" | "), line.strip("| ").split(" | "), strict=True):
        console.print(f"{word}: {value.replace('**', '')}", highlight=False, soft_wrap=True)
    for published in result["published"]:
        console.print(f"{published['method']}: {published['source']}", highlight=False, soft_wrap=True)
    console.print(f"all of it: {folder / RESULT_FILE}", highlight=False, soft_wrap=True)


def benchmarks_table(benchmarks: Any) -> Table:
    """Name, title, epochs by length, published figures."""
    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True)
    for column in ("what it is", "data", "epochs", "published: energy, forces"):
        table.add_column(column)
    for name, about in benchmarks.items():
        epochs = ", ".join(f"{length} {count}" for length, count in about.epochs.items())
        others = [f"{p.method} {', '.join(f'{p.errors[k]:g}' for k in about.measure)}" for p in about.published]
        table.add_row(name, about.title, about.dataset, epochs, "\n".join(others) or "-")
    return table
