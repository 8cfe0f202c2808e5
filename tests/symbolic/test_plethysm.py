import numpy as np
import pytest
from e3nn import o3

from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.plethysm import (
    antisymmetric_power,
    character,
    irreps_of,
    symmetric_power,
    times,
    young_power,
)
from cartalg.symbolic.reducible import decompose


@pytest.mark.parametrize(
    ("formula", "diagram"),
    [
        ("ij=ji", (2,)),
        ("ij=-ji", (1, 1)),
        ("ijk=jik=ikj", (3,)),
        ("ijk=-jik=-ikj", (1, 1, 1)),
        ("ijkl=jikl=ikjl=ijlk", (4,)),
    ],
)
def test_powers_of_a_vector_are_tensors_with_index_symmetry(formula, diagram):
    found = decompose(formula)
    assert sorted(young_power("1o", diagram).irreps) == sorted(set(found.irreps))
    assert young_power("1o", diagram).dim == found.dimension


def test_riemann_and_elasticity():
    """The curvature tensor in three dimensions is its Ricci tensor; Sym2(Sym2 V) is the elastic tensor."""
    assert str(young_power("1o", (2, 2))) == "0e + 2e"
    assert str(symmetric_power(symmetric_power("1o", 2), 2)) == "2x0e + 2x2e + 4e"
    assert str(antisymmetric_power("1o", 2)) == "1e"
    assert str(antisymmetric_power("1o", 3)) == "0o"
    assert str(antisymmetric_power("1o", 4)) == ""


@pytest.mark.parametrize("irreps", ["1o", "2e", "3o", "0e + 1o", "1o + 1e", "2x1o"])
def test_schur_weyl(irreps):
    """V x V x V = S3 + 2 S(2,1) + L3, by irreps and by dimensions."""
    weights = character(irreps)
    cube = times(times(weights, weights), weights)
    parts = character(symmetric_power(irreps, 3)) + character(antisymmetric_power(irreps, 3))
    mixed = character(young_power(irreps, (2, 1)))
    assert cube == parts + mixed + mixed
    d = Irreps(irreps).dim
    assert symmetric_power(irreps, 3).dim == d * (d + 1) * (d + 2) // 6
    assert young_power(irreps, (2, 1)).dim == d * (d * d - 1) // 3


@pytest.mark.parametrize("irreps", ["1o", "2e", "1o + 2e"])
def test_symmetric_powers_are_e3nns(irreps):
    """e3nn reduces the symmetric product by linear algebra."""
    for formula, degree in (("ij=ji", 2), ("ijk=jik=kji", 3)):
        theirs = o3.ReducedTensorProducts(formula, i=irreps).irreps_out.simplify()
        ours = symmetric_power(irreps, degree)
        assert {str(ir): mul for mul, ir in theirs} == {str(ir): mul for mul, ir in ours}


def test_a_matrix_of_a_rotation_says_the_same():
    """h_3 and s_(2,1) of the eigenvalues of a rotation of rank 2."""
    angle = 0.7
    trace = [sum(np.exp(1j * k * m * angle) for m in range(-2, 3)).real for k in (1, 2, 3)]
    of = lambda irreps: sum(mul * (1 + 2 * sum(np.cos(k * angle) for k in range(1, ir.l + 1))) for mul, ir in irreps)  # noqa: E731
    assert of(symmetric_power("2e", 3)) == pytest.approx((trace[0] ** 3 + 3 * trace[0] * trace[1] + 2 * trace[2]) / 6)
    assert of(young_power("2e", (2, 1))) == pytest.approx((trace[0] ** 3 - trace[2]) / 3)


def test_mistakes():
    with pytest.raises(ValueError, match="do not grow"):
        young_power("1o", (1, 2))
    with pytest.raises(ValueError, match="of no representation"):
        irreps_of(character("1o") - character("0o") - character("0o"))
