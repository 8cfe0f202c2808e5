"""Multipoles, fields, order parameters and reduced elements: against derivatives, direct sums and published tables."""

import itertools
import random

import pytest
import sympy as sp
from sympy.physics.wigner import wigner_3j

from cartalg.physics import fields
from cartalg.physics import multipoles as mp
from cartalg.physics.packed import couple, dot, harmonic, packed_vector
from cartalg.physics.steinhardt import mean_harmonic, steinhardt_q, steinhardt_w
from cartalg.physics.stone import component, stone_function
from cartalg.physics.wigner_eckart import harmonic_element, orthonormal_coupling, reduced_element
from cartalg.symbolic.basis import basis_polynomials, squared_norms, to_sympy
from cartalg.symbolic.polynomials import AXES, RADIUS_SQUARED, RING
from cartalg.symbolic.rotation import generator, rational_rotation

SOURCE = random.Random(2)
X, Y, Z = POINT = sp.symbols("x y z")


def numbers(size):
    return [sp.Rational(SOURCE.randint(-9, 9), SOURCE.randint(1, 4)) for _ in range(size)]


CHARGES, POSITIONS = numbers(4), [numbers(3) for _ in range(4)]


@pytest.mark.parametrize("rank", range(5))
def test_interaction_tensors_are_gradients(rank):
    tensor, radius = mp.interaction_tensor(rank), sp.sqrt(X**2 + Y**2 + Z**2)
    for index in itertools.combinations_with_replacement(range(3), rank):
        derivative = sp.diff(1 / radius, *[POINT[i] for i in index]) if index else 1 / radius
        at = dict(zip(POINT, (2, 3, 6), strict=True))  # of length 7: rational
        assert (tensor[index] if index else tensor[0]).subs(at) == derivative.subs(at)


def test_moments_are_buckinghams():
    """Dipole sum q r, quadrupole sum q (3 z z - r^2)/2 on its axis."""
    found = mp.moments(CHARGES, POSITIONS, 2)
    assert found[0] == [sum(CHARGES)]
    assert found[1] == packed_vector([sum(q * p[i] for q, p in zip(CHARGES, POSITIONS, strict=True)) for i in range(3)])
    along_z = dot(found[2], harmonic(2, (0, 0, 1))) / mp.alpha(2)
    wanted = sum(q * (3 * z * z - x * x - y * y - z * z) / 2 for q, (x, y, z) in zip(CHARGES, POSITIONS, strict=True))
    assert along_z == wanted


def test_translation_of_moments_is_exact_to_rank_five():
    shift = numbers(3)
    moved = [[a + b for a, b in zip(p, shift, strict=True)] for p in POSITIONS]
    assert mp.moved_regular(mp.moments(CHARGES, POSITIONS, 5), shift) == mp.moments(CHARGES, moved, 5)


@pytest.mark.parametrize("rank", range(4))
def test_translation_of_irregular_harmonics_is_taylors_series(rank):
    """Term by term: d^k/dt^k of I_l(x + t a) over k! is the term of order k."""
    t, at, shift = sp.Symbol("t"), (2, 3, 6), (1, -2, 2)
    path = [p + t * a for p, a in zip(at, shift, strict=True)]
    exact = mp.irregular(rank, path)
    parts = [mp.irregular(rank + k, at) for k in range(4)]
    for order in range(4):
        ours = mp.moved_irregular(rank, parts[: order + 1], shift)
        before = mp.moved_irregular(rank, parts[:order], shift) if order else [0] * (2 * rank + 1)
        for value, low, function in zip(ours, before, exact, strict=True):
            assert value - low == function.diff(t, order).subs(t, 0) / sp.factorial(order)


def test_potential_and_energy_converge_to_coulombs():
    """Sums to rank L of point charges: the error falls as the ratio of distances to the power L."""
    small = [[v / 20 for v in p] for p in POSITIONS]
    far = (2, 3, 6)
    sources = mp.moments(CHARGES, small, 8)
    direct = sum(
        q / sp.sqrt(sum((a - b) ** 2 for a, b in zip(far, p, strict=True))) for q, p in zip(CHARGES, small, strict=True)
    )
    assert abs(sp.N(mp.potential(sources, far) - direct, 30)) < 1e-9
    others = [[b / 2 for b in p[::-1]] for p in small]
    direct = sum(
        q * w / sp.sqrt(sum((c + b - a) ** 2 for a, b, c in zip(p, s, far, strict=True)))
        for (q, p), (w, s) in itertools.product(zip(CHARGES, small, strict=True), zip(CHARGES, others, strict=True))
    )
    found = mp.energy(mp.moments(CHARGES, small, 5), mp.moments(CHARGES, others, 5), far)
    assert abs(sp.N(found - direct, 30)) < 1e-5


