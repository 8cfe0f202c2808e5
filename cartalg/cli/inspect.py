"""`cartalg inspect`: exact rules on the terminal."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cartalg.cli.terminal import console, user_errors
from cartalg.render import formats, render

if TYPE_CHECKING:
    from cartalg_codegen.program import Program

inspect_app = typer.Typer(help="Print exact rules: projectors, harmonics, couplings.", no_args_is_help=True)
RANKS = {"ignore_unknown_options": True}  # -1 is a (bad) rank, not an option

FormatOption = Annotated[str, typer.Option("--format", help=", ".join(formats()))]


def _ranks(*values: str) -> list[int] | None:
    """Whole numbers, or None where every rank is a letter: the formula of any rank."""
    if all(value.isalpha() or value.rstrip("123").isalpha() for value in values):
        return None
    try:
        return [int(value) for value in values]
    except ValueError:
        raise ValueError(f"a rank is a whole number from 0 up, or l for any rank; got {' '.join(values)}") from None


def _print_kernel(program: "Program") -> None:
    """A kernel's forward function as it is emitted, with its operation count."""
    from cartalg_codegen.backends.numba.printer import print_function
    from cartalg_codegen.lowering.rows import function
    from cartalg_codegen.text import function_source

    print(f"\nKernel: {program.operations} multiplications and additions a channel\n")
    print(function_source(print_function(function(program)), program.name))


@inspect_app.command("projector", context_settings=RANKS)
def inspect_projector(rank: str, form: FormatOption = "unicode") -> None:
    """The traceless projector of a rank, e.g. `cartalg inspect projector 3`; of any rank: `inspect projector l`."""
    from cartalg.render.objects import describe_general, describe_projector
    from cartalg_codegen.specs.pack import projection

    with user_errors():
        ranks = _ranks(rank)
        print(render(describe_projector(*ranks) if ranks else describe_general("projector"), form))
        if ranks and form == "unicode" and 1 <= ranks[0] <= 4:
            _print_kernel(projection(ranks[0]))


@inspect_app.command("harmonic", context_settings=RANKS)
def inspect_harmonic(rank: str, form: FormatOption = "unicode") -> None:
    """The Cartesian harmonic of a rank, e.g. `cartalg inspect harmonic 2 --format latex`; any rank: `harmonic l`."""
    from cartalg.render.objects import describe_general, describe_harmonic
    from cartalg_codegen.specs import HarmonicsSpec

    with user_errors():
        ranks = _ranks(rank)
        print(render(describe_harmonic(*ranks) if ranks else describe_general("harmonic"), form))
        if ranks and ranks[0] and form == "unicode":
            _print_kernel(HarmonicsSpec(ranks[0]).forward())


@inspect_app.command("coupling", context_settings=RANKS)
def inspect_coupling(l1: str, l2: str, l3: str, form: FormatOption = "unicode") -> None:
    """The coupling (L1, L2) -> L3 with its kernel: `cartalg inspect coupling 2 1 2`.

    For other programs: `--format json`, `--format sympy`. Of any ranks: `cartalg inspect coupling l1 l2 l3`.
    """
    from cartalg.render.objects import describe_coupling, describe_general
    from cartalg.symbolic.contraction import CouplingKind
    from cartalg_codegen.specs import CouplingSpec

    with user_errors():
        ranks = _ranks(l1, l2, l3)
        if ranks is None:
            print("\n".join(render(describe_general(f"{kind} coupling"), form) for kind in CouplingKind))
            return
        print(render(describe_coupling(*ranks), form))
        if form == "unicode":
            _print_kernel(CouplingSpec(*ranks).forward())


@inspect_app.command("tensor")
def inspect_tensor(formula: str, form: FormatOption = "unicode") -> None:
    """Irreducible parts of a Cartesian tensor with index symmetry, e.g. `cartalg inspect tensor ijkl=jikl=klij`."""
    from cartalg.render.objects import describe_tensor

    with user_errors():
        print(render(describe_tensor(formula), form))


@inspect_app.command("operations")
def inspect_operations(max_rank: int = 6) -> None:
    """Multiply-adds of the edge convolution as rank grows, e.g. `cartalg inspect operations --max-rank 8`."""
    from cartalg_codegen.counts import counts
    from cartalg_codegen.specs import ConvolutionSpec

    with user_errors():
        if not 1 <= max_rank <= 8:
            raise ValueError(f"max_rank must lie in 1..8, got {max_rank}")
        table = Table(title="Edge convolution, hidden rank = edge rank, natural parity: multiply-adds")
        for column in ("rank", "paths", "ours", "sparse CG", "3^l", "radial", "shared", "aligned", "its radial"):
            table.add_column(column, justify="right")
        for rank in range(1, max_rank + 1):
            c = counts(ConvolutionSpec("natural", rank, rank))
            numbers = (rank, c.paths, c.ours, c.sparse, c.dense, c.radial, c.shared, c.aligned, c.aligned_radial)
            table.add_row(*map(str, numbers))
        console.print(table)
        console.print(
            "Of one edge and channel: the emitted kernel; nonzero real Clebsch-Gordan coefficients; full Cartesian\n"
            "tensors; radial weights in ours. Shared: couplings times harmonics, made once an edge for all channels.\n"
            "Aligned: in the frame of the edge, paths of an output added; its radial weights are interpolated on top."
        )
