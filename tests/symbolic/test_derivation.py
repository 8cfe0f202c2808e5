"""Each step of the derivation of the constants in docs/theory.md, section 3, as an exact identity.

mean over the sphere -> triple contraction -> integrals I and K -> Dougall's linearisation -> c and q; and the phase
between an orthonormal coupling and the Clebsch-Gordan coefficients, from highest weights.
"""

import itertools
from functools import cache
from math import factorial

import pytest
import sympy as sp
from sympy import QQ
from sympy.physics.wigner import clebsch_gordan as sympys

from cartalg.symbolic import CouplingKind, coupling
from cartalg.symbolic.basis import basis_polynomials, harmonic_polynomials, squared_norms, to_sympy
from cartalg.symbolic.contraction import Contraction, contraction_constant, orthonormal_constant
from cartalg.symbolic.polynomials import AXES, RADIUS_SQUARED, RING, X, Y, Z, contraction, derivative
from cartalg.symbolic.projector import detrace
from cartalg.symbolic.proofs import prove_constants
from cartalg.symbolic.ranks import double_factorial, multi_indices, multinomial
from cartalg.symbolic.spherical import complex_matrix, coupling_phase

MU = sp.Symbol("mu")


def triples(top):
    """Every coupling of ranks to `top`."""
    for a, b in itertools.product(range(top + 1), repeat=2):
        for c in range(abs(a - b), min(a + b, top) + 1):
            yield a, b, c


def ratio(rank):
    """A_l = (2l-1)!!/l!."""
    return QQ(double_factorial(2 * rank - 1), factorial(rank))


@cache
def mean(p):
    """Mean of a polynomial over the unit sphere, monomial by monomial."""
    total = QQ(0)
    for exponents, value in p.items():
        if not any(e % 2 for e in exponents):
            top = 1
            for e in exponents:
                top *= double_factorial(e - 1)
            total += value * QQ(top, double_factorial(sum(exponents) + 1))
    return total


def pairings(indices):
    """Every way to join a list of indices in pairs."""
    if not indices:
        yield []
        return
    first, *rest = indices
    for place, other in enumerate(rest):
        for others in pairings(rest[:place] + rest[place + 1 :]):
            yield [(first, other), *others]


