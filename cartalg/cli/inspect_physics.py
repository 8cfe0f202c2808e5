"""`cartalg inspect` for what physicists ask: crystals, invariants, multipoles, indices."""

from collections.abc import Callable
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


def inspect_invariants(
    irreps: Annotated[str, typer.Argument(help="Variables, a sum of irreps; a vector by default.")] = "1o",
    group: Annotated[str, typer.Option(help="Point group of the invariants of a vector.")] = "",
    degree: Annotated[int, typer.Option(help="The highest, from 1 up.")] = 6,
    rotations: Annotated[bool, typer.Option("--rotations", help="Under SO(3): pseudoscalars too.")] = False,
    form: FormatOption = "unicode",
) -> None:
    """Integrity basis to a degree, with Molien's series: `cartalg inspect invariants "1o + 2e" --degree 6`.

    Polynomials of a vector in a crystal: `cartalg inspect invariants --group m-3m --degree 9`.
    """
    from cartalg.render.invariants import describe_crystal_invariants, describe_invariants

    with user_errors():
        if degree < 1:
            raise ValueError(f"--degree must be at least 1, got {degree}")
        if not group:
            print(render(describe_invariants(irreps, degree, rotations), form))
            return
        if irreps != "1o":
            raise ValueError(f"--group gives the invariants of a vector, 1o; leave out {irreps!r}")
        print(render(describe_crystal_invariants(group, degree), form))


def inspect_interaction(
    first: Annotated[str, typer.Argument(help="A rank, or a multipole component such as 20 or 11c.")],
    second: Annotated[str, typer.Argument(help="The component on the other site.")] = "",
    form: FormatOption = "unicode",
) -> None:
    """Interaction tensor of a rank, `cartalg inspect interaction 3`, or Stone's function of two multipole components.

    In axes of their own, by direction cosines: `cartalg inspect interaction 20 11c`.
    """
    from cartalg.render.electrostatics import describe_interaction, describe_stone

    with user_errors():
        if not second and not first.isdigit():
            raise ValueError(f"give a rank, or two multipole components such as 20 and 11c; got {first!r}")
        print(render(describe_stone(first, second) if second else describe_interaction(int(first)), form))


def inspect_expression(
    text: Annotated[str, typer.Argument(help='Tensors with indices, like "a_ij b_jk n_k".')],
    symmetry: Annotated[list[str] | None, typer.Option(help="Of a tensor, like a_ij=a_ji; may be repeated.")] = None,
    rank: Annotated[int | None, typer.Option(help="The parts of this rank alone.")] = None,
    form: FormatOption = "unicode",
) -> None:
    """Irreducible parts of an expression with indices, in its own letters: `cartalg inspect expression "a_ij n_k"`.

    Symmetric tensors: `cartalg inspect expression "a_ij b_jk" --symmetry a_ij=a_ji --symmetry b_ij=b_ji`. As a
    function: `--rank 2 --format c` (python, julia; wolfram, sympy for an array). `delta_ij` and `eps_ijk` are known.
    """
    from cartalg.render.indexed import describe_expression

    with user_errors():
        print(render(describe_expression(text, symmetry or (), rank), form))


def inspect_symbol(l1: int, l2: int, l3: int, form: FormatOption = "unicode") -> None:
    """The Cartesian 3j symbol of three ranks in deltas and epsilons: `cartalg inspect symbol 1 1 2`."""
    from cartalg.render.indexed import describe_3j

    with user_errors():
        print(render(describe_3j(l1, l2, l3), form))


def inspect_power(
    irreps: Annotated[str, typer.Argument(help="A sum of irreps, like 2e.")],
    diagram: Annotated[str, typer.Argument(help="Rows of a Young diagram: 3 for symmetric, 1,1 for antisymmetric.")],
    form: FormatOption = "unicode",
) -> None:
    """Powers of irreps of any Young symmetry: `cartalg inspect power 1o 2,1`, `cartalg inspect power "1o + 2e" 3`."""
    from cartalg.render.indexed import describe_power

    with user_errors():
        if not all(row.strip().isdigit() for row in diagram.split(",")):
            raise ValueError(f"a Young diagram is whole numbers with commas, like 2,1; got {diagram!r}")
        print(render(describe_power(irreps, tuple(int(row) for row in diagram.split(","))), form))


#: What `cartalg inspect` has more.
COMMANDS: dict[str, Callable[..., None]] = {
    "property": inspect_property,
    "invariants": inspect_invariants,
    "interaction": inspect_interaction,
    "expression": inspect_expression,
    "symbol": inspect_symbol,
    "power": inspect_power,
}
