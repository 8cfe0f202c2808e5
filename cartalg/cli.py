"""The command line: inspect, generate, prove, atlas, train, evaluate, demo; and data, from its own module."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cartalg import __version__
from cartalg.datasets.commands import data_app
from cartalg.terminal import console, counting, errors, progress_bar, user_errors

if TYPE_CHECKING:
    from cartalg_codegen.proofs.report import Row

app = typer.Typer(
    help="Irreducible Cartesian tensors: exact rules, generated kernels, a potential to train and run.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
inspect_app = typer.Typer(help="Print exact rules: projectors, harmonics, couplings.", no_args_is_help=True)
app.add_typer(inspect_app, name="inspect")
app.add_typer(data_app, name="data")
RANKS = {"ignore_unknown_options": True}  # -1 is a (bad) rank, not an option

FormatOption = Annotated[str, typer.Option("--format", help="unicode, latex, mathml, json or sympy")]


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Common options."""
    if version:
        console.print(f"cartalg {__version__}")
        raise typer.Exit


def _ranks(*values: str) -> list[int] | None:
    """Whole numbers, or None where every rank is a letter: the formula of any rank."""
    if all(value.isalpha() or value.rstrip("123").isalpha() for value in values):
        return None
    try:
        return [int(value) for value in values]
    except ValueError:
        raise ValueError(f"a rank is a whole number from 0 up, or l for any rank; got {' '.join(values)}") from None


def _print_kernel(operations: int, text: str) -> None:
    """The forward function of an emitted kernel, with its operation count."""
    from cartalg_codegen.text import function_source

    print(f"\nKernel: {operations} multiplications and additions a channel\n")
    print(function_source(text, "forward"))


@inspect_app.command("projector", context_settings=RANKS)
def inspect_projector(rank: str, form: FormatOption = "unicode") -> None:
    """The traceless projector of a rank, e.g. `cartalg inspect projector 3`; of any rank: `inspect projector l`."""
    from cartalg.symbolic.render import render_general, render_projector
    from cartalg_codegen.numba_printer import row_kernel
    from cartalg_codegen.tensors import projection

    with user_errors():
        ranks = _ranks(rank)
        print(render_projector(*ranks, form) if ranks else render_general("projector", form))  # type: ignore
        if ranks and form == "unicode" and 1 <= ranks[0] <= 4:
            program = projection(ranks[0])
            _print_kernel(program.operations, row_kernel(program, "forward"))


@inspect_app.command("harmonic", context_settings=RANKS)
def inspect_harmonic(rank: str, form: FormatOption = "unicode") -> None:
    """The Cartesian harmonic of a rank, e.g. `cartalg inspect harmonic 2 --format latex`; any rank: `harmonic l`."""
    from cartalg.symbolic.render import render_general, render_harmonic
    from cartalg_codegen.emit import harmonics_kernel

    with user_errors():
        ranks = _ranks(rank)
        print(render_harmonic(*ranks, form) if ranks else render_general("harmonic", form))  # type: ignore
        if ranks and ranks[0] and form == "unicode":
            kernel = harmonics_kernel(ranks[0])
            _print_kernel(kernel.facts["operations"]["forward"], kernel.texts["numba"])


@inspect_app.command("coupling", context_settings=RANKS)
def inspect_coupling(l1: str, l2: str, l3: str, form: FormatOption = "unicode") -> None:
    """The coupling (L1, L2) -> L3 with its kernel: `cartalg inspect coupling 2 1 2`.

    Formats for other programs: `--format json`, `--format sympy`. Of any ranks: `cartalg inspect coupling l1 l2 l3`.
    """
    from cartalg.symbolic.render import render_coupling, render_general
    from cartalg_codegen.emit import coupling_kernel

    with user_errors():
        ranks = _ranks(l1, l2, l3)
        if ranks is None:
            print("\n".join(render_general(kind, form) for kind in ("coupling", "odd coupling")))  # type: ignore
            return
        print(render_coupling(*ranks, form))  # type: ignore
        if form == "unicode":
            kernel = coupling_kernel(*ranks)
            _print_kernel(kernel.facts["operations"]["forward"], kernel.texts["numba"])


