"""Property tensors in every format and on the command line."""

import json
from xml.etree import ElementTree

import pytest
import sympy as sp
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.physics.properties import property_tensor
from cartalg.render import formats, render
from cartalg.render.crystals import describe_constants, describe_property

ELASTIC = "ijkl=jikl=klij"


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", "property", *arguments])


def test_a_matrix_in_lines_and_in_latex():
    document = describe_property(ELASTIC, "m-3m", letter="c")
    assert render(document).startswith("Polar tensors ijkl=jikl=klij in m-3m (Oh, cubic): 3 constants\n\n  c =\n")
    assert "  c12  c12  c11    .    .    ." in render(document)
    assert "c11, c12, c44" in render(document)
    written = render(document, "latex")
    assert written.startswith(r"c = \left( \begin{matrix} c_{11} & c_{12} & c_{12} & 0 & 0 & 0 \\ c_{12} & c_{11}")
    assert written.count("&") == 30
    assert ElementTree.fromstring(render(document, "mathml").replace("&", "&amp;")).tag.endswith("math")


def test_sympy_and_json_rebuild_the_tensor():
    found = property_tensor("ijk=ikj", "3m")
    document = describe_property("ijk=ikj", "3m", letter="d", doubled="all")
    assert sp.sympify(render(document, "sympy")) == found.matrix("d", "all")
    stored = json.loads(render(document, "json"))
    assert stored["independent"] == [list(i) for i in found.independent]
    rebuilt = {tuple(i): {tuple(f): sp.Rational(c) for f, c in values} for i, values in stored["components"]}
    assert rebuilt == {i: dict(c.items()) for i, c in found.components.items()}


@pytest.mark.parametrize("form", formats())
def test_every_format(form):
    for document in (describe_property("i", "-1"), describe_property("ijk", "23"), describe_constants("ij=ji")):
        assert render(document, form)


def test_the_command():
    assert "c14  c44" not in run(ELASTIC, "--group", "m-3m", "--letter", "c").stdout
    assert "(c11 - c12)/2" in run(ELASTIC, "--group", "6/mmm", "--letter", "c").stdout
    assert "2 (s11 - s12)" in run(ELASTIC, "--group", "6/mmm", "--letter", "s", "--shear-twice", "all").stdout
    assert "1 constant\n" in run("ij", "--group", "432", "--axial").stdout
    assert json.loads(run(ELASTIC, "--format", "json").stdout)["constants"]["-3m"] == 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((ELASTIC, "--group", "m3m"), "near it: m-3m"),
        ((ELASTIC, "--group", "3", "--shear-twice", "both"), "must be none, last or all"),
        (("ij=jk",), "not a permutation"),
    ],
)
def test_mistakes_are_one_line(arguments, says):
    result = run(*arguments)
    assert result.exit_code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
