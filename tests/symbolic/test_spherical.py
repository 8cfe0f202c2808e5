import itertools

import numpy as np
import pytest
import sympy as sp
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y
from sympy.physics import wigner
from sympy.physics.quantum.spin import Rotation as SpinRotation

from cartalg.symbolic import cartesian_harmonic
from cartalg.symbolic.basis import squared_norms, to_sympy
from cartalg.symbolic.rotation import packed_rotation, rational_rotation
from cartalg.symbolic.spherical import (
    clebsch_gordan,
    harmonic_factor,
    recoupling,
    spherical_matrix,
    wigner_3j,
    wigner_d,
)

CONVENTIONS = ["sphericart", "e3nn", "scipy"]
POINTS = np.random.default_rng(0).normal(size=(6, 3))
POINTS /= np.linalg.norm(POINTS, axis=1, keepdims=True)


def harmonics(rank, convention):
    """Y_lm of POINTS from our packed harmonics."""
    column = harmonic_factor(rank) * spherical_matrix(rank, convention) * cartesian_harmonic(rank)
    evaluate = sp.lambdify(sp.symbols("x y z"), list(column), "numpy")
    return np.stack([np.broadcast_to(c, 6) for c in evaluate(*POINTS.T)], 1)


@pytest.mark.parametrize("rank", range(5))
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_map_is_unitary(rank, convention):
    q = spherical_matrix(rank, convention)
    metric = sp.diag(*[to_sympy(n) for n in squared_norms(rank)])
    assert sp.simplify(q.H * q - metric) == sp.zeros(2 * rank + 1)


@pytest.mark.parametrize("rank", range(6))
def test_complex_harmonics_are_scipys(rank):
    theta, phi = np.arccos(POINTS[:, 2]), np.arctan2(POINTS[:, 1], POINTS[:, 0])
    theirs = np.stack([sph_harm_y(rank, m, theta, phi) for m in range(-rank, rank + 1)], 1)
    np.testing.assert_allclose(harmonics(rank, "scipy"), theirs, atol=1e-12)


@pytest.mark.parametrize("rank", range(6))
def test_real_harmonics_are_e3nns(rank):
    theirs = o3.spherical_harmonics(rank, torch.tensor(POINTS), normalize=True, normalization="integral").numpy()
    np.testing.assert_allclose(harmonics(rank, "e3nn"), theirs, atol=1e-12)


@pytest.mark.parametrize("rank", range(6))
def test_real_harmonics_are_spherical_harmonics_without_the_condon_shortley_phase(rank):
    """sphericart's definition: sqrt(2) (-1)^m Re, Im of the complex ones."""
    theta, phi = np.arccos(POINTS[:, 2]), np.arctan2(POINTS[:, 1], POINTS[:, 0])
    columns = []
    for m in range(-rank, rank + 1):
        value = sph_harm_y(rank, abs(m), theta, phi) * (-1) ** m * (np.sqrt(2) if m else 1)
        columns.append(value.imag if m < 0 else value.real)
    np.testing.assert_allclose(harmonics(rank, "sphericart"), np.stack(columns, 1), atol=1e-12)


def test_unknown_convention():
    with pytest.raises(ValueError, match="'sphericart', 'e3nn' or 'scipy'"):
        spherical_matrix(2, "y-polar")


TRIPLES = [(a, b, c) for a, b in itertools.product(range(5), repeat=2) for c in range(abs(a - b), min(a + b, 4) + 1)]


@pytest.mark.parametrize("triple", TRIPLES, ids=str)
def test_wigner_3j_is_sympys_exactly(triple):
    l1, l2, l3 = triple
    for m1, m2 in itertools.product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        if abs(m1 + m2) <= l3:
            assert sp.expand(wigner_3j(*triple, m1, m2, -m1 - m2) - wigner.wigner_3j(*triple, m1, m2, -m1 - m2)) == 0


def test_clebsch_gordan_is_sympys_exactly():
    for m1, m2 in itertools.product(range(-2, 3), range(-1, 2)):
        assert clebsch_gordan(2, 1, 2, m1, m2, m1 + m2) == wigner.clebsch_gordan(2, 1, 2, m1, m2, m1 + m2)


def chains(top):
    for l1, l2, l3 in itertools.product(range(top + 1), repeat=3):
        for total in range(l1 + l2 + l3 + 1):
            left = [m for m in range(abs(l1 - l2), l1 + l2 + 1) if abs(m - l3) <= total <= m + l3]
            right = [m for m in range(abs(l2 - l3), l2 + l3 + 1) if abs(m - l1) <= total <= m + l1]
            if left and right:
                yield (l1, l2, l3, total), left, right