@inspect_app.command("tensor")
def inspect_tensor(formula: str, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Irreducible parts of a Cartesian tensor with index symmetry, e.g. `cartalg inspect tensor ijkl=jikl=klij`."""
    from cartalg.symbolic.render import render_tensor

    with user_errors():
        print(render_tensor(formula, "json" if as_json else "unicode"))


@inspect_app.command("operations")
def inspect_operations(max_rank: int = 6) -> None:
    """Multiply-adds of the edge convolution as rank grows, e.g. `cartalg inspect operations --max-rank 8`."""
    from cartalg_codegen import plan
    from cartalg_codegen.counts import counts

    with user_errors():
        if not 1 <= max_rank <= 8:
            raise ValueError(f"max_rank must lie in 1..8, got {max_rank}")
        table = Table(title="Edge convolution, hidden rank = edge rank, natural parity: multiply-adds")
        for column in ("rank", "paths", "ours", "sparse CG", "3^l", "radial", "shared"):
            table.add_column(column, justify="right")
        for rank in range(1, max_rank + 1):
            c = counts(plan.convolution("even", rank, rank))
            table.add_row(*map(str, (rank, c.paths, c.ours, c.sparse, c.dense, c.radial, c.shared)))
        console.print(table)
        console.print(
            "Of one edge and channel: the emitted kernel; nonzero real Clebsch-Gordan coefficients; full Cartesian\n"
            "tensors; radial weights in ours. Shared: couplings times harmonics, made once an edge for all channels."
        )


@app.command()
def generate(
    max_rank: Annotated[int | None, typer.Option(help="Highest rank of any tensor.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the kernels; by default the library's own.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="A kernel beyond the usual, by name; may be repeated.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A kernel to emit and no other; may be repeated.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the folder is not current.")] = False,
) -> None:
    """Derive the rules and emit the kernels.

    `cartalg generate --max-rank 4 --out kernels4` makes a set of your own: name it as `kernels: kernels4` in a
    configuration, or open it with `cartalg.ops.KernelSet("kernels4")`.

    `cartalg generate --also product_even_limited_a3_o3_n3 --out mine` adds a kernel that an error message asked for.

    `cartalg generate --max-rank 6 --only harmonics_l6 --only convolution_even_h6_e6 --out six` emits just these.

    `cartalg generate --check` proves that the library's own set is what the rules give.
    """
    from cartalg.ops.kernels import KernelSet, shipped_folder
    from cartalg_codegen import emit

    with user_errors():
        folder = out or shipped_folder()
        rank, names, chosen = max_rank, tuple(also or ()), tuple(only or ())
        if (folder / emit.MANIFEST).is_file():  # by default what the folder holds, anew
            manifest = KernelSet(folder).manifest
            rank = manifest["max_rank"] if rank is None else rank
            names = tuple(manifest.get("also", ())) if also is None else names
            chosen = tuple(manifest.get("only", ())) if only is None else chosen
        with progress_bar() as bar:
            files = emit.render(3 if rank is None else rank, counting(bar, "deriving"), names, chosen)
        if check:
            differences = emit.differences(files, folder)
            for line in differences:
                errors.print(line, highlight=False)
            if differences:
                errors.print(f"{folder} is not current: run `cartalg generate`", highlight=False, soft_wrap=True)
                raise typer.Exit(1)
            console.print(f"{folder}: {len(files)} files are current", highlight=False, soft_wrap=True)
            return
        emit.write(files, folder)
        console.print(f"{folder}: wrote {len(files)} files", highlight=False, soft_wrap=True)


@app.command()
def prove(
    max_rank: Annotated[
        int, typer.Option(help="Highest rank; beyond the kernel set's own, kernels are emitted anew.")
    ] = 3,
    kernels: Annotated[Path | None, typer.Option(help="Kernel set to prove; by default the library's own.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the report: Markdown, or JSON if it ends in .json.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every row, not the kinds' totals.")] = False,
) -> None:
    """Prove every rule and every emitted kernel, exactly: nothing is sampled in floating point.

    `cartalg prove --max-rank 4 --out proofs.md`

    Emitted source is run on polynomials over Q, so that it is equal to the closed form, equivariant, and its derivative
    functions are its derivatives. Exit code 1 names every kernel that is not what its rule says.
    """
    from cartalg.ops.kernels import shipped_folder
    from cartalg_codegen.files import write_file
    from cartalg_codegen.proofs import report as proofs

    with user_errors():
        with progress_bar() as bar:
            rows = proofs.report(max_rank, kernels or shipped_folder(), counting(bar, "proving"))
        console.print(proofs_table(rows, everything))
        if out:
            text = (
                json.dumps([asdict(row) for row in rows], indent=1) if out.suffix == ".json" else proofs.markdown(rows)
            )
            write_file(out, text)
            console.print(f"report: {out}", highlight=False, soft_wrap=True)
        _stop_unless_proved(rows)


@app.command()
def atlas(
    max_rank: Annotated[int, typer.Option(help="Highest rank.")] = 4,
    out: Annotated[Path, typer.Option(help="Folder of the site.")] = Path("site"),
) -> None:
    """Write a static site of every rule: formulas, exact tables, pictures, kernels, proofs.

    `cartalg atlas --max-rank 4 --out site` and open site/index.html: no server and no network are needed.
    """
    from cartalg.atlas.site import build
    from cartalg.ops.kernels import shipped_folder
    from cartalg_codegen.proofs import report

    with user_errors(), progress_bar() as bar:
        rows = report.report(max_rank, shipped_folder(), counting(bar, "proving"))
        count = build(max_rank, out, rows, counting(bar, "writing"))
    console.print(f"{count} pages and pictures: open {out / 'index.html'}", highlight=False, soft_wrap=True)
    _stop_unless_proved(rows)


@app.command()
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

    with user_errors(), progress_bar() as bar:
        train_run(config, output, data_dir, restart, backend, bar)


@app.command()
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

    with user_errors(), progress_bar() as bar:
        keys = Keys(energy_key, forces_key, stress_key)
        result, path, count = evaluate_file(model, file, keys, numbers, plot, backend, bar)
    if as_json:
        print(json.dumps({"frames": count, **result}, indent=2))
        return
    console.print(errors_table(result, f"{file.name}, {count} frames"))
    console.print(f"parity plot: {path}", highlight=False, soft_wrap=True)


def _stop_unless_proved(rows: "list[Row]") -> None:
    """Name every row that failed, and exit with 1 if there is one."""
    failed = [row for row in rows if row.failure]
    for row in failed:
        errors.print(f"[red]not proved:[/red] {row.name}: {escape(row.failure)}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def proofs_table(rows: "list[Row]", everything: bool) -> Table:
    """A proof report: one line a row, or one line for rows of one kind that state the same; failures by themselves."""
    table = Table(title=f"{sum(not row.failure for row in rows)} of {len(rows)} rules and kernels proved")
    table.add_column("rule or kernel", no_wrap=True)
    table.add_column("proved")
    table.add_column("s", justify="right")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        words = row.name.split("_")[0] if row.kind == "kernel" else f"{row.kind}s"
        said = f"[red]fails: {escape(row.failure)}[/red]" if row.failure else ", ".join(row.claims)
        groups.setdefault((row.name if everything or row.failure else words, said), []).append(row)
    for (name, said), members in groups.items():
        count = "" if everything or members[0].failure else f" ({len(members)})"
        table.add_row(escape(name) + count, said, f"{sum(r.seconds for r in members):.1f}")
    return table


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


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the model, plots and report.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Two epochs and 20 fs: only to see that it runs.")] = False,
) -> None:
    """The whole pipeline on the shipped data: check kernels, train, evaluate, 1 ps of NVE dynamics, report."""
    from cartalg.demo import run_demo

    say: Callable[[str], None] = lambda text: console.print(text, highlight=False, soft_wrap=True)  # noqa: E731
    with user_errors(), progress_bar() as bar:
        run_demo(output, quick, bar, say, lambda result, title: console.print(errors_table(result, title)))


if __name__ == "__main__":
    app()
