from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from cartalg.symbolic.indexed import parse
from cartalg.symbolic.plethysm import young_power
from cartalg.symbolic.young import (
    applied,
    decompose_young,
    product,
    standard_tableaux,
    symmetriser,
    young_projector,
)


def test_numbers_of_tableaux():
    """Involutions: 1, 2, 4, 10, 26."""
    assert [len(standard_tableaux(n)) for n in range(1, 6)] == [1, 2, 4, 10, 26]
    with pytest.raises(ValueError, match="1 to 5 boxes"):
        standard_tableaux(6)


@pytest.mark.parametrize("boxes", [2, 3, 4])
def test_projectors_are_orthogonal_hermitian_and_complete(boxes):
    tableaux = standard_tableaux(boxes)
    projectors = [young_projector(t) for t in tableaux]
    total = {}
    for tableau, p in zip(tableaux, projectors, strict=True):
        assert product(p, p) == p
        assert product(symmetriser(tableau), symmetriser(tableau)) == symmetriser(tableau)
        assert {tuple(sorted(range(boxes), key=k.__getitem__)): c for k, c in p.items()} == p
        for k, c in p.items():
            total[k] = total.get(k, Fraction(0)) + c
    assert {k: c for k, c in total.items() if c} == {tuple(range(boxes)): 1}
    for p, q in combinations(projectors, 2):
        assert product(p, q) == {}


@pytest.mark.parametrize("tableau", [*standard_tableaux(3), *standard_tableaux(4)])
def test_parts_are_those_of_plethysm(tableau):
    found, diagram = decompose_young(tableau), tuple(map(len, tableau))
    irreps = young_power("1o", diagram)
    assert sorted(found.irreps) == sorted(ir for mul, ir in irreps for _ in range(mul))
    element = young_projector(tableau)
    for part in found.parts:
        moved = sum(c * np.transpose(part.embedding, (*p, found.order)) for p, c in element.items())
        assert (moved == part.embedding).all()


def test_mixed_symmetry_as_a_formula():
    """The hook of three indices, symmetric in the first two: its cyclic sum vanishes."""
    hook = applied(young_projector(((1, 2), (3,))), parse("T_ijk")).simplified()
    assert str(hook) == "1/3 T_ijk - 1/6 T_ikj + 1/3 T_jik - 1/6 T_jki - 1/6 T_kij - 1/6 T_kji"
    cyclic = hook + hook.renamed({"i": "j", "j": "k", "k": "i"}) + hook.renamed({"i": "k", "j": "i", "k": "j"})
    assert cyclic.simplified().terms == ()
    with pytest.raises(ValueError, match="other numbers of indices"):
        applied(young_projector(((1, 2),)), parse("T_ijk"))
    with pytest.raises(ValueError, match="no standard tableau"):
        symmetriser(((2, 1),))
