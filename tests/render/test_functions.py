"""Functions in Python, C and Julia, and expressions in Wolfram Language, give the object's numbers.

C is compiled by gcc and run, Python is run; Julia's few forms are rewritten as Python's, and Wolfram's text is read by
SymPy's parser: neither system runs here.
"""

import ctypes
import random
import re
import shutil
import subprocess
from fractions import Fraction

import pytest
import sympy as sp
from sympy.parsing.mathematica import parse_mathematica
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.render import render
from cartalg.render.crystals import describe_property
from cartalg.render.functions import function_of
from cartalg.render.indexed import describe_3j, describe_expression, describe_power
from cartalg.render.objects import (
    describe_coupling,
    describe_general,
    describe_harmonic,
    describe_projector,
    describe_tensor,
)
from cartalg.symbolic.indexed import parse

DOCUMENTS = {
    "coupling": lambda: describe_coupling(2, 2, 3),
    "harmonic": lambda: describe_harmonic(4),
    "projector": lambda: describe_projector(3),
    "tensor": lambda: describe_tensor("ijk=ikj"),
    "property": lambda: describe_property("ijkl=jikl=klij", "3", letter="c"),
    "expression": lambda: describe_expression("a_ij b_jk n_k + eps_ijk n_j u_k"),
    "part": lambda: describe_expression("a_ij b_jk", ["a_ij=a_ji"], rank=2),
    "scalar": lambda: describe_expression("eps_ijk a_il n_l u_j v_k"),
    "symbol": lambda: describe_3j(1, 1, 2),
}


def exact(f):
    """Values for the arguments, and what comes out, over Q or with roots."""
    source = random.Random(4)
    values = {name: [sp.Rational(source.randint(-9, 9), 4) for _ in symbols] for name, symbols in f.arguments.items()}
    table = {s: v for name, symbols in f.arguments.items() for s, v in zip(symbols, values[name], strict=True)}
    for step, expression in f.steps:
        table[step] = expression.xreplace(table)
    return values, [e.xreplace(table) for e in f.outputs]


def document_values(document, values, f):
    """The same from the document's own expression, without common subexpressions."""
    table = {s: v for name, symbols in f.arguments.items() for s, v in zip(symbols, values[name], strict=True)}
    found = document.expression()
    flat = list(found) if isinstance(found, sp.MatrixBase) else list(found.reshape(len(found)))
    return [sp.sympify(e).xreplace(table) for e in flat]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_steps_and_python_and_julia_are_exact(name):
    document = DOCUMENTS[name]()
    f = function_of(document)
    values, wanted = exact(f)
    assert all(sp.simplify(a - b) == 0 for a, b in zip(wanted, document_values(document, values, f), strict=True))
    numbers = {n: [float(x) for x in v] for n, v in values.items()}
    space = {}
    exec(render(document, "python"), space)
    found = space[f.name](**numbers)
    assert found == pytest.approx([float(v) for v in wanted], rel=1e-12, abs=1e-12)
    julia = render(document, "julia")
    text = (
        re.sub(r"\[(\d+)\]", lambda m: f"[{int(m[1]) - 1}]", julia)
        .replace(".*", "*")
        .replace("./", "/")
        .replace(".^", "**")
    )
    text = re.sub(r"(\d+) // (\d+)", r"Fraction(\1, \2)", text).replace("zeros(", "[0] * (")
    text = re.sub(r"^function (.*)$", r"def \1:", text, flags=re.MULTILINE)
    assert text.endswith("\nend")
    space = {"Fraction": lambda a, b: a / b, "sqrt": lambda v: v**0.5}
    exec(text.removesuffix("\nend"), space)
    assert space[f.name](*numbers.values()) == pytest.approx([float(v) for v in wanted], rel=1e-12, abs=1e-12)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_c_is_compiled_and_run(tmp_path):
    """All functions in one library, with every warning an error."""
    documents = {name: make() for name, make in DOCUMENTS.items()}
    source = tmp_path / "all.c"
    source.write_text("\n".join(render(d, "c") for d in documents.values()))
    library = tmp_path / "all.so"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", library, source, "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    for document in documents.values():
        f = function_of(document)
        values, wanted = exact(f)
        arrays = [(ctypes.c_double * len(v))(*map(float, v)) for v in values.values()]
        out = (ctypes.c_double * len(wanted))()
        getattr(loaded, f.name)(*arrays, out)
        assert list(out) == pytest.approx([float(v) for v in wanted], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_wolfram_is_the_object(name):
    """SymPy reads lists as tuples; entries are compared one by one."""
    document = DOCUMENTS[name]()
    parsed = parse_mathematica(render(document, "wolfram"))
    found = document.expression()
    flat = list(found) if isinstance(found, sp.MatrixBase) else list(found.reshape(len(found)))

    def flattened(value):
        return [e for v in value for e in flattened(v)] if isinstance(value, tuple | list | sp.Tuple) else [value]

    assert all(sp.expand(a - b) == 0 for a, b in zip(flattened(parsed), flat, strict=True))


def test_formulas_of_any_rank_are_no_functions_but_wolfram_has_them():
    general = describe_general("contraction coupling")
    for form in ("c", "python", "julia"):
        with pytest.raises(ValueError, match="not for any rank"):
            render(general, form)
    assert render(general, "wolfram").startswith(
        "Function[{l1, l2, l3}, Factorial[l1]*Factorial[l2]*Factorial2[2*l3 - 1]"
    )


def test_parts_in_print():
    text = render(describe_expression("a_ij b_jk"))
    assert text.startswith("a_ij b_jk: irreducible parts of rank 0, 1, 2\n")
    assert "(P₁)_ik = 1/3 δik a_jl b_lj" in text
    assert "(t₂)_i = ε_ijl a_jk b_kl" in text
    assert r"(P_{1})_{ik} = \tfrac{1}{3}\,\delta_{ik} a_{jl} b_{lj}" in render(
        describe_expression("a_ij b_jk"), "latex"
    )
    assert render(describe_expression("a_ij", ["a_ij=-a_ji"])).startswith("a_ij: irreducible parts of rank 1\n")
    assert "zero" in render(describe_expression("a_ij + a_ji", ["a_ij=-a_ji"]))
    for part in describe_expression("a_ij n_k").data["parts"]:
        assert parse(part["embedded"]).free
    assert Fraction(describe_3j(1, 1, 2).data["squared_norm"]) == Fraction(45, 4)
    assert describe_power("1o", (2, 1)).data["power"] == "1o + 2o"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("expression", "a_ii b_i"), "occurs 3 times"),
        (("expression", "a_ij", "--rank", "3"), "no part of rank 3"),
        (("expression", "a_ij", "--symmetry", "a_ij=b_ji"), "no symmetry of a tensor"),
        (("symbol", "1", "1", "3"), "must lie between"),
        (("symbol", "3", "3", "4"), "written out to 8"),
        (("power", "2e", "1,2"), "do not grow"),
        (("power", "2e", "x"), "whole numbers with commas"),
        (("coupling", "l1", "l2", "l3", "--format", "c"), "not for any rank"),
    ],
)
def test_mistakes_are_one_line(arguments, says):
    result = CliRunner().invoke(app, ["inspect", *arguments])
    assert result.exit_code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
