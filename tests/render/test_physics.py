"""Interaction tensors and functions as documents and on the command line."""

import pytest
import sympy as sp
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.physics.multipoles import interaction_tensor
from cartalg.render import formats, render
from cartalg.render.electrostatics import describe_interaction, describe_stone


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", "interaction", *arguments])


@pytest.mark.parametrize("form", formats())
def test_every_format(form):
    for document in (describe_interaction(0), describe_interaction(3), describe_stone("20", "11c")):
        assert render(document, form)


def test_formulas():
    assert "T_ijk = −15 [ xi xj xk − 1/5 {δij xk} r² ]/r⁷" in run("3").stdout
    assert "T_i = −xi/r³" in run("1").stdout
    assert "T = 1/r" in run("0").stdout
    written = sp.Array(sp.sympify(render(describe_interaction(2), "sympy")))
    assert (written - interaction_tensor(2)).applyfunc(sp.simplify) == sp.Array.zeros(3, 3)
    assert sp.sympify(render(describe_stone("10", "10"), "sympy")) == sp.sympify("3*az*bz + czz")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("20c",), "give a rank, or two"),
        (("20", "12c"), "no multipole component"),
        (("7", "--format", "sympy"), "3^7 components"),
    ],
)
def test_mistakes(arguments, says):
    result = run(*arguments)
    assert result.exit_code
    assert says in result.stderr