def test_the_field_is_minus_the_gradient():
    sources = mp.moments(CHARGES, POSITIONS, 3)
    potential = mp.potential(sources, POINT)
    at = dict(zip(POINT, (2, 3, 6), strict=True))
    assert mp.field(sources, (2, 3, 6)) == tuple(-potential.diff(v).subs(at) for v in POINT)


def test_addition_theorem():
    """T_l(n) . T_l(n') = alpha_l times Legendre's polynomial of the cosine."""
    n, other = [sp.Rational(v, 7) for v in (2, 3, 6)], [sp.Rational(v, 9) for v in (1, 4, 8)]
    cosine = sum(a * b for a, b in zip(n, other, strict=True))
    for rank in range(8):
        assert dot(harmonic(rank, n), harmonic(rank, other)) == mp.alpha(rank) * sp.legendre(rank, cosine)


#: Stone 2013, appendix F (Price, Stone & Alderton 1984, table 1), times R^(l1+l2+1); a, b are r^a, r^b.
STONE = {
    ("00", "00"): "1",
    ("10", "00"): "az",
    ("11c", "00"): "ax",
    ("20", "00"): "(3*az**2 - 1)/2",
    ("21c", "00"): "sqrt(3)*ax*az",
    ("21s", "00"): "sqrt(3)*ay*az",
    ("22c", "00"): "sqrt(3)*(ax**2 - ay**2)/2",
    ("22s", "00"): "sqrt(3)*ax*ay",
    ("30", "00"): "(5*az**3 - 3*az)/2",
    ("31c", "00"): "sqrt(6)/4*ax*(5*az**2 - 1)",
    ("32s", "00"): "sqrt(15)*ax*ay*az",
    ("33c", "00"): "sqrt(10)/4*ax*(ax**2 - 3*ay**2)",
    ("40", "00"): "(35*az**4 - 30*az**2 + 3)/8",
    ("10", "10"): "3*az*bz + czz",
    ("11c", "11s"): "3*ax*by + cxy",
    ("20", "10"): "(15*az**2*bz + 6*az*czz - 3*bz)/2",
    ("20", "11s"): "(15*az**2*by + 6*az*czy - 3*by)/2",
    ("21c", "10"): "sqrt(3)*(ax*czz + cxz*az + 5*ax*az*bz)",
    ("22s", "10"): "sqrt(3)*(5*ax*ay*bz + ax*cyz + ay*cxz)",
    ("30", "10"): "(35*az**3*bz + 15*az**2*czz - 15*az*bz - 3*czz)/2",
    ("20", "20"): "3*(35*az**2*bz**2 - 5*az**2 - 5*bz**2 + 20*az*bz*czz + 2*czz**2 + 1)/4",
    ("20", "21c"): "sqrt(3)/2*(35*az**2*bx*bz - 5*bx*bz + 10*az*bx*czz + 10*az*bz*czx + 2*czx*czz)",
}


@pytest.mark.parametrize("pair", STONE)
def test_interaction_functions_are_stones(pair):
    """As functions on rotations: unit vectors and cosines belong together, so forms differ and values do not."""
    ours, table = stone_function(*pair), sp.sympify(STONE[pair])
    for quaternion in ((1, 2, -1, 3), (2, 1, 1, -1), (0, 1, 3, 2)):
        c = rational_rotation(quaternion)
        a = sp.Matrix([sp.Rational(v, 7) for v in SOURCE.choice([(2, 3, 6), (-6, 2, 3), (3, -6, 2)])])
        b = -c.T * a
        at = dict(zip(sp.symbols("ax ay az bx by bz"), [*a, *b], strict=True))
        at |= {sp.Symbol(f"c{'xyz'[i]}{'xyz'[j]}"): c[i, j] for i in range(3) for j in range(3)}
        assert sp.expand(ours.subs(at) - table.subs(at)) == 0


