import html
import itertools
import json
import shutil
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sympy as sp

from cartalg import render as package
from cartalg.render import formats, render
from cartalg.render.document import Document
from cartalg.render.objects import (
    describe_coupling,
    describe_general,
    describe_harmonic,
    describe_projector,
    describe_tensor,
)
from cartalg.symbolic import CouplingKind, coupling
from cartalg.symbolic import notation as n
from cartalg.symbolic.basis import basis_polynomials
from cartalg.symbolic.contraction import Contraction, contraction_constant, orthonormal_constant
from cartalg.symbolic.general import general_formulas
from cartalg.symbolic.notation import Node
from cartalg.symbolic.projector import projector
from cartalg.symbolic.reducible import decompose

DOCUMENTS = {
    "projector": describe_projector(4),
    "harmonic": describe_harmonic(2),
    "coupling": describe_coupling(2, 1, 2),
    "tensor": describe_tensor("ijkl=jikl=klij"),
    **{name: describe_general(name) for name in general_formulas()},
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("form", formats())
def test_every_object_has_every_format(name, form):
    if DOCUMENTS[name].kind == "general" and form in ("c", "julia", "python"):
        with pytest.raises(ValueError, match="not for any rank"):
            render(DOCUMENTS[name], form)
        return
    text = render(DOCUMENTS[name], form)
    assert text
    if form == "unicode":
        assert "\\" not in text
        assert "None" not in text
    if form == "json":
        assert json.loads(text)["kind"] == DOCUMENTS[name].kind
    if form == "sympy":
        assert sp.sympify(text) is not None
    if form == "latex":
        assert text.count("{") == text.count("}")
        assert text.count(r"\left") == text.count(r"\right")
    if form == "mathml":
        root = ElementTree.fromstring(html.unescape(text))
        assert root.tag.endswith("math")
        assert "\\" not in "".join(root.itertext())


def test_a_new_format_is_one_new_file(monkeypatch, tmp_path):
    """A file beside the others is a format, on the command line too, and no other file changes."""
    from typer.testing import CliRunner

    from cartalg.cli import app

    folder = tmp_path / "formats"
    shutil.copytree(Path(package.__file__).parent / "formats", folder)
    (folder / "shout.py").write_text("def write(document):\n    return document.title.upper()\n")
    monkeypatch.setattr(package._formats, "__path__", [str(folder)])
    assert "shout" in formats()
    assert render(describe_projector(3), "shout") == "TRACELESS PROJECTOR OF RANK 3"
    assert CliRunner().invoke(app, ["inspect", "tensor", "ij", "--format", "shout"]).stdout.startswith("TENSORS IJ: 9")


class Unheard(Node):
    """A node that no printer knows."""


@pytest.mark.parametrize("form", ["latex", "unicode"])
def test_a_printer_refuses_what_it_does_not_know(form):
    module = __import__(f"cartalg.render.formats.{form}", fromlist=["expression"])
    with pytest.raises(TypeError, match="Unheard"):
        module.expression(Unheard() * 2)


def test_projector_in_the_papers_notation():
    assert "(P x)_ijk = xi xj xk − 1/5 {δij xk} r²" in render(describe_projector(3))
    assert r"- \tfrac{1}{5}\,\left\{\delta_{ij} x_{k}\right\} r^{2}" in render(describe_projector(3), "latex")


def test_coupling_names_its_kind_and_its_contraction():
    assert "T_i = P [ ε_iqr a_q b_r ]" in render(describe_coupling(1, 1, 1))
    assert "T_ij = 3/2 P [ a_i b_j ]" in render(describe_coupling(1, 1, 2))
    assert "T_ij = 2 P [ a_si b_sj ]" in render(describe_coupling(2, 2, 2))
    assert r"\epsilon_{iqr}" in render(describe_coupling(2, 1, 2), "latex")
    assert render(describe_coupling(2, 1, 2)).startswith("Coupling (2, 1) → 2: Levi-Civita\n")
    assert render(describe_coupling(2, 2, 2)).startswith("Coupling (2, 2) → 2: contraction\n")
    assert "T₁ = a₋₁ b₀ − a₀ b₋₁" in render(describe_coupling(1, 1, 1))  # packed vectors are (y, z, x)


def test_powers_of_two_digits_are_superscripts():
    text = render(describe_harmonic(10))
    assert "x¹⁰" in text
    assert "*" not in text
    assert "x  " not in text


def test_json_rebuilds_the_coupling_exactly():
    stored = json.loads(render(describe_coupling(2, 1, 2), "json"))
    entries = {(k, a, b): Fraction(c) for k, a, b, c in stored["entries"]}
    rule = coupling(2, 1, 2)
    assert stored["type"] == "levi-civita"
    assert entries == {i: Fraction(int(c.numerator), int(c.denominator)) for i, c in rule.entries.items()}
    for p, listed in zip(basis_polynomials(2), stored["basis"]["2"], strict=True):
        assert {tuple(t[:3]): Fraction(t[3]) for t in listed["polynomial"]} == {
            e: Fraction(int(c.numerator), int(c.denominator)) for e, c in p.items()
        }


def test_harmonic_of_rank_one_is_the_vector():
    assert json.loads(render(describe_harmonic(1), "json"))["components"] == [
        [[0, 1, 0, "1"]],
        [[0, 0, 1, "1"]],
        [[1, 0, 0, "1"]],
    ]


def test_sympy_source_is_the_object():
    a, b = sp.symbols("a:3"), sp.symbols("b:3")
    column = sp.sympify(render(describe_coupling(1, 1, 1), "sympy"))
    assert column == sp.Matrix([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
    for rank in range(1, 6):
        assert sp.Array(sp.sympify(render(describe_projector(rank), "sympy"))) == projector(rank)
    found = decompose("ij=ji")
    tensor = sp.Array(sp.sympify(render(describe_tensor("ij=ji"), "sympy")))
    packed = found.packing * sp.Matrix(tensor.reshape(9).tolist())
    assert packed.expand() == sp.Matrix(sp.symbols("t:6"))


@pytest.mark.parametrize("kind", CouplingKind)
def test_sympy_source_of_any_rank_gives_the_constants(kind):
    ranks = (3, 2, 3) if kind is CouplingKind.CONTRACTION else (3, 3, 3)
    c = sp.sympify(render(describe_general(f"{kind} coupling"), "sympy"))
    q = sp.sympify(render(describe_general(f"{kind} orthonormal"), "sympy"))
    assert (c(*ranks), q(*ranks)) == (contraction_constant(*ranks), orthonormal_constant(*ranks))


def test_what_is_too_large_to_write_is_said():
    with pytest.raises(ValueError, match=r"3\^21 components"):
        render(describe_projector(21), "sympy")


def value(tree, known):
    """A formula's number: letters from `known`, tensors and the sum over assignments left out."""
    of = lambda node: value(node, known)  # noqa: E731
    match tree:
        case n.Number(number):
            return sp.Rational(number.numerator, number.denominator)
        case n.Symbol(letter, digits):
            return known[letter + digits]
        case n.Indexed(n.Symbol("alpha"), (rank,)):
            return sp.factorial2(2 * of(rank) - 1) / sp.factorial(of(rank))
        case n.Sum(terms):
            return sum(map(of, terms))
        case n.Product(factors):
            return sp.prod(of(f) for f in factors if not isinstance(f, n.Assignments | n.Series))
        case n.Quotient(top, bottom):
            return of(top) / of(bottom)
        case n.Power(base, exponent):
            return of(base) ** of(exponent)
        case n.Factorial(argument, double):
            return (sp.factorial2 if double else sp.factorial)(of(argument))
        case n.Parentheses(body):
            return of(body)
    raise TypeError(tree)


@pytest.mark.parametrize("name", [f"{kind} {what}" for kind in CouplingKind for what in ("coupling", "orthonormal")])
def test_formulas_of_any_rank_have_the_constants_of_every_rank(name):
    """What the printers are given, with the meanings of its letters, evaluated for every triple to rank 5."""
    equation, kind = general_formulas()[name].equation, name.split()[0]
    for ranks in itertools.product(range(6), repeat=3):
        l1, l2, l3 = ranks
        if not abs(l1 - l2) <= l3 <= l1 + l2 or Contraction(*ranks).kind != kind:
            continue
        known = dict(zip(("l1", "l2", "l3"), map(sp.Integer, ranks), strict=True))
        for letter in equation.where:
            if isinstance(letter.sides[0], n.Symbol):
                known[letter.sides[0].letter + letter.sides[0].subscript] = value(letter.sides[1], known)
        found = value(equation.sides[-1], known)
        free = sp.prod(map(sp.factorial, Contraction(*ranks).free)) / sp.factorial(l3)
        wanted = contraction_constant(*ranks) * free if "coupling" in name else orthonormal_constant(*ranks)
        assert found == wanted


def test_formulas_of_any_rank():
    assert "Σ" in render(describe_general("projector"))
    assert r"\epsilon" in render(describe_general("levi-civita coupling"), "latex")
    with pytest.raises(ValueError, match="exists for projector, harmonic, contraction coupling"):
        describe_general("product")


def test_unknown_format():
    with pytest.raises(ValueError, match="c, json, julia, latex, mathml, python, sympy, unicode, wolfram"):
        render(describe_projector(2), "html")


def test_notebooks_show_formulas():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    package.load_ipython_extension(shell)
    for shown in (coupling(1, 1, 2), coupling(1, 1, 2).formula, describe_coupling(1, 1, 2)):
        data, _ = shell.display_formatter.format(shown)
        assert data["text/latex"].startswith(r"$\displaystyle T_{ij} = ")
        assert isinstance(shown, Document) or r"\tfrac{3}{4}" in data["text/latex"]
        assert "T_ij = 3/4 [ {a_i b_j} − 2/3 δij a_s b_s ]" in data["text/plain"]
