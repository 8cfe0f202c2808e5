"""Operation counts against an independent source."""

import pytest
from e3nn import o3

from cartalg_codegen.counts import clebsch_gordan_entries, counts, operations
from cartalg_codegen.specs import ConvolutionSpec, CouplingSpec, HarmonicsSpec

TRIPLES = [(a, b, c) for a in range(4) for b in range(4) for c in range(abs(a - b), min(a + b, 3) + 1)]


@pytest.mark.parametrize("ranks", TRIPLES)
def test_selection_rules_allow_every_coefficient_of_e3nn(ranks):
    nonzero = int((o3.wigner_3j(*ranks).abs() > 1e-6).sum())
    allowed = clebsch_gordan_entries(*ranks)
    assert nonzero <= allowed  # some that are allowed vanish all the same
    assert allowed - nonzero <= 12


def test_the_emitted_contraction_is_the_smallest():
    for rank in (1, 2, 3):
        c = counts(ConvolutionSpec("natural", rank, rank))
        assert c.ours <= c.sparse <= c.dense
        assert c.shared <= c.ours
    assert counts(ConvolutionSpec("natural", 2, 3)).paths == 17


def test_turning_into_the_frame_of_an_edge_grows_like_the_cube_of_the_rank():
    def cube(rank):
        turn = sum((2 * k + 1) ** 2 for k in range(rank + 1))  # in and back
        pairs = [(a, b) for a in range(rank + 1) for b in range(rank + 1)]
        return 2 * turn - 1 + sum(2 * min(pair) + 1 for pair in pairs)  # a scalar needs no turning in

    for rank in (1, 2, 3, 5):
        c = counts(ConvolutionSpec("natural", rank, rank))
        assert c.aligned == cube(rank)
        assert c.aligned_radial == 4 * sum(min(a, b) + 1 for a in range(rank + 1) for b in range(rank + 1))
    assert counts(ConvolutionSpec("natural", 0, 2)).aligned == counts(ConvolutionSpec("full", 1, 1)).aligned == 0


def test_operations_are_counted_on_the_loops():
    assert operations(CouplingSpec(1, 1, 1))["forward, per row and channel"] == 9  # the cross product
    assert operations(HarmonicsSpec(1)) == {}  # 1, y, z, x: nothing to compute
    found = operations(ConvolutionSpec("natural", 0, 1))
    # two paths, each four multiply-adds for the weight, then w x, and a sum into 1 and 3 rows
    assert found["forward, per edge and channel"] == (7 + 1 + 1) + (7 + 1 + 3 * 2)