def test_interaction_functions_are_energies_of_unit_moments():
    """In parallel axes they are `energy` of one unit spherical moment each."""
    separation = (2, 3, 6)
    at = {
        sp.Symbol(f"{s}{x}"): sign * sp.Rational(v, 7)
        for s, sign in (("a", 1), ("b", -1))
        for x, v in zip("xyz", separation, strict=True)
    }
    at |= {sp.Symbol(f"c{i}{j}"): int(i == j) for i in "xyz" for j in "xyz"}

    def unit(label):
        rank, m = component(label)
        packed = [sp.Integer(0)] * (2 * rank + 1)
        packed[rank + m] = sp.sqrt(mp.alpha(rank) / to_sympy(squared_norms(rank)[rank + m]))
        return packed

    for first, second in itertools.product(("00", "11s", "20", "32c"), ("10", "22s", "31c")):
        total = component(first)[0] + component(second)[0]
        ours = stone_function(first, second).subs(at) / 7 ** (total + 1)
        assert sp.expand(mp.energy([unit(first)], [unit(second)], separation) - ours) == 0


def test_labels_of_components():
    for bad in ("0", "11", "20c", "12c", "x0"):
        with pytest.raises(ValueError, match="no multipole component"):
            component(bad)


@pytest.mark.parametrize(
    ("l", "k", "j"), [(1, 0, 1), (2, 1, 1), (2, 1, 2), (1, 1, 1), (2, 2, 1), (3, 1, 2), (1, 2, 3), (2, 0, 2)]
)
@pytest.mark.parametrize("power", [0, 1])
def test_derivatives_of_fields(l, k, j, power):  # noqa: E741
    """Of polynomials r^2p (T_l(x) x A)_j by differentiation, component by component."""
    constant = [RING(int(SOURCE.randint(-5, 5))) for _ in range(2 * k + 1)]
    solid = harmonic(l, AXES)
    field = [RADIUS_SQUARED**power * v for v in couple(solid, constant, j)]
    term = fields.Harmonic(l, k, j, fields.R ** (2 * power + l))
    for derivative, total in ((fields.gradient, j + 1), (fields.curl, j), (fields.divergence, j - 1)):
        exact = [RING(0)] * (2 * total + 1)
        for axis in range(3):
            along = packed_vector([int(i == axis) for i in range(3)])
            part = couple([RING(v) for v in along], [v.diff(AXES[axis]) for v in field], total)
            exact = [a + b for a, b in zip(exact, part, strict=True)]
        ours = [RING(0)] * (2 * total + 1)
        for found in derivative(term):
            factor, exponent = found.radial.as_coeff_exponent(fields.R)
            rest = int(exponent) - found.rank
            assert rest % 2 == 0
            assert rest >= 0
            scale = RING(RING.domain(int(factor.p), int(factor.q))) * RADIUS_SQUARED ** (rest // 2)
            part = couple(harmonic(found.rank, AXES), constant, total)
            ours = [a + scale * b for a, b in zip(ours, part, strict=True)]
        assert ours == exact


def test_harmonic_fields():
    """Regular and irregular harmonics have no divergence beyond l-1 and l+1; curl of a gradient is zero."""
    for power, left in ((3, 2), (-4, 4)):
        parts = fields.gradient(fields.Harmonic(3, 0, 3, fields.R**power)) + fields.divergence(
            fields.Harmonic(3, 0, 3, fields.R**power)
        )
        assert [p.rank for p in parts] == [left]
    assert fields.curl(fields.Harmonic(3, 0, 3, sp.exp(fields.R))) == []
    with pytest.raises(ValueError, match="scalar field"):
        fields.curl(fields.Harmonic(1, 1, 0, fields.R))


FCC = [(i, j, 0) for i in (-1, 1) for j in (-1, 1)]
FCC = [tuple(v[(n - s) % 3] for n in range(3)) for v in FCC for s in range(3)]
SC = [tuple(s * (n == axis) for n in range(3)) for axis in range(3) for s in (-1, 1)]
BCC = list(itertools.product((-1, 1), repeat=3))
GOLD = (1 + sp.sqrt(5)) / 2
ICO = [
    tuple(v[(n - s) % 3] for n in range(3))
    for v in [(0, i, j * GOLD) for i in (-1, 1) for j in (-1, 1)]
    for s in range(3)
]


@pytest.mark.parametrize(
    ("bonds", "rank", "q", "w"),
    [
        (FCC, 4, 0.190941, -0.159317),
        (FCC, 6, 0.574524, -0.013161),
        (SC, 4, 0.763763, 0.159317),
        (SC, 6, 0.353553, 0.013161),
        (BCC, 4, 0.509175, -0.159317),
        (BCC, 6, 0.628539, 0.013161),
        (ICO, 6, 0.663325, -0.169754),
    ],
)
def test_order_parameters_are_those_of_the_literature(bonds, rank, q, w):
    """Steinhardt, Nelson & Ronchetti 1983, table I; Mickel et al. 2013, table I."""
    assert float(steinhardt_q(bonds, rank)) == pytest.approx(q, abs=1e-6)
    assert float(steinhardt_w(bonds, rank)) == pytest.approx(w, abs=1e-6)


def test_order_parameters_are_exact():
    assert steinhardt_q(FCC, 4) ** 2 == sp.Rational(7, 192)
    assert steinhardt_q(SC, 4) ** 2 == sp.Rational(7, 12)
    assert sp.simplify(steinhardt_q(ICO, 4)) == 0
    assert steinhardt_q([(0, 0, 3)], 5) == 1
    assert mean_harmonic(SC, 2) == [0] * 5
    for rank, bonds, says in (
        (3, SC, "odd"),
        (2, SC, "is zero"),
        (2, [], "at least one"),
        (2, [(0, 0, 0)], "no length"),
    ):
        with pytest.raises(ValueError, match=says):
            steinhardt_w(bonds, rank)


@pytest.mark.parametrize(("l1", "k", "l2"), [(0, 1, 1), (1, 1, 2), (2, 2, 2), (1, 2, 3), (2, 4, 2), (1, 1, 1)])
def test_reduced_elements_of_harmonics(l1, k, l2):
    """Integrals of three harmonics, monomial by monomial, are tensor elements; sizes are SymPy's 3j symbols."""
    elements = {}
    for (a, p), (b, o), (c, q) in itertools.product(*(enumerate(basis_polynomials(rank)) for rank in (l1, k, l2))):
        mean = sum((v * sphere_mean(e) for e, v in (p * o * q).items()), 0)
        if mean:
            norms = [to_sympy(squared_norms(rank)[m]) for rank, m in ((l1, a), (k, b), (l2, c))]
            scale = sp.sqrt((2 * l1 + 1) * (2 * l2 + 1) * mp.alpha(l1) * mp.alpha(k) * mp.alpha(l2) / sp.prod(norms))
            elements[a, b, c] = to_sympy(mean) * scale
    found = reduced_element(elements, l1, k, l2)
    assert found == harmonic_element(l1, k, l2)
    assert found**2 == (2 * l1 + 1) * (2 * l2 + 1) * wigner_3j(l1, k, l2, 0, 0, 0) ** 2


def sphere_mean(exponents):
    """Mean of x^a y^b z^c over the unit sphere."""
    if any(e % 2 for e in exponents):
        return 0
    top = sp.prod([sp.factorial2(e - 1) for e in exponents])
    value = sp.Rational(top, sp.factorial2(sum(exponents) + 1))
    return RING.domain(int(value.p), int(value.q))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_angular_momentum(rank):
    """|<l||J||l>|^2 = l (l+1) (2l+1), with the generators as tensor operator of rank 1."""
    norms = [to_sympy(n) for n in squared_norms(rank)]
    elements = {}
    for b, axis in enumerate((1, 2, 0)):  # packed vectors are (y, z, x)
        for a, row in enumerate(generator(rank, axis)):
            for c, value in enumerate(row):
                if value:
                    elements[a, b, c] = sp.Rational(value.numerator, value.denominator) * sp.sqrt(norms[a] / norms[c])
    assert reduced_element(elements, rank, 1, rank) ** 2 == rank * (rank + 1) * (2 * rank + 1)
    elements[0, 0, 0] = sp.Integer(1)
    with pytest.raises(ValueError, match="no tensor operator of rank 1"):
        reduced_element(elements, rank, 1, rank)


def test_the_coupling_is_a_partial_isometry():
    rule = orthonormal_coupling(2, 1, 2)
    for k in range(5):
        assert sum(c**2 for (out, _, _), c in rule.items() if out == k) == 1
