"""Constants of couplings, closed in the ranks."""

import pytest
import sympy as sp

from cartalg.symbolic import coupling
from cartalg.symbolic.contraction import CouplingKind, contraction_constant, orthonormal_constant
from cartalg.symbolic.proofs import ProofError, prove_constants


def test_a_wrong_constant_is_found(monkeypatch):
    from cartalg.symbolic.proofs import couplings

    monkeypatch.setattr(couplings, "contraction_constant", lambda *ranks: contraction_constant(*ranks) + 1)
    with pytest.raises(ProofError, match="constants"):
        prove_constants(coupling(2, 2, 2))


def test_constants_of_symbols():
    l1, l2, l3 = sp.symbols("l1 l2 l3")
    values = {l1: 3, l2: 2, l3: 1}
    assert contraction_constant(l1, l2, l3, CouplingKind.CONTRACTION).subs(values) == contraction_constant(3, 2, 1)
    assert orthonormal_constant(l1, l2, l3, CouplingKind.CONTRACTION).subs(values) == orthonormal_constant(3, 2, 1)
