"""Numbers and signs in print, where formulas of given rank have none of a kind."""

from fractions import Fraction

import pytest

from cartalg.render.formats import latex, unicode
from cartalg.symbolic import notation as n

HALF, X = n.Number(Fraction(-1, 2)), n.Symbol("x")


@pytest.mark.parametrize(
    ("value", "tex", "plain"),
    [
        (HALF, r"-\tfrac{1}{2}", "−1/2"),
        (n.Number(Fraction(-3)), "-3", "−3"),
        (n.Power(X, n.Number(Fraction(10))), "x^{10}", "x¹⁰"),
    ],
)
def test_numbers(value, tex, plain):
    assert (latex.expression(value), unicode.expression(value)) == (tex, plain)


def test_a_quotient_has_its_top_above():
    assert latex.expression(n.Quotient(X, n.Symbol("y"))) == r"\frac{x}{y}"


def test_minus_one_is_no_factor_of_one():
    assert n.scaled(Fraction(1), X) == X
    assert n.scaled(Fraction(-1), X) == n.Product((n.Number(Fraction(-1)), X))
