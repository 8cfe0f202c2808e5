"""Integrity bases and Molien's series, described for every format."""

import sympy as sp

from cartalg.physics.crystal_invariants import integrity_polynomials
from cartalg.physics.integrity import Tree, integrity_basis
from cartalg.physics.molien import molien_function, molien_series
from cartalg.physics.point_groups import point_group
from cartalg.render.document import Document, Table
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg.symbolic.notation import Equation, Exact, Indexed, Node, Parentheses, Product, Symbol, node


def describe_invariants(irreps: str, degree: int, rotations: bool = False) -> Document:
    """Generators of the invariants of irreps under O(3), or under rotations alone, up to a degree.

    Raises:
        ValueError: As `integrity_basis`.
    """
    variables = [irrep for mul, irrep in Irreps(irreps) for _ in range(mul)]
    found = integrity_basis(irreps, degree, rotations)
    group = "SO(3)" if rotations else "O(3)"
    series = molien_series(_unsigned(irreps) if rotations else irreps, degree)
    names = ", ".join(f"{name} = {ir}" for name, ir in zip("abcdefgh", variables, strict=False))
    return Document(
        "invariants",
        f"Invariants of {Irreps(irreps)} under {group} to degree {degree}: {len(found)} generators",
        (
            *(Equation((_numbered(n), _coupled(g.tree, g.names))) for n, g in enumerate(found, start=1)),
            f"{names}; (a b)₂ is the coupling of a and b to rank 2",
            _series_table(series),
        ),
        {
            "irreps": str(Irreps(irreps)),
            "group": group,
            "degree": degree,
            "molien": list(series),
            "generators": [{"degrees": list(g.degrees), "coupled": str(g)} for g in found],
        },
        lambda: sp.Matrix([g.polynomial(variables) for g in found]),
    )


def describe_crystal_invariants(group: str, degree: int) -> Document:
    """Generators of the invariant polynomials of a vector under a point group, up to a degree.

    Raises:
        ValueError: If the symbol is bad.
    """
    found = point_group(group)
    generators = [p.as_expr() for p in integrity_polynomials(found, degree)]
    series = molien_series("1o", degree, found) if found.finite else ()
    molien = (Equation((Symbol("M"), Exact(molien_function("1o", found)))),) if found.finite else ()
    return Document(
        "invariants",
        f"Invariants of a vector in {found} ({found.schoenflies}) to degree {degree}: {len(generators)} generators",
        (
            *(Equation((_numbered(n), Exact(p))) for n, p in enumerate(generators, start=1)),
            *(("Molien's series:", *molien, _series_table(series)) if molien else ()),
        ),
        {
            "group": found.symbol,
            "degree": degree,
            "molien": list(series),
            "generators": [str(p) for p in generators],
        },
        lambda: sp.Matrix(generators),
    )


def _unsigned(irreps: str) -> Irreps:
    """All parities even: invariants of rotations."""
    return Irreps((mul, Irrep(ir.l, 1)) for mul, ir in Irreps(irreps))


def _series_table(series: tuple[int, ...]) -> Table:
    rows = tuple((str(n), str(count)) for n, count in enumerate(series))
    return Table("Independent invariants of each degree (Molien)", ("degree", "invariants"), rows)


def _numbered(number: int) -> Node:
    return Indexed(Symbol("I"), (node(number),))


def _coupled(tree: Tree, names: tuple[str, ...]) -> Node:
    if isinstance(tree, int):
        return Symbol(names[tree])
    pair = Parentheses(Product((_coupled(tree[0], names), _coupled(tree[1], names))))
    return Indexed(pair, (node(tree[2]),))
