"""`cartalg generate`, `cartalg prove`, `cartalg atlas`: kernels emitted, proved, and shown."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cartalg.cli.terminal import console, counting, errors, needs, progress_bar, user_errors
from cartalg.collector import at_rest

if TYPE_CHECKING:
    from cartalg_codegen.proofs.report import Row


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

    `cartalg generate --also product_natural_limited_a3_o3_n3 --out mine` adds a kernel beyond the usual ones.

    `cartalg generate --only harmonics_l6 --only convolution_natural_h6_e6 --out six` emits just these.

    `cartalg generate --check` proves that the library's own set is what the rules give.
    """
    from cartalg.files import shipped_folder
    from cartalg_codegen import emit
    from cartalg_codegen.sets import Set
    from cartalg_codegen.specs import parse

    with user_errors():
        folder = out or shipped_folder()
        known = Set(3)
        if (folder / emit.MANIFEST).is_file():  # by default what the folder holds, anew
            known = Set.from_json(json.loads((folder / emit.MANIFEST).read_bytes()))
        names = known.also if also is None else tuple(also)
        chosen = known.only if only is None else tuple(only)
        rank = (
            max([known.max_rank, *(parse(name).rank for name in (*names, *chosen))]) if max_rank is None else max_rank
        )
        with progress_bar() as bar:
            files = emit.render(Set(rank, names, chosen), counting(bar, "deriving"))
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
    from cartalg.files import shipped_folder, write_file
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


@needs("train", "cartalg compile")
def compile_kernels(
    configs: Annotated[
        list[Path] | None, typer.Argument(help="YAML configurations; by default the usual models.")
    ] = None,
    level: Annotated[list[str] | None, typer.Option(help="x86-64-v3 or -v4, for --out; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to come with the library, not the user's cache.")] = None,
) -> None:
    """Compile the kernels of models before they are needed, for training and for every prediction.

    `cartalg compile my.yaml` fills the cache: before many jobs start, or where a simulation should not wait.

    `cartalg compile --out generated/cartalg_kernels/objects docs/examples/*.yaml` makes the objects that come with the
    library: of these and the usual models, in both precisions, for the processor at hand or each `--level`.
    """
    with at_rest(lasting=True):
        import torch

        from cartalg.compilation import USUAL, compile_all, jobs_of, ship
        from cartalg.train.config import load_config
    from cartalg_codegen.backends.numba.targets import LEVELS
    from cartalg_codegen.backends.numba.targets import level as own

    torch.set_num_threads(1)
    with user_errors(), progress_bar() as bar:
        wrong = [name for name in level or () if name not in LEVELS]
        if wrong:
            raise ValueError(f"no level {wrong[0]}; there are {', '.join(LEVELS)}")
        if level and out is None:
            raise ValueError("--level is for --out: the cache of this machine needs its own level alone")
        models, progress = [load_config(path).model for path in configs or ()], counting(bar, "compiling")
        if out:
            jobs = jobs_of([*USUAL, *models], level or [own()])
            made = ship(jobs, out, progress)
        else:
            jobs = jobs_of(models or USUAL)
            made = compile_all(jobs, progress)
    console.print(f"{len(jobs)} functions, {made} of them compiled now", highlight=False)


@needs("atlas", "cartalg atlas")
def atlas(
    max_rank: Annotated[int, typer.Option(help="Highest rank.")] = 4,
    out: Annotated[Path, typer.Option(help="Folder of the site.")] = Path("site"),
) -> None:
    """Write a static site of every rule: formulas, exact tables, pictures, kernels, proofs.

    `cartalg atlas --max-rank 4 --out site` and open site/index.html: no server and no network are needed.
    """
    from cartalg.atlas.site import build
    from cartalg.files import shipped_folder
    from cartalg_codegen.proofs import report

    with user_errors(), progress_bar() as bar:
        rows = report.report(max_rank, shipped_folder(), counting(bar, "proving"))
        count = build(max_rank, out, rows, counting(bar, "writing"))
    console.print(f"{count} pages and pictures: open {out / 'index.html'}", highlight=False, soft_wrap=True)
    _stop_unless_proved(rows)


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
