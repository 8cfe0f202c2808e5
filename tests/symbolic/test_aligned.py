from fractions import Fraction

import pytest

from cartalg.symbolic.aligned import diagonal, paths_of_diagonals
from cartalg.symbolic.basis import squared_norms, to_sympy
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.ranks import component_norm
from cartalg_codegen.specs.harmonics import harmonic

RANKS = [(l1, l3) for l1 in range(5) for l3 in range(5)]


@pytest.mark.parametrize("rank", range(9))
def test_norms_in_closed_form(rank):
    assert [component_norm(rank, abs(m)) for m in range(-rank, rank + 1)] == list(map(to_sympy, squared_norms(rank)))


@pytest.mark.parametrize(("l1", "l3"), RANKS)
def test_along_z_contractions_leave_m_alone(l1, l3):
    """Every entry of the coupling with T(z), not only those that `diagonal` reads."""
    for l2 in range(abs(l1 - l3), l1 + l3 + 1, 2):
        z = harmonic(l2, (Fraction(0), Fraction(0), Fraction(1)))
        matrix = {}
        for (k, a, b), c in coupling(l1, l2, l3).entries.items():
            matrix[k - l3, a - l1] = (
                matrix.get((k - l3, a - l1), 0) + Fraction(int(c.numerator), int(c.denominator)) * z[b]
            )
        low, found = min(l1, l3), diagonal(l1, l2, l3)
        assert {at: c for at, c in matrix.items() if c} == {
            (m, m): found[abs(m)] for m in range(-low, low + 1) if found[abs(m)]
        }


@pytest.mark.parametrize(("l1", "l3"), RANKS)
def test_sums_of_paths_and_of_diagonals_are_the_same(l1, l3):
    combinations = paths_of_diagonals(l1, l3)
    count = min(l1, l3) + 1
    assert len(combinations) == count
    for m in range(count):  # the paths that make component m alone
        made = [sum(c[m] * diagonal(l1, l2, l3)[k] for l2, c in combinations.items()) for k in range(count)]
        assert made == [int(k == m) for k in range(count)]


def test_levi_civita_couplings_have_no_diagonal():
    with pytest.raises(ValueError, match="takes m to -m"):
        diagonal(1, 1, 1)


def test_there_are_as_many_weights_as_paths():
    """Of a convolution whose harmonics are not cut off."""
    irreps = Irreps.natural(3).irreps
    paths = [(l1, l2, l3) for l1 in irreps for l3 in irreps for l2 in Irreps.natural(6).irreps if l3 in l1.couples(l2)]
    assert len(paths) == sum(min(l1.l, l3.l) + 1 for l1 in irreps for l3 in irreps)
