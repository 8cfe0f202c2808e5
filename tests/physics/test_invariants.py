"""Molien's series and integrity bases against the literature, and bases against series."""

import itertools
import json
import random

import pytest
import sympy as sp
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.physics.crystal_invariants import integrity_polynomials, invariant_polynomials
from cartalg.physics.integrity import integrity_basis
from cartalg.physics.molien import count_covariants, molien_function, molien_series
from cartalg.physics.point_groups import CRYSTAL_CLASSES, point_group
from cartalg.physics.properties import property_tensor
from cartalg.render.invariants import describe_crystal_invariants, describe_invariants
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg.symbolic.rotation import packed_rotation, rational_rotation

#: Degrees of generators of O(3): Spencer 1971 (vectors, second rank, without traces); Smith & Bao 1997 (rank 3);
#: Boehler, Kirillov & Onat 1994 (rank 4). Rotations alone have the triple product, and [v, Sv, S2v].
BASES = [
    ("1o", 6, False, [2]),
    ("2e", 6, False, [2, 3]),
    ("1o + 1o", 4, False, [2, 2, 2]),
    ("1o + 1o + 1o", 4, True, [2] * 6 + [3]),
    ("1o + 2e", 6, False, [2, 2, 3, 3, 4]),
    ("1o + 2e", 6, True, [2, 2, 3, 3, 4, 6]),
    ("2x2e", 6, False, [2, 2, 2, 3, 3, 3, 3, 4]),
    ("3x2e", 6, False, [2] * 6 + [3] * 10 + [4] * 6 + [5] * 3),
    ("3o", 12, False, [2, 4, 6, 10]),
    ("4e", 12, False, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ("1e + 2e", 6, False, [2, 2, 3, 3, 4, 6]),
]


@pytest.mark.parametrize(("irreps", "degree", "rotations", "degrees"), BASES)
def test_integrity_bases_are_those_of_the_literature(irreps, degree, rotations, degrees):
    assert [g.degree for g in integrity_basis(irreps, degree, rotations)] == degrees


@pytest.mark.parametrize(("irreps", "degree", "rotations", "degrees"), BASES[:8])
def test_generators_are_invariant_exactly(irreps, degree, rotations, degrees):
    variables = [ir for mul, ir in Irreps(irreps) for _ in range(mul)]
    rotation = rational_rotation((1, 2, -1, 3), inversion=not rotations)
    source = random.Random(1)
    values = [sp.Matrix([source.randint(-5, 5) for _ in range(ir.dim)]) for ir in variables]
    turned = [packed_rotation(ir.l, rotation, ir.p) * v for ir, v in zip(variables, values, strict=True)]
    for g in integrity_basis(irreps, degree, rotations):
        p = g.polynomial(variables)
        at = lambda points, p=p: p.subs({f"{'abc'[n]}{m}": c for n, v in enumerate(points) for m, c in enumerate(v)})  # noqa: E731
        assert at(values) == at(turned)
        assert p != 0


def _powers(number, top):
    return itertools.product(range(top // 2 + 1), repeat=number)


def test_series():
    """Rank 2 alone is 1/((1-t2)(1-t3)); rank 3 under O(3) by degrees 2, 4, 6, 10 (Smith & Bao 1997)."""
    for irreps, degrees in (("2e", (2, 3)), ("3o", (2, 4, 6, 10)), ("1o", (2,))):
        products = [sum(d * n for d, n in zip(degrees, powers, strict=True)) for powers in _powers(len(degrees), 14)]
        assert list(molien_series(irreps, 14)) == [products.count(n) for n in range(15)]
    # covariants of a vector: one of each rank that its degree allows
    assert [count_covariants([Irrep(1, -1)], [4], Irrep(rank, 1)) for rank in range(6)] == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("group", CRYSTAL_CLASSES)
def test_polynomials_of_crystals_are_as_many_as_molien_says(group):
    series = molien_series("1o", 8, point_group(group))
    assert series == tuple(len(invariant_polynomials(group, d)) for d in range(9))
    function = sp.Poly(sp.numer(molien_function("1o", point_group(group))), sp.Symbol("t"))
    below = sp.Poly(sp.denom(molien_function("1o", point_group(group))), sp.Symbol("t"))
    ours = sp.Poly(list(reversed(series)), sp.Symbol("t")) * below - function
    assert all(power > 8 for (power,), _ in ours.terms())
    symmetric = "ijkl=jikl=ikjl=ijlk"
    assert len(property_tensor(symmetric, group).independent) == series[4]


#: Degrees of an integrity basis of a vector: Smith, Smith & Rivlin 1963.
VECTOR = {
    "-1": [2] * 6, "2/m": [2] * 4, "mmm": [2] * 3, "222": [2, 2, 2, 3], "4mm": [1, 2, 4], "-42m": [2, 2, 3, 4],
    "422": [2, 2, 4, 5], "3m": [1, 2, 3], "32": [2, 2, 3, 4], "-3m": [2, 2, 4, 6], "6mm": [1, 2, 6], "-6m2": [2, 2, 3],
    "622": [2, 2, 6, 7], "23": [2, 3, 4, 6], "m-3": [2, 4, 6, 6], "432": [2, 4, 6, 9], "-43m": [2, 3, 4],
    "m-3m": [2, 4, 6],
    "∞m": [1, 2], "∞∞m": [2],
}  # fmt: skip


@pytest.mark.parametrize("group", VECTOR)
def test_integrity_bases_of_a_vector(group):
    assert [sum(p.leading_expv()) for p in integrity_polynomials(group)] == VECTOR[group]


def test_descriptions_and_command():
    text = describe_invariants("1o + 2e", 4)
    assert text.title == "Invariants of 1o + 2e under O(3) to degree 4: 5 generators"
    a, b = sp.symbols("a:3"), sp.symbols("b:5")
    assert text.expression()[0].free_symbols == set(a)
    assert text.expression()[2].free_symbols == {*a, *b}
    assert "I₃ = x⁶ + y⁶ + z⁶" in CliRunner().invoke(app, ["inspect", "invariants", "--group", "m-3m"]).stdout
    stored = json.loads(CliRunner().invoke(app, ["inspect", "invariants", "3o", "--format", "json"]).stdout)
    assert stored["molien"] == [1, 0, 1, 0, 2, 0, 3]
    assert describe_crystal_invariants("∞m", 4).data["generators"] == ["z", "x**2 + y**2"]
    for arguments in (["--degree", "0"], ["2e", "--group", "1"], ["2"]):
        result = CliRunner().invoke(app, ["inspect", "invariants", *arguments])
        assert result.exit_code
        assert result.stderr.startswith("error:")
