"""What `inspect` prints is read back and evaluated over Q against the exact tables: no printed formula is trusted."""

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from printed import LEVI_CIVITA, check, dense, polynomial, rational, read
from sympy import QQ

from cartalg.render import render
from cartalg.render.objects import describe_coupling, describe_harmonic, describe_projector
from cartalg.symbolic import cartesian_harmonic, coupling, projector
from cartalg.symbolic.basis import basis_polynomials, full_tensor_matrix, harmonic_polynomials
from cartalg.symbolic.formulas import CROSSED, FREE, SUMMED
from cartalg.symbolic.polynomials import AXES, RING
from cartalg.symbolic.projector import detrace
from cartalg.symbolic.ranks import double_factorial

SMALL = [(a, b, c) for a, b in itertools.product(range(4), repeat=2) for c in range(abs(a - b), min(a + b, 4) + 1)]
MIDDLE = [(a, b, c) for a, b in itertools.product(range(6), repeat=2) for c in range(abs(a - b), a + b + 1)]
HIGH = [(9, 6, 9), (9, 9, 0), (9, 9, 9), (9, 9, 1), (8, 9, 9), (9, 9, 18), (9, 9, 17), (12, 9, 4), (10, 10, 7)]
VECTOR = (Fraction(2, 3), Fraction(-1, 2), Fraction(3, 5))


def sides(document, form):
    """The printed right sides of a document's first formula, each as an equation of its own."""
    text = render(document, form)
    if form == "latex":
        left, *right = text.split(r",\qquad")[0].split(" = ")
        return [f"{left} = {side}" for side in right]
    lines = text.split("\n\n")[1].split("\n")
    return [line.strip() for line in lines]


def test_letters_are_in_one_pool_only():
    letters = FREE + SUMMED + CROSSED
    assert len(set(letters)) == len(letters)
    assert not set(letters) & set("abxTP")


def packed(rank, seed):
    rng = random.Random(f"{rank} {seed}")
    return [Fraction(rng.randint(-5, 5) or 1, rng.randint(1, 3)) for _ in range(2 * rank + 1)]


def as_polynomial(values, rank):
    return sum((rational(v) * p for v, p in zip(values, basis_polynomials(rank), strict=True)), RING(0))


@pytest.mark.parametrize("form", ["unicode", "latex"])
@pytest.mark.parametrize("triple", [*MIDDLE, *HIGH], ids=str)
def test_a_printed_coupling_is_the_exact_table(triple, form):
    """Both right sides: the projected contraction, and the one written out with Kronecker deltas."""
    values = [packed(rank, seed) for rank, seed in zip(triple, "ab", strict=False)]
    out = [Fraction(0)] * (2 * triple[2] + 1)
    for (k, a, b), c in coupling(*triple).entries.items():
        out[k] += Fraction(int(c.numerator), int(c.denominator)) * values[0][a] * values[1][b]
    expected = as_polynomial(out, triple[2])
    tensors = {name: as_polynomial(v, rank) for name, v, rank in zip("ab", values, triple, strict=False)}
    projected, written = (check(read(text, form), triple[:2]) for text in sides(describe_coupling(*triple), form))
    assert projected.projected
    assert not written.projected
    assert polynomial(projected, tensors) == polynomial(written, tensors) == expected


@pytest.mark.parametrize("triple", SMALL, ids=str)
def test_a_printed_coupling_index_by_index(triple):
    full = [np.array([[Fraction(str(v)) for v in full_tensor_matrix(r).row(i)] for i in range(3**r)]) for r in triple]
    values = [packed(rank, seed) for rank, seed in zip(triple, "ab", strict=False)]
    a, b = ((m @ np.array(v)).reshape((3,) * r) for m, v, r in zip(full, values, triple, strict=False))
    out = [Fraction(0)] * (2 * triple[2] + 1)
    for (k, i, j), c in coupling(*triple).entries.items():
        out[k] += Fraction(int(c.numerator), int(c.denominator)) * values[0][i] * values[1][j]
    known = {"a": a, "b": b, "δ": np.eye(3, dtype=int).astype(object), "ε": LEVI_CIVITA.astype(object)}
    written = check(read(sides(describe_coupling(*triple), "unicode")[-1]), triple[:2])
    assert np.ravel(dense(written, known)).tolist() == (full[2] @ np.array(out)).tolist()


@pytest.mark.parametrize("form", ["unicode", "latex"])
@pytest.mark.parametrize("rank", [*range(1, 9), 12, 21])
def test_a_printed_projector_and_harmonic_of_any_rank(rank, form):
    along = sum((rational(c) * axis for c, axis in zip(VECTOR, AXES, strict=True)), RING(0))
    traceless = detrace(along**rank, rank)
    (text,) = sides(describe_projector(rank), form)
    assert polynomial(check(read(text, form)), {"x": VECTOR}) == traceless
    (text,) = sides(describe_harmonic(rank), form)
    constant = QQ(double_factorial(2 * rank - 1), int(sp.factorial(rank)))
    assert polynomial(check(read(text, form)), {"x": VECTOR}) == traceless * constant
    point = [(axis, rational(c)) for axis, c in zip(AXES, VECTOR, strict=True)]
    if rank <= 12:
        components = [p.evaluate(point) for p in harmonic_polynomials(rank)]
        by_components = sum((t * e for t, e in zip(components, basis_polynomials(rank), strict=True)), RING(0))
        assert by_components == traceless * constant


@pytest.mark.parametrize("rank", range(1, 6))
def test_a_printed_projector_and_harmonic_index_by_index(rank):
    values = dict(zip(sp.symbols("x y z"), map(sp.Rational, map(str, VECTOR)), strict=True))
    known = {"x": np.array(VECTOR, dtype=object), "δ": np.eye(3, dtype=int).astype(object)}
    ours = dense(check(read(sides(describe_projector(rank), "unicode")[0])), known)
    assert ours.reshape(-1).tolist() == [
        Fraction(str(e.subs(values))) for e in projector(rank).reshape(3**rank).tolist()
    ]
    full = full_tensor_matrix(rank) * cartesian_harmonic(rank).subs(values)
    ours = dense(check(read(sides(describe_harmonic(rank), "unicode")[0])), known)
    assert ours.reshape(-1).tolist() == [Fraction(str(v)) for v in full]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("T_i = a_ij b_j c_j", "cannot read 'c_j'"),
        ("T_ij = a_si b_si", "free indices"),
        ("T_ij = a_s b_sij a_s", "more than twice"),
        ("T_ij = a_i b_j", "braces"),
        ("T_ij = {δij}", "braces"),
        ("T_ij = δij a_ij", "free indices"),
        ("T_ii = δii", "free twice"),
    ],
)
def test_the_reader_refuses_what_breaks_the_rules_of_indices(wrong, says):
    with pytest.raises(AssertionError, match=says):
        check(read(wrong))


def test_the_reader_sees_a_wrong_coefficient():
    text = sides(describe_coupling(2, 2, 2), "unicode")[-1]
    tensors = {name: as_polynomial(packed(2, name), 2) for name in "ab"}
    right, wrong = (polynomial(check(read(t)), tensors) for t in (text, text.replace("2/3", "1/3")))
    assert right != wrong
