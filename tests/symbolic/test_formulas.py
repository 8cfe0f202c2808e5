"""Closed forms in index notation, evaluated as they are printed, against the exact tables."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from cartalg.symbolic import cartesian_harmonic, coupling, projector
from cartalg.symbolic.basis import full_tensor_matrix
from cartalg.symbolic.contraction import CouplingKind, contraction_constant, orthonormal_constant
from cartalg.symbolic.formulas import (
    FREE,
    coupling_formula,
    harmonic_formula,
    projector_formula,
)
from cartalg.symbolic.proofs import ProofError, prove_constants

LEVI_CIVITA = np.array([[[(i - j) * (j - k) * (k - i) // 2 for k in range(3)] for j in range(3)] for i in range(3)])
TRIPLES = [(a, b, c) for a, b in itertools.product(range(4), repeat=2) for c in range(abs(a - b), min(a + b, 4) + 1)]


def evaluate(formula, tensors):
    """The value of a formula, free indices in order: braces are the mean over permutations times their number."""
    rank = len(formula.left.indices)
    total = np.full((3,) * rank, Fraction(0), dtype=object)
    for term in formula.summands:
        operands, letters = [], []
        for f in (*term.factors, *term.after):
            operands.append(tensors[f.name] ** f.power)
            letters.append(f.indices)
        value = np.einsum(f"{','.join(letters)}->{FREE[:rank]}", *operands) if operands else np.array(Fraction(1))
        if term.braces:
            images = {}
            for p in itertools.permutations(range(rank)):
                moved = assignments(term.factors, p)
                images.setdefault(moved, value.transpose(np.argsort(p)))
            value = sum(images.values())
        total = total + term.coefficient * value
    return formula.constant * total


def assignments(factors, permutation):
    """The index assignment that a permutation of the free letters gives, as a value equal for equal assignments."""
    rename = {FREE[i]: FREE[j] for i, j in enumerate(permutation)}
    named = []
    for f in factors:
        if f.name == "epsilon":
            named.append((f.name, rename[f.indices[0]]))
        else:
            named.append((f.name, "".join(sorted(rename.get(c, "") for c in f.indices))))
    return tuple(sorted(named))


def vector():
    return np.array([Fraction(2, 3), Fraction(-1, 2), Fraction(3, 5)], dtype=object)


def known():
    x = vector()
    radius = np.array((x * x).sum(), dtype=object)

    class Root:  # r appears in even powers only
        def __pow__(self, n):
            return radius ** (n // 2)

    return {"x": x, "delta": np.eye(3, dtype=int).astype(object), "epsilon": LEVI_CIVITA.astype(object), "r": Root()}


@pytest.mark.parametrize("rank", range(1, 6))
def test_projector_and_harmonic_as_printed(rank):
    values = dict(zip(sp.symbols("x y z"), vector(), strict=True))
    ours = evaluate(projector_formula(rank), known())
    expected = [Fraction(str(e.subs(values))) for e in projector(rank).reshape(3**rank).tolist()]
    assert ours.reshape(-1).tolist() == expected
    packed = cartesian_harmonic(rank).subs(values)
    full = full_tensor_matrix(rank) * packed
    assert evaluate(harmonic_formula(rank), known()).reshape(-1).tolist() == [Fraction(str(v)) for v in full]


@pytest.mark.parametrize("triple", TRIPLES, ids=str)
def test_coupling_as_printed_is_the_exact_table(triple):
    rng = np.random.default_rng(0)
    packed = [[Fraction(int(v), 3) for v in rng.integers(-5, 6, 2 * rank + 1)] for rank in triple[:2]]
    full = [np.array([[Fraction(str(v)) for v in full_tensor_matrix(r).row(i)] for i in range(3**r)]) for r in triple]
    a, b = ((m @ np.array(v)).reshape((3,) * r) for m, v, r in zip(full, packed, triple[:2], strict=False))
    out = [Fraction(0)] * (2 * triple[2] + 1)
    for (k, i, j), c in coupling(*triple).entries.items():
        out[k] += Fraction(int(c.numerator), int(c.denominator)) * packed[0][i] * packed[1][j]
    ours = evaluate(coupling_formula(*triple), {**known(), "a": a, "b": b})
    assert np.ravel(ours).tolist() == (full[2] @ np.array(out)).tolist()


@pytest.mark.parametrize("triple", list(itertools.product(range(7), repeat=3)), ids=str)
def test_constants_are_closed_in_the_ranks(triple):
    l1, l2, l3 = triple
    if abs(l1 - l2) <= l3 <= l1 + l2:
        prove_constants(coupling(*triple))


def test_a_wrong_constant_is_found(monkeypatch):
    from cartalg.symbolic import proofs

    monkeypatch.setattr(proofs, "contraction_constant", lambda *ranks: contraction_constant(*ranks) + 1)
    with pytest.raises(ProofError, match="constants"):
        prove_constants(coupling(2, 2, 2))


def test_constants_of_symbols():
    l1, l2, l3 = sp.symbols("l1 l2 l3")
    values = {l1: 3, l2: 2, l3: 1}
    assert contraction_constant(l1, l2, l3, CouplingKind.CONTRACTION).subs(values) == contraction_constant(3, 2, 1)
    assert orthonormal_constant(l1, l2, l3, CouplingKind.CONTRACTION).subs(values) == orthonormal_constant(3, 2, 1)


def test_notebooks_show_formulas():
    assert coupling(1, 1, 2)._repr_latex_().startswith(r"$\displaystyle T_{ij} = \tfrac{3}{4}")
    assert projector_formula(2)._repr_latex_().count("delta") == 1
