"""`cartalg inspect` for what physicists ask: crystals."""

from typing import Annotated

import typer

from cartalg.cli.inspect import FormatOption
from cartalg.cli.terminal import user_errors
from cartalg.render import render


def inspect_property(
    formula: str,
    group: Annotated[str, typer.Option(help="Hermann-Mauguin symbol; without one, constants of every class.")] = "",
    axial: Annotated[bool, typer.Option("--axial", help="Pseudotensor: changes sign under reflections.")] = False,
    time_odd: Annotated[bool, typer.Option("--time-odd", help="Changes sign with time; for primed groups.")] = False,
    letter: Annotated[str, typer.Option(help="Of the constants.")] = "T",
    shear_twice: Annotated[str, typer.Option(help="Index pairs whose shears count twice: none, last, all.")] = "none",
    form: FormatOption = "unicode",
) -> None:
    """Constants of a property tensor in a crystal: `cartalg inspect property ijkl=jikl=klij --group -3m --letter c`.

    Compliances: `--letter s --shear-twice all`; piezoelectric moduli: `ijk=ikj --letter d --shear-twice all`. Magnetic
    groups have primes: `cartalg inspect property ij --group "-3'm'" --axial --time-odd` (magnetoelectric).
    """
    from cartalg.render.crystals import describe_constants, describe_property

    with user_errors():
        if shear_twice not in ("none", "last", "all"):
            raise ValueError(f"--shear-twice must be none, last or all, got {shear_twice!r}")
        if not group:
            print(render(describe_constants(formula, axial), form))
            return
        print(render(describe_property(formula, group, axial, time_odd, letter, shear_twice), form))  # type: ignore[arg-type]


#: What `cartalg inspect` has more.
COMMANDS = {"property": inspect_property}
