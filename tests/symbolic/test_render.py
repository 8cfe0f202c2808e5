import html
import json
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import sympy as sp

from cartalg.symbolic import coupling
from cartalg.symbolic.basis import basis_polynomials
from cartalg.symbolic.render import render_coupling, render_general, render_harmonic, render_projector


def test_projector_in_the_papers_notation():
    assert "xi xj xk − 1/5 {δij xk} r²" in render_projector(3, "unicode")
    assert r"- \tfrac{1}{5}\,\left\{\delta_{ij} x_{k}\right\} r^{2}" in render_projector(3, "latex")


def test_coupling_names_its_contraction():
    assert "T_i = P [ ε_iqr a_q b_r ]" in render_coupling(1, 1, 1, "unicode")
    assert "T_ij = 3/2 P [ a_i b_j ]" in render_coupling(1, 1, 2, "unicode")
    assert "T_ij = 2 P [ a_si b_sj ]" in render_coupling(2, 2, 2, "unicode")
    assert r"\epsilon_{iqr}" in render_coupling(2, 1, 2, "latex")


def test_json_rebuilds_the_coupling_exactly():
    stored = json.loads(render_coupling(2, 1, 2, "json"))
    entries = {(k, a, b): Fraction(c) for k, a, b, c in stored["entries"]}
    rule = coupling(2, 1, 2)
    assert entries == {i: Fraction(int(c.numerator), int(c.denominator)) for i, c in rule.entries.items()}
    for p, listed in zip(basis_polynomials(2), stored["basis"]["2"], strict=True):
        assert {tuple(t[:3]): Fraction(t[3]) for t in listed["polynomial"]} == {
            e: Fraction(int(c.numerator), int(c.denominator)) for e, c in p.items()
        }


def test_harmonic_of_rank_one_is_the_vector():
    assert json.loads(render_harmonic(1, "json"))["components"] == [
        [[0, 1, 0, "1"]],
        [[0, 0, 1, "1"]],
        [[1, 0, 0, "1"]],
    ]


def test_sympy_source_is_the_rule():
    a, b = sp.symbols("a:3"), sp.symbols("b:3")
    column = sp.sympify(render_coupling(1, 1, 1, "sympy"))
    assert column == sp.Matrix([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
    x, y = sp.symbols("x y")
    assert sp.sympify(render_projector(2, "sympy"))[0][1] == x * y


@pytest.mark.parametrize(
    "text",
    [
        render_projector(4, "mathml"),
        render_coupling(2, 1, 2, "mathml"),
        render_general("levi-civita coupling", "mathml"),
    ],
)
def test_mathml_is_well_formed_and_has_no_raw_latex(text):
    root = ElementTree.fromstring(html.unescape(text))
    assert root.tag.endswith("math")
    assert "\\" not in "".join(root.itertext())


def test_formulas_of_any_rank():
    assert "Σ" in render_general("projector", "unicode")
    assert r"\epsilon" in render_general("levi-civita coupling", "latex")
    with pytest.raises(ValueError, match="no json format"):
        render_general("harmonic", "json")
    with pytest.raises(ValueError, match="exists for"):
        render_general("product", "latex")


@pytest.mark.parametrize("render", [render_projector, render_harmonic, lambda r, f: render_coupling(r, r, 0, f)])
def test_unknown_format(render):
    with pytest.raises(ValueError, match="unicode, latex, mathml, json, sympy"):
        render(2, "html")
