import itertools
import time

import pytest
import sympy as sp

from cartalg.symbolic import CouplingKind, Irreps, coupling, paths
from cartalg.symbolic.basis import squared_norms, to_sympy
from cartalg.symbolic.coupling import Coupling
from cartalg.symbolic.proofs import ProofError, prove_complete, prove_coupling, prove_equivariant
from cartalg.symbolic.spherical import spherical_matrix

TRIPLES = [(a, b, c) for a, b in itertools.product(range(5), repeat=2) for c in range(abs(a - b), min(a + b, 4) + 1)]


@pytest.mark.parametrize("triple", TRIPLES, ids=str)
def test_coupling_is_proved(triple):
    prove_coupling(coupling(*triple))


@pytest.mark.parametrize("pair", list(itertools.product(range(4), repeat=2)), ids=str)
def test_couplings_of_a_pair_are_complete(pair):
    prove_complete(*pair)


def test_a_wrong_entry_is_found():
    good = coupling(2, 1, 2)
    entries = dict(good.entries)
    key = next(iter(entries))
    entries[key] = entries[key] * 2
    with pytest.raises(ProofError, match=r"\(2, 1\) -> 2"):
        prove_equivariant(Coupling(2, 1, 2, entries, good.orthonormal_squared))


def test_vector_couplings_are_dot_and_cross_product():
    # packed vectors are (y, z, x)
    assert {k: int(v) for k, v in coupling(1, 1, 0).entries.items()} == {(0, i, i): 1 for i in range(3)}
    cross = {k: int(v) for k, v in coupling(1, 1, 1).entries.items()}
    assert cross == {(0, 1, 2): 1, (0, 2, 1): -1, (1, 2, 0): 1, (1, 0, 2): -1, (2, 0, 1): 1, (2, 1, 0): -1}


@pytest.mark.parametrize("triple", [(2, 1, 3), (2, 2, 1), (3, 2, 2)], ids=str)
def test_orthonormal_normalisation_is_a_partial_isometry(triple):
    l1, l2, l3 = triple
    n1, n2, n3 = ([to_sympy(n) for n in squared_norms(rank)] for rank in triple)
    c = coupling(*triple).tensor("orthonormal")
    for i, j in itertools.product(range(2 * l3 + 1), repeat=2):
        overlap = sum(
            c[i, a, b] * c[j, a, b] / (n1[a] * n2[b]) for a in range(2 * l1 + 1) for b in range(2 * l2 + 1)
        ) * sp.sqrt(n3[i] * n3[j])
        assert sp.simplify(overlap - (1 if i == j else 0)) == 0


@pytest.mark.parametrize("triple", TRIPLES, ids=str)
def test_coupling_equals_e3nns_wigner_3j(triple):
    import numpy as np
    from e3nn import o3

    l1, l2, l3 = triple
    maps = [np.array(spherical_matrix(rank, "e3nn").evalf(17), dtype=float) for rank in triple]
    rule = coupling(*triple)
    dense = np.zeros((2 * l3 + 1, 2 * l1 + 1, 2 * l2 + 1))
    for (k, a, b), value in rule.entries.items():
        dense[k, a, b] = float(sp.Rational(int(value.numerator), int(value.denominator)))
    # x_packed = Q^-1 x_e3nn
    ours = np.einsum("Kk,kab,aA,bB->ABK", maps[2], dense, np.linalg.inv(maps[0]), np.linalg.inv(maps[1]))
    ours = ours * float(rule.scale("orthonormal")) / np.sqrt(2 * l3 + 1)
    theirs = o3.wigner_3j(l1, l2, l3).double().numpy()
    sign = np.sign((ours * theirs).sum())
    np.testing.assert_allclose(ours * sign, theirs, atol=5e-7)  # e3nn keeps its table in single precision


@pytest.mark.parametrize("triple", [(1, 1, 3), (2, 0, 1), (0, 1, 0)], ids=str)
def test_the_triangle_rule_is_explained(triple):
    with pytest.raises(ValueError, match="must lie between"):
        coupling(*triple)


def test_unknown_normalisation():
    with pytest.raises(ValueError, match="orthonormal"):
        coupling(1, 1, 2).tensor("component")


def test_parity_is_multiplicative():
    full = Irreps.full(2)
    assert len(full) == 6
    found = list(paths(full, Irreps.natural(2), full))
    assert found
    for left, right, out in found:
        assert out.p == left.p * right.p
    natural = Irreps.natural(3)
    assert sum(1 for _ in paths(Irreps.natural(2), natural, natural)) == 17


def test_natural_tensors_reach_natural_ones_by_contractions_and_axial_ones_by_levi_civita_couplings():
    natural = Irreps.natural(3)
    for left, right, out in paths(natural, natural, Irreps.full(3)):
        kind = coupling(left.l, right.l, out.l).kind
        assert kind == (CouplingKind.CONTRACTION if out.natural else CouplingKind.LEVI_CIVITA)


def test_all_couplings_to_rank_6_are_quick():
    from cartalg.symbolic.coupling import _derive

    _derive.cache_clear()
    start = time.process_time()
    for a, b in itertools.product(range(7), repeat=2):
        for c in range(abs(a - b), min(a + b, 6) + 1):
            coupling(a, b, c)
    assert time.process_time() - start < 20  # measured: 1.3 s