def test_recoupling_is_the_6j_symbol_exactly():
    triples = list(itertools.product(range(3), repeat=3))  # L runs from what the largest leaves over to the sum
    assert len(list(chains(2))) == sum(sum(t) - max(0, 2 * max(t) - sum(t)) + 1 for t in triples)
    for (l1, l2, l3, total), left, right in chains(2):
        for l12, l23 in itertools.product(left, right):
            symbol = wigner.wigner_6j(l1, l2, l12, l3, total, l23)
            wanted = (-1) ** (l1 + l2 + l3 + total) * sp.sqrt((2 * l12 + 1) * (2 * l23 + 1)) * symbol
            assert sp.expand(recoupling(l1, l2, l3, total, l12, l23) - wanted) == 0


@pytest.mark.parametrize("ranks", [(1, 1, 1, 1), (2, 1, 2, 1), (2, 2, 2, 2), (3, 2, 1, 2)], ids=str)
def test_recoupling_is_an_orthogonal_matrix(ranks):
    left, right = next((a, b) for r, a, b in chains(3) if r == ranks)
    u = sp.Matrix(len(left), len(right), lambda i, j: recoupling(*ranks, left[i], right[j]))
    assert (u * u.T).applyfunc(sp.expand) == sp.eye(len(left))


@pytest.mark.parametrize("rank", range(5))
@given(
    quaternion=st.tuples(*[st.integers(-3, 3)] * 4).filter(any),
    inversion=st.booleans(),
    parity=st.sampled_from([1, -1]),
)
def test_wigner_d_by_recursion_is_the_exact_rotation(rank, quaternion, inversion, parity):
    matrix = rational_rotation(quaternion, inversion)
    assert sp.Matrix(wigner_d(rank, matrix, parity)) == packed_rotation(rank, matrix, parity)


@pytest.mark.parametrize("rank", range(7))
def test_wigner_d_of_floats_is_e3nns(rank):
    rotations = Rotation.random(4, random_state=0).as_matrix()
    q = np.array(spherical_matrix(rank, "e3nn").evalf(17), dtype=float)
    ours = q @ wigner_d(rank, rotations) @ np.linalg.inv(q)
    theirs = o3.Irrep(rank, (-1) ** rank).D_from_matrix(torch.tensor(rotations)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-5)  # e3nn's generators are in single precision


@pytest.mark.parametrize("rank", range(4))
def test_wigner_d_is_the_conjugate_of_sympys(rank):
    """Between complex components, for R = Rz(alpha) Ry(beta) Rz(gamma): both of the functions that SymPy has."""
    angles = sp.pi / 3, sp.pi / 4, -sp.pi / 6

    def about(axis, t):
        turn, (u, v) = sp.eye(3), ((axis + 1) % 3, (axis + 2) % 3)
        turn[u, u] = turn[v, v] = sp.cos(t)
        turn[u, v], turn[v, u] = -sp.sin(t), sp.sin(t)
        return turn

    turn = about(2, angles[0]) * about(1, angles[1]) * about(2, angles[2])
    between = spherical_matrix(rank, "scipy")
    ours = between * sp.Matrix(wigner_d(rank, turn)) * between.inv()
    for m, n in itertools.product(range(-rank, rank + 1), repeat=2):
        theirs = SpinRotation.D(rank, m, n, *angles).doit()
        assert abs(sp.N(ours[m + rank, n + rank] - sp.conjugate(theirs), 30)) < sp.Float("1e-25")
    other = wigner.wigner_d(rank, *angles)
    difference = ours - other.conjugate()
    assert all(abs(sp.N(v, 30)) < sp.Float("1e-25") for v in difference)


def test_wigner_d_of_symbols():
    t = sp.Symbol("t", real=True)
    turn = sp.Matrix([[sp.cos(t), -sp.sin(t), 0], [sp.sin(t), sp.cos(t), 0], [0, 0, 1]])
    d = sp.Matrix(wigner_d(2, turn)).applyfunc(sp.simplify)
    assert d[2, 2] == 1
    assert sp.simplify(d[4, 4] - sp.cos(2 * t)) == 0


@pytest.mark.parametrize("bad", [np.ones((3, 3)), np.eye(2)])
def test_what_is_no_rotation_is_refused(bad):
    with pytest.raises(ValueError, match=r"orthogonal|3x3"):
        wigner_d(2, bad)