@pytest.mark.parametrize("exponents", [e for order in range(0, 9, 2) for e in multi_indices(order)], ids=str)
def test_the_mean_of_a_product_of_components_is_the_sum_over_pairings(exponents):
    """<n_i1 .. n_iJ> = 1/(J+1)!! sum over pairings of products of deltas, against the integral over the sphere."""
    letters = [axis for axis, e in enumerate(exponents) for _ in range(e)]
    total = sum(all(letters[i] == letters[j] for i, j in pairs) for pairs in pairings(list(range(len(letters)))))
    value = QQ(total, double_factorial(len(letters) + 1))
    assert value == mean(RING({exponents: QQ(1)}))
    a, b, c = exponents
    # n = (sin cos, sin sin, cos), 1/(4 pi) int dmu dphi; over phi an odd power gives zero
    polar = integral(sp.Poly(sp.expand((1 - MU**2) ** ((a + b) // 2) * MU**c), MU)) if (a + b) % 2 == 0 else 0
    halves = [sp.gamma(sp.Rational(n, 2)) for n in (a + 1, b + 1, a + b + 2)]
    azimuth = 2 * halves[0] * halves[1] / halves[2] if a % 2 == b % 2 == 0 else 0
    assert polar * azimuth / (4 * sp.pi) == to_sympy(value)


def triple(u, v, w, shape):
    """The full contraction of three tensors with k, a and b index pairs, and a Levi-Civita symbol if there is one."""
    order = shape.pairs + shape.epsilon
    total = RING(0)
    for index in multi_indices(shape.pairs):
        p, q = derivative(u, index), derivative(v, index)
        total += multinomial(index) * (crossed(p, q) if shape.epsilon else p * q)
    for rank in (shape.l1, shape.l2):
        total *= QQ(factorial(rank - order), factorial(rank))
    return contraction(w, total)


def crossed(u, v):
    """x . (grad u x grad v)."""
    return sum(
        (
            AXES[i] * (u.diff(AXES[j]) * v.diff(AXES[k]) - u.diff(AXES[k]) * v.diff(AXES[j]))
            for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
        ),
        RING(0),
    )


def kappa(shape):
    """The multiple of the triple contraction that the mean is."""
    total = shape.l1 + shape.l2 + shape.l3
    a, b = shape.free
    below = double_factorial(total + 1 - shape.epsilon) * factorial(shape.pairs) * factorial(a) * factorial(b)
    return QQ(factorial(shape.l1) * factorial(shape.l2) * factorial(shape.l3), below)


@pytest.mark.parametrize("ranks", [*triples(3), (4, 2, 4), (4, 3, 4), (5, 4, 3), (6, 5, 4)], ids=str)
def test_the_mean_of_three_tensors_is_a_multiple_of_their_contraction(ranks):
    shape = Contraction(*ranks)
    nonzero = 0
    for u, v in itertools.product(*(basis_polynomials(r) for r in ranks[:2])):
        joined = crossed(u, v) if shape.epsilon else u * v
        for w in basis_polynomials(ranks[2])[:: 1 if max(ranks) < 4 else 3]:
            value = triple(u, v, w, shape)
            nonzero += value != 0
            assert mean(joined * w) == kappa(shape) * value
    assert nonzero


def legendre(rank):
    return sp.Poly(sp.legendre(rank, MU), MU, domain=QQ)


def integral(p):
    """Over -1..1."""
    primitive = p.integrate()
    return primitive.eval(1) - primitive.eval(-1)


def homogeneous(p, degree):
    """A polynomial in mu as r^degree p(z/r)."""
    return sum((QQ(c.p, c.q) * Z**e * RADIUS_SQUARED ** ((degree - e) // 2) for (e,), c in p.terms() if c), RING(0))


@pytest.mark.parametrize("rank", range(9))
def test_zonal_tensors(rank):
    """At the pole: T(z) . n^l = P_l, T . T = A_l, and the derivative along x has norm A_l l(l+1)/2."""
    at_pole = [(axis, QQ(v)) for axis, v in zip(AXES, (0, 0, 1), strict=True)]
    norms, basis = squared_norms(rank), basis_polynomials(rank)
    packed = [p.evaluate(at_pole) for p in harmonic_polynomials(rank)]
    zonal = sum((t * e for t, e in zip(packed, basis, strict=True)), RING(0))
    assert zonal == homogeneous(legendre(rank), rank)
    assert contraction(zonal, zonal) == ratio(rank)
    slope = [p.diff(X).evaluate(at_pole) for p in harmonic_polynomials(rank)]
    assert sum((t * t * n for t, n in zip(slope, norms, strict=True)), QQ(0)) == ratio(rank) * rank * (rank + 1) / 2
    along = sum((t * e for t, e in zip(slope, basis, strict=True)), RING(0))
    assert along == X * homogeneous(legendre(rank).diff(), rank - 1)


@pytest.mark.parametrize("rank", range(7))
def test_the_sum_over_a_basis_is_a_legendre_polynomial(rank):
    """sum_m e_m(n) e_m(n')/N_m = P_l(n . n')/A_l on two unit vectors, here rational ones."""
    n, other = (QQ(2, 3), QQ(-1, 3), QQ(2, 3)), (QQ(2, 7), QQ(3, 7), QQ(6, 7))
    total = QQ(0)
    for p, norm in zip(basis_polynomials(rank), squared_norms(rank), strict=True):
        values = [p.evaluate(list(zip(AXES, point, strict=True))) for point in (n, other)]
        total += values[0] * values[1] / norm
    cosine = to_sympy(sum(a * b for a, b in zip(n, other, strict=True)))
    assert to_sympy(total) == sp.legendre(rank, cosine) / to_sympy(ratio(rank))


def integral_i(*ranks):
    """I = 1/2 int P1 P2 P3."""
    p1, p2, p3 = map(legendre, ranks)
    return integral(p1 * p2 * p3) / 2


def integral_k(*ranks):
    """K = int (1-mu^2) P1' P2' P3'."""
    p1, p2, p3 = (legendre(rank).diff() for rank in ranks)
    return integral(sp.Poly(1 - MU**2, MU, domain=QQ) * p1 * p2 * p3)


@pytest.mark.parametrize("weight", [sp.Rational(1, 2), sp.Rational(3, 2)], ids=["1/2", "3/2"])
def test_dougalls_linearisation(weight):
    """C_m C_n = sum_j g_j C_(m+n-2j), Gegenbauer polynomials of one weight; P_l and P_l' are those of 1/2 and 3/2."""
    polynomial = [sp.Poly(sp.gegenbauer(n, weight, MU), MU, domain=QQ) for n in range(23)]
    for n in range(10):
        derived = legendre(n + 1).diff() if weight == sp.Rational(3, 2) else legendre(n)
        assert polynomial[n] == derived
    for m, n in itertools.product(range(12), repeat=2):
        total = sp.Poly(0, MU, domain=QQ)
        for j in range(min(m, n) + 1):
            rising = [sp.rf(weight, i) / sp.factorial(i) for i in (j, m - j, n - j)]
            g = (m + n + weight - 2 * j) / (m + n + weight - j) * sp.prod(rising)
            g *= sp.rf(2 * weight, m + n - j) / sp.rf(weight, m + n - j)
            g *= sp.factorial(m + n - 2 * j) / sp.rf(2 * weight, m + n - 2 * j)
            total += polynomial[m + n - 2 * j] * g
        assert total == polynomial[m] * polynomial[n]


def closed_i(shape):
    """A_k A_a A_b / ((2h+1) A_h)."""
    a, b = shape.free
    h = shape.pairs + a + b
    return ratio(shape.pairs) * ratio(a) * ratio(b) / ratio(h) / (2 * h + 1)


def closed_k(shape):
    """2 h! (2k+1)!! (2a+1)!! (2b+1)!! / ((2h-1)!! k! a! b!)."""
    a, b = shape.free
    h = shape.pairs + a + b + 2
    value = QQ(2 * factorial(h), double_factorial(2 * h - 1))
    for n in (shape.pairs, a, b):
        value *= QQ(double_factorial(2 * n + 1), factorial(n))
    return value


def test_the_integrals_are_closed_in_the_ranks():
    found = 0
    for ranks in triples(11):
        shape = Contraction(*ranks)
        closed, value = (
            (closed_k(shape), integral_k(*ranks)) if shape.epsilon else (closed_i(shape), integral_i(*ranks))
        )
        assert to_sympy(closed) == value
        found += 1
    assert found == 870


def from_integrals(ranks):
    """c and q, as the derivation gives them."""
    shape = Contraction(*ranks)
    a1, a2, a3 = map(ratio, ranks)
    l3 = ranks[2]
    if shape.kind is CouplingKind.CONTRACTION:
        i = closed_i(shape)
        return a3 * kappa(shape) / i, (2 * l3 + 1) * i * a1 * a2 / a3
    k, turned = closed_k(shape), l3 * (l3 + 1)
    return 2 * a3 * turned * kappa(shape) / k, (2 * l3 + 1) * k * a1 * a2 / (2 * a3 * turned**2)


def test_the_constants_follow_from_the_integrals():
    for ranks in triples(15):
        c, q = map(to_sympy, from_integrals(ranks))
        assert (c, q) == (contraction_constant(*ranks), orthonormal_constant(*ranks))


@pytest.mark.parametrize("top", range(9))
def test_the_code_has_these_constants(top):
    """Every coupling with highest rank `top`: what the code measures on its exact table is the closed form."""
    for ranks in triples(top):
        if max(ranks) == top:
            prove_constants(coupling(*ranks))


@pytest.mark.parametrize("ranks", [(12, 12, 12), (12, 12, 11), (12, 7, 9), (9, 12, 20)], ids=str)
def test_the_code_has_these_constants_at_high_rank(ranks):
    prove_constants(coupling(*ranks))


@pytest.mark.parametrize("rank", range(1, 7))
def test_the_highest_component_is_a_contraction_with_a_null_vector(rank):
    """c_l(T) = (-1)^l 2^(-l/2) xi^l . T with xi = (1, i, 0), and the unit tensor with it is the conjugate."""
    real, imaginary = null_power(rank, 0, 0)
    row = complex_matrix(rank).row(2 * rank)
    for m, (p, n) in enumerate(zip(basis_polynomials(rank), squared_norms(rank), strict=True)):
        wanted = row[m] * sp.sqrt(to_sympy(n))  # the component of basis tensor m, whose s_m is sqrt(N_m)
        value = to_sympy(contraction(real, p)) + sp.I * to_sympy(contraction(imaginary, p))
        assert sp.simplify((-1) ** rank * value / sp.sqrt(2) ** rank - wanted) == 0


def null_power(plus, minus, vertical):
    """Real and imaginary part of (x+iy)^plus (x-iy)^minus z^vertical."""
    real, imaginary = Z**vertical, RING(0)
    for sign, times in ((1, plus), (-1, minus)):
        for _ in range(times):
            real, imaginary = X * real - sign * Y * imaginary, X * imaginary + sign * Y * real
    return real, imaginary


@pytest.mark.parametrize("vertical", [0, 1])
@pytest.mark.parametrize(("k", "b"), list(itertools.product(range(5), repeat=2)), ids=str)
def test_a_product_of_null_vectors_is_one_component_with_a_known_sign(k, b, vertical):
    """xi*^k xi^b [z], traceless: the functional of component m = b - k, times (-1)^k (-1)^m, or (-1)^b for m < 0."""
    rank, m = k + b + vertical, b - k
    sign = (-1) ** k if m >= 0 else (-1) ** b
    real, imaginary = (detrace(p, rank) for p in null_power(b, k, vertical))
    basis = basis_polynomials(rank)
    first, second = basis[rank + abs(m)], basis[rank - abs(m)]
    share = contraction(real, first) / contraction(first, first)
    assert share * sign > 0
    assert real == share * first
    if m:
        other = contraction(imaginary, second) / contraction(second, second)
        assert imaginary == other * second
        # the same multiple of the unit tensors, conjugated for m < 0
        assert other * sign * (1 if m > 0 else -1) > 0
        assert share**2 * contraction(first, first) == other**2 * contraction(second, second)
    else:
        assert imaginary == 0


@pytest.mark.parametrize("ranks", list(triples(3)), ids=str)
def test_an_orthonormal_coupling_is_a_phase_times_clebsch_gordan(ranks):
    """(-i)^(l1+l2-l3), for every component: real and complex components, orthonormal coupling, SymPy's coefficients."""
    l1, l2, l3 = ranks
    rule, maps = coupling(*ranks), [complex_matrix(rank) for rank in ranks]
    unit = [[sp.sqrt(to_sympy(n)) for n in squared_norms(rank)] for rank in ranks]
    real = {
        (k, a, b): rule.scale("orthonormal") * to_sympy(c) * unit[2][k] / (unit[0][a] * unit[1][b])
        for (k, a, b), c in rule.entries.items()
    }
    phase = coupling_phase(*ranks)
    assert phase == (-sp.I) ** (l1 + l2 - l3)
    for m1, m2 in itertools.product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        for m3 in range(-l3, l3 + 1):
            value = sum(
                v * maps[2][m3 + l3, k] * maps[0][m1 + l1, a].conjugate() * maps[1][m2 + l2, b].conjugate()
                for (k, a, b), v in real.items()
            )
            wanted = phase * sympys(l1, l2, l3, m1, m2, m3) if m1 + m2 == m3 else 0
            assert sp.radsimp(sp.expand(value - wanted)) == 0
