"""Interaction tensors and functions of multipoles, described for every format."""

import sympy as sp

from cartalg.physics.multipoles import interaction_tensor
from cartalg.physics.stone import component, stone_function
from cartalg.render.document import Document
from cartalg.symbolic.formulas import FREE, index_names, projector_formula
from cartalg.symbolic.notation import Brackets, Equation, Exact, Indexed, Node, Sum, Symbol, node, scaled
from cartalg.symbolic.polynomials import rational
from cartalg.symbolic.ranks import double_factorial

#: Highest rank whose components are written out.
MAX_WRITTEN = 6


def describe_interaction(rank: int) -> Document:
    """The tensor grad .. grad 1/r of a rank, in index notation. Raises ValueError for a bad rank."""
    projected = projector_formula(rank).sides[-1]
    above: Node = Brackets(projected) if rank > 1 else projected
    below = Symbol("r") ** node(2 * rank + 1) if rank else Symbol("r")
    constant = rational((-1) ** rank * double_factorial(2 * rank - 1))
    value = Sum((scaled(constant, above / below),))
    name: Node = Indexed(Symbol("T"), index_names(FREE, rank)) if rank else Symbol("T")

    def written() -> sp.Basic:
        if rank > MAX_WRITTEN:
            raise ValueError(f"T of rank {rank} has 3^{rank} components; they are written out to rank {MAX_WRITTEN}")
        return interaction_tensor(rank)

    return Document(
        "interaction",
        f"Interaction tensor of rank {rank}: {'gradients of ' if rank else ''}1/r, charges without 1/(4π ε₀)",
        (Equation((name, value)), "braces: the sum over distinct index assignments"),
        {"rank": rank, "formula": "(-1)^n (2n-1)!!/r^(2n+1) P_n x..x"},
        written,
    )


def describe_stone(first: str, second: str) -> Document:
    """The interaction function of two multipole components. Raises ValueError for a bad label."""
    value, power = stone_function(first, second), component(first)[0] + component(second)[0] + 1
    return Document(
        "stone",
        f"Interaction of multipoles {first} and {second}: T R^{power}",
        (
            Equation((Symbol("T"), Exact(value))),
            "ax, ay, az: unit vector from the first site to the second, in the axes of the first;",
            "bx, by, bz: from the second to the first, in the axes of the second; cxy: cosine of axes x and y",
        ),
        {"first": first, "second": second, "power": power, "function": str(value)},
        lambda: value,
    )
