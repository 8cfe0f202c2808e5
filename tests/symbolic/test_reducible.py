import itertools

import numpy as np
import pytest
import sympy as sp
from e3nn import o3

from cartalg.symbolic.proofs import prove_decomposition
from cartalg.symbolic.reducible import decompose, parse_formula
from cartalg.symbolic.rotation import packed_rotation, rational_rotation

FORMULAS = ["ij", "ij=ji", "ij=-ji", "ijk", "ijk=ikj", "ijk=jik=ikj", "ijk=-jik", "ijk=-jik=-ikj", "ijkl=jikl=klij"]
FORMULAS += ["ijkl=jikl=ijlk", "ijkl=-jikl=-ijlk=klij", "ijkl=jikl=ikjl=ijlk"]


def power(matrix, order):
    """The matrix acting on every index of a row-major tensor."""
    result = matrix
    for _ in range(order - 1):
        result = sp.Matrix(sp.kronecker_product(result, matrix))
    return result


@pytest.mark.parametrize("formula", FORMULAS)
def test_parts_are_orthogonal_and_projectors_add_up(formula):
    d = decompose(formula)
    assert d.packing * d.unpacking == sp.eye(d.dimension)
    total = sum((part.projector() for part in d.parts), sp.zeros(3**d.order))
    assert total == total.T == total * total
    for first, second in itertools.combinations(d.parts, 2):
        assert (first.packing() * second.unpacking()).is_zero_matrix
    _, group = parse_formula(formula)
    for permutation, sign in group:
        for part in d.parts:
            moved = np.transpose(part.embedding, (*permutation, d.order))
            assert (moved == sign * part.embedding).all()


@pytest.mark.parametrize("formula", [*FORMULAS, "ijklm", "ijklmn=jiklmn"])
def test_parts_are_proved(formula):
    prove_decomposition(formula)


@pytest.mark.parametrize("formula", FORMULAS)
def test_dimensions_and_spans_are_e3nns(formula):
    theirs = o3.ReducedTensorProducts(formula, **dict.fromkeys(formula.split("=")[0], "1o"))
    ours = decompose(formula)
    assert sum(mul * ir.dim for mul, ir in theirs.irreps_out) == ours.dimension
    counts = {ir.l: mul for mul, ir in theirs.irreps_out.simplify()}
    assert counts == {rank: sum(p.rank == rank for p in ours.parts) for rank in {p.rank for p in ours.parts}}
    # e3nn's 1o is (y, z, x) of a y-polar frame: index 0, 1, 2 are x, y, z
    basis = theirs.change_of_basis.double().numpy().reshape(ours.dimension, -1)
    span = np.array(ours.unpacking.T.tolist(), dtype=float)
    for start, rank, mul in _blocks(theirs.irreps_out):
        rows = basis[start : start + mul * (2 * rank + 1)]
        same = np.concatenate([np.array(p.unpacking().T.tolist(), dtype=float) for p in ours.parts if p.rank == rank])
        assert np.linalg.matrix_rank(np.concatenate([rows, same]), tol=1e-5) == len(rows)
    assert np.linalg.matrix_rank(np.concatenate([basis, span]), tol=1e-5) == ours.dimension


def _blocks(irreps):
    start = 0
    for mul, ir in irreps.simplify():
        yield start, ir.l, mul
        start += mul * ir.dim


@pytest.mark.parametrize("formula", ["ij", "ijk=ikj", "ijk=-jik=-ikj"])
@pytest.mark.parametrize("inversion", [False, True])
def test_parts_turn_as_irreps_exactly(formula, inversion):
    d, matrix = decompose(formula), rational_rotation((1, 2, -1, 3), inversion)
    turned = power(matrix, d.order)
    for part, (rank, parity) in zip(d.parts, d.irreps, strict=True):
        assert turned * part.unpacking() == part.unpacking() * packed_rotation(rank, matrix, parity)


def test_rank_six_has_the_known_multiplicities():
    assert str(decompose("ijklmn")) == "15x0 + 36x1 + 40x2 + 29x3 + 15x4 + 5x5 + 1x6"
    assert decompose("ijklmn").dimension == 729


def elastic(c11, c12, c44):
    """A cubic stiffness tensor from its three constants."""
    c = np.full((3, 3, 3, 3), sp.Integer(0), dtype=object)
    for i, j in itertools.product(range(3), repeat=2):
        c[i, i, j, j] = sp.Rational(c11 if i == j else c12)
        if i != j:
            c[i, j, i, j] = c[i, j, j, i] = sp.Rational(c44)
    return c


def test_the_five_parts_of_the_elastic_tensor():
    """Backus 1970: 21 components are 2x0 + 2x2 + 1x4; a cubic crystal has the two scalars and the rank-4 part.

    Cubic: C_iijj = 3 (c11 + 2 c12) and C_ijij = 3 (c11 + 2 c44); the rank-4 part carries c11 - c12 - 2 c44 and vanishes
    for an isotropic material. Closest isotropic one (Moakher & Norris 2006): 3K = c11 + 2 c12,
    5 mu = c11 - c12 + 3 c44.
    """
    d = decompose("ijkl=jikl=klij")
    assert str(d) == "2x0 + 2x2 + 1x4"
    copper = elastic(168, 121, 75)
    packed = d.packing * sp.Matrix(copper.reshape(-1).tolist())
    assert d.unpacking * packed == sp.Matrix(copper.reshape(-1).tolist())
    assert all(v == 0 for v in packed[2:12])
    assert any(v != 0 for v in packed[12:])
    scalars = d.unpacking[:, :2] * packed[:2, :]
    isotropic = np.array(list(scalars), dtype=object).reshape(3, 3, 3, 3)
    bulk, shear = sp.Rational(168 + 2 * 121, 3), sp.Rational(168 - 121 + 3 * 75, 5)
    lame = bulk - 2 * shear / 3
    assert (isotropic == elastic(lame + 2 * shear, lame, shear)).all()
    assert isotropic[0, 0, 0, 0] + isotropic[0, 0, 1, 1] * 2 == 3 * bulk
    rest = copper - isotropic
    anisotropy = 168 - 121 - 2 * 75
    assert rest[0, 0, 0, 0] == sp.Rational(2, 5) * anisotropy
    assert (d.packing * sp.Matrix(elastic(lame + 2 * shear, lame, shear).reshape(-1).tolist()))[2:, :].is_zero_matrix
    # squared norm of the rank-4 part of a cubic tensor: 6/5 (c11 - c12 - 2 c44)^2 (Backus 1970; Moakher & Norris 2006)
    assert (rest.reshape(-1) ** 2).sum() == sp.Rational(6, 5) * anisotropy**2


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("ij=jk", "not a permutation"),
        ("ii", "different letters"),
        ("ij=", "malformed"),
        ("-ij=ji", "malformed"),
        ("IJ=JI", "malformed"),
        ("ij=ji=-ji", "contradicts itself"),
        ("ijk=jik=-ikj", "contradicts itself"),
        ("abcdefghi", "at most 8"),
    ],
)
def test_a_bad_formula_is_explained(formula, says):
    with pytest.raises(ValueError, match=says):
        decompose(formula)
