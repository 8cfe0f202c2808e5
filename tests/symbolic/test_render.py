import json
from fractions import Fraction

import pytest

from cartalg.symbolic import coupling
from cartalg.symbolic.basis import basis_polynomials
from cartalg.symbolic.render import render_coupling, render_harmonic, render_projector


def test_projector_in_the_papers_notation():
    assert "xi xj xk − 1/5 {δij xk} r²" in render_projector(3, "unicode")
    assert r"-\frac{1}{5}\left\{\delta_{ij} x_k\right\} r^{2}" in render_projector(3, "latex")


def test_coupling_names_its_contraction():
    assert "T_i = P[ ε_iqr a_q b_r ]" in render_coupling(1, 1, 1, "unicode")
    assert "T_ij = 3/2 P[ a_i b_j ]" in render_coupling(1, 1, 2, "unicode")
    assert "T_ij = 2 P[ a_si b_sj ]" in render_coupling(2, 2, 2, "unicode")
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


def test_unknown_format():
    with pytest.raises(ValueError, match="unicode, latex or json"):
        render_projector(2, "html")
