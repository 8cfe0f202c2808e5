"""Forms and numbers of constants of all classes: Nye's tables, spglib's operations, characters."""

import itertools

import numpy as np
import pytest
import spglib
import sympy as sp

from cartalg.physics.magnetic import magnetic_groups
from cartalg.physics.point_groups import CRYSTAL_CLASSES, CURIE_GROUPS, point_group
from cartalg.physics.properties import property_tensor
from cartalg.symbolic.reducible import decompose, parse_formula

PYRO, DIELECTRIC, PIEZO = "i", "ij=ji", "ijk=ikj"
ELASTIC, PHOTO = "ijkl=jikl=klij", "ijkl=jikl=ijlk"
#: Nye 1957, appendix E: pyroelectric, thermal expansion or permittivity, piezoelectric, elastic, photoelastic.
NYE = """
1 3 6 18 21 36 | -1 0 6 0 21 36 | 2 1 4 8 13 20 | m 2 4 10 13 20 | 2/m 0 4 0 13 20 | 222 0 3 3 9 12 | mm2 1 3 5 9 12
mmm 0 3 0 9 12 | 4 1 2 4 7 10 | -4 0 2 4 7 10 | 4/m 0 2 0 7 10 | 422 0 2 1 6 7 | 4mm 1 2 3 6 7 | -42m 0 2 2 6 7
4/mmm 0 2 0 6 7 | 3 1 2 6 7 12 | -3 0 2 0 7 12 | 32 0 2 2 6 8 | 3m 1 2 4 6 8 | -3m 0 2 0 6 8 | 6 1 2 4 5 8
-6 0 2 2 5 8 | 6/m 0 2 0 5 8 | 622 0 2 1 5 6 | 6mm 1 2 3 5 6 | -6m2 0 2 1 5 6 | 6/mmm 0 2 0 5 6 | 23 0 1 1 3 4
m-3 0 1 0 3 4 | 432 0 1 0 3 3 | -43m 0 1 1 3 3 | m-3m 0 1 0 3 3
∞ 1 2 4 5 8 | ∞/m 0 2 0 5 8 | ∞2 0 2 1 5 6 | ∞m 1 2 3 5 6 | ∞/mm 0 2 0 5 6 | ∞∞ 0 1 0 2 2 | ∞∞m 0 1 0 2 2
"""
COUNTS = {words[0]: words[1:] for words in (line.split() for line in NYE.replace("\n", "|").split("|")) if words}


@pytest.mark.parametrize("group", [*CRYSTAL_CLASSES, *CURIE_GROUPS])
def test_numbers_of_constants_are_nyes(group):
    found = [len(property_tensor(f, group).independent) for f in (PYRO, DIELECTRIC, PIEZO, ELASTIC, PHOTO)]
    assert found == [int(n) for n in COUNTS[group]]


#: Piezoelectric moduli of the twenty classes, rows with /; Nye 1957, table of appendix C.
MODULI = {
    "1": "d11 d12 d13 d14 d15 d16 ; d21 d22 d23 d24 d25 d26 ; d31 d32 d33 d34 d35 d36",
    "2": "0 0 0 d14 0 d16 ; d21 d22 d23 0 d25 0 ; 0 0 0 d34 0 d36",
    "m": "d11 d12 d13 0 d15 0 ; 0 0 0 d24 0 d26 ; d31 d32 d33 0 d35 0",
    "222": "0 0 0 d14 0 0 ; 0 0 0 0 d25 0 ; 0 0 0 0 0 d36",
    "mm2": "0 0 0 0 d15 0 ; 0 0 0 d24 0 0 ; d31 d32 d33 0 0 0",
    "4 6": "0 0 0 d14 d15 0 ; 0 0 0 d15 -d14 0 ; d31 d31 d33 0 0 0",
    "-4": "0 0 0 d14 d15 0 ; 0 0 0 -d15 d14 0 ; d31 -d31 0 0 0 d36",
    "422 622": "0 0 0 d14 0 0 ; 0 0 0 0 -d14 0 ; 0 0 0 0 0 0",
    "4mm 6mm": "0 0 0 0 d15 0 ; 0 0 0 d15 0 0 ; d31 d31 d33 0 0 0",
    "-42m": "0 0 0 d14 0 0 ; 0 0 0 0 d14 0 ; 0 0 0 0 0 d36",
    "3": "d11 -d11 0 d14 d15 -2*d22 ; -d22 d22 0 d15 -d14 -2*d11 ; d31 d31 d33 0 0 0",
    "32": "d11 -d11 0 d14 0 0 ; 0 0 0 0 -d14 -2*d11 ; 0 0 0 0 0 0",
    "3m": "0 0 0 0 d15 -2*d22 ; -d22 d22 0 d15 0 0 ; d31 d31 d33 0 0 0",
    "-6": "d11 -d11 0 0 0 -2*d22 ; -d22 d22 0 0 0 -2*d11 ; 0 0 0 0 0 0",
    "-6m2": "0 0 0 0 0 -2*d22 ; -d22 d22 0 0 0 0 ; 0 0 0 0 0 0",
    "23 -43m": "0 0 0 d14 0 0 ; 0 0 0 0 d14 0 ; 0 0 0 0 0 d14",
}
#: Stiffnesses, the upper half row by row; Nye 1957, table 9.
STIFFNESS = {
    "1 -1": "c11 c12 c13 c14 c15 c16 ; c22 c23 c24 c25 c26 ; c33 c34 c35 c36 ; c44 c45 c46 ; c55 c56 ; c66",
    "2 m 2/m": "c11 c12 c13 0 c15 0 ; c22 c23 0 c25 0 ; c33 0 c35 0 ; c44 0 c46 ; c55 0 ; c66",
    "222 mm2 mmm": "c11 c12 c13 0 0 0 ; c22 c23 0 0 0 ; c33 0 0 0 ; c44 0 0 ; c55 0 ; c66",
    "4 -4 4/m": "c11 c12 c13 0 0 c16 ; c11 c13 0 0 -c16 ; c33 0 0 0 ; c44 0 0 ; c44 0 ; c66",
    "422 4mm -42m 4/mmm": "c11 c12 c13 0 0 0 ; c11 c13 0 0 0 ; c33 0 0 0 ; c44 0 0 ; c44 0 ; c66",
    "3 -3": "c11 c12 c13 c14 c15 0 ; c11 c13 -c14 -c15 0 ; c33 0 0 0 ; c44 0 -c15 ; c44 c14 ; (c11-c12)/2",
    "32 3m -3m": "c11 c12 c13 c14 0 0 ; c11 c13 -c14 0 0 ; c33 0 0 0 ; c44 0 0 ; c44 c14 ; (c11-c12)/2",
    "6 -6 6/m 622 6mm -6m2 6/mmm ∞": "c11 c12 c13 0 0 0 ; c11 c13 0 0 0 ; c33 0 0 0 ; c44 0 0 ; c44 0 ; (c11-c12)/2",
    "∞/m ∞2 ∞m ∞/mm": "c11 c12 c13 0 0 0 ; c11 c13 0 0 0 ; c33 0 0 0 ; c44 0 0 ; c44 0 ; (c11-c12)/2",
    "23 m-3 432 -43m m-3m": "c11 c12 c12 0 0 0 ; c11 c12 0 0 0 ; c11 0 0 0 ; c44 0 0 ; c44 0 ; c44",
    "∞∞ ∞∞m": "c11 c12 c12 0 0 0 ; c11 c12 0 0 0 ; c11 0 0 0 ; (c11-c12)/2 0 0 ; (c11-c12)/2 0 ; (c11-c12)/2",
}


@pytest.mark.parametrize("classes", MODULI)
def test_piezoelectric_moduli_are_nyes(classes):
    wanted = sp.Matrix([[sp.sympify(v) for v in row.split()] for row in MODULI[classes].split(";")])
    for group in classes.split():
        assert property_tensor(PIEZO, group).matrix("d", "all") == wanted


@pytest.mark.parametrize("classes", STIFFNESS)
def test_stiffnesses_and_compliances_are_nyes(classes):
    rows = [[sp.sympify(v) for v in row.split()] for row in STIFFNESS[classes].split(";")]
    wanted = sp.Matrix(6, 6, lambda i, j: rows[min(i, j)][abs(i - j)])
    for group in classes.split():
        found = property_tensor(ELASTIC, group)
        assert (found.matrix("c") - wanted).expand().is_zero_matrix
        # compliance, by Nye's rule: the same but for s46, s56 (twice) and s66 = 2 (s11 - s12)
        values = {s: sp.Rational(n * n + 3, 7) for n, s in enumerate(sorted(wanted.free_symbols, key=str), start=1)}
        stiff = found.matrix("c").subs(values)
        compliant, own = stiff.inv(), found.matrix("s", "all")
        known = {own[i, j]: compliant[i, j] for i, j in np.ndindex(6, 6) if own[i, j].is_Symbol}
        assert own.subs(known) == compliant


SETTINGS = {"32": 150, "-3m": 164}


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("group", CRYSTAL_CLASSES)
def test_tensors_stay_as_they_are_under_spglibs_operations(group):
    types = ((hall, spglib.get_spacegroup_type(hall)) for hall in range(1, 531))
    hall = next(
        h for h, t in types if t.pointgroup_international == group and SETTINGS.get(group, t.number) == t.number
    )
    rotations = np.unique(spglib.get_symmetry_from_database(hall)["rotations"], axis=0)
    ours = point_group(group)
    lattice = np.eye(3)
    if ours.system in ("trigonal", "hexagonal"):
        lattice = np.array([[1, -0.5, 0], [0, np.sqrt(3) / 2, 0], [0, 0, 1]])
    assert {tuple(map(tuple, o.matrix)) for o in ours.operations} == {tuple(map(tuple, r.tolist())) for r in rotations}
    cartesian = lattice @ rotations @ np.linalg.inv(lattice)
    for formula, letters in ((PIEZO, "ai,bj,ck,ijk->abc"), (ELASTIC, "ai,bj,ck,dl,ijkl->abcd")):
        array = property_tensor(formula, group).array()
        values = {s: 1 + n * 0.7 for n, s in enumerate(sorted(array.free_symbols, key=str))}
        tensor = np.array(array.subs(values).tolist(), dtype=float)
        for r in cartesian:
            np.testing.assert_allclose(np.einsum(letters, *[r] * tensor.ndim, tensor), tensor, atol=1e-12)


def by_characters(formula, group, axial=False, time_odd=False):
    """Mean over the group of the character on tensors with an index symmetry: a sum over cycles of permutations."""
    order, permutations = parse_formula(formula)
    total = 0
    for o in group.operations:
        powers, turn = {}, np.eye(3, dtype=int)
        for n in range(1, order + 1):
            turn = turn @ np.array(o.matrix)
            powers[n] = int(np.trace(turn))
        sign = (o.determinant if axial else 1) * (-1 if time_odd and o.primed else 1)
        for permutation, own in permutations:
            value, left = own, set(range(order))
            while left:
                at, length = left.pop(), 1
                while permutation[at] in left:
                    at = permutation[at]
                    left.remove(at)
                    length += 1
                value *= powers[length]
            total += sign * value
    return sp.Rational(total, len(group.operations) * len(permutations))


@pytest.mark.parametrize(
    "formula", ["ij", "ij=-ji", "ijk", "ijk=jik=ikj", "ijk=-jik=-ikj", PHOTO, "ijklmn=jiklmn=klijmn=ijmnkl"]
)
@pytest.mark.parametrize("axial", [False, True])
def test_numbers_are_those_of_characters(formula, axial):
    for name in ("1", "2/m", "mm2", "-4", "3", "-3m", "-6", "-6m2", "622", "23", "-43m", "m-3m"):
        assert len(property_tensor(formula, name, axial).independent) == by_characters(
            formula, point_group(name), axial
        )


def test_third_order_elastic_constants_of_fumi():
    """Fumi 1951, 1952; Hearmon 1953: 56, 32, 20, 16, 12, 20, 14, 12, 10, 8, 6 and 3 in an isotropic body."""
    formula = "ijklmn=jiklmn=klijmn=ijmnkl"
    names = ("1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m", "∞∞m")
    wanted = dict(zip(names, (56, 32, 20, 16, 12, 20, 14, 12, 10, 8, 6, 3), strict=True))
    assert {name: len(property_tensor(formula, name).independent) for name in wanted} == wanted


def test_without_symmetry_it_is_the_whole_space_and_isotropic_tensors_are_the_scalar_parts():
    for formula in (PIEZO, ELASTIC, PHOTO, "ijk", "ijkl"):
        assert len(property_tensor(formula, "1").independent) == decompose(formula).dimension
        scalars = sum(part.rank == 0 for part in decompose(formula).parts)
        assert len(property_tensor(formula, "∞∞").independent) == scalars


def test_magnetic_groups_and_what_they_allow():
    """122 groups: 31 ferromagnetic, 58 magnetoelectric, 31 ferrotoroidic, 66 piezomagnetic (Birss 1966; ITC D 1.5)."""
    groups = magnetic_groups()
    assert (len(groups), sum(len(g.operations) for g in groups[:32])) == (122, 332)
    for count, formula, axial in ((31, "i", True), (58, "ij", True), (31, "i", False), (66, "ijk=ikj", True)):
        assert sum(bool(property_tensor(formula, g, axial, time_odd=True).independent) for g in groups) == count
    for g in groups:
        assert len(property_tensor("ij", g, True, True).independent) == by_characters("ij", g, True, True)


def test_chromium_oxide():
    """Magnetoelectric chromia, -3'm' (Dzyaloshinskii 1960): a11 = a22 and a33."""
    a11, a33 = sp.symbols("a11 a33")
    assert property_tensor("ij", "-3'm'", True, True).matrix("a") == sp.diag(a11, a11, a33)
    assert not property_tensor("ij", "-3m1'", True, True).independent


@pytest.mark.parametrize(
    ("symbol", "says"),
    [
        ("m3m", "near it: m-3m"),
        ("7", "there is no point group"),
        ("4'/mmm", "write 4/mmm1'"),
        ("2'1'", "leave out primes"),
    ],
)
def test_bad_symbols(symbol, says):
    with pytest.raises(ValueError, match=says):
        point_group(symbol)


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="continuous"):
        _ = point_group("∞m").operations
    with pytest.raises(ValueError, match="no pair of indices"):
        property_tensor("ij", "1").matrix("a", "all")
    with pytest.raises(ValueError, match="to 729"):
        property_tensor("ijklmno", "1")


def test_array_and_matrix_agree():
    array, matrix = property_tensor(ELASTIC, "3").array("c"), property_tensor(ELASTIC, "3").matrix("c")
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    names = {
        s: sp.Symbol("c" + "".join(str(n + 1) for p in (int(d) - 1 for d in str(s)[1:]) for n in pairs[p]))
        for s in matrix.free_symbols
    }
    for (i, (a, b)), (j, (c, d)) in itertools.product(enumerate(pairs), repeat=2):
        assert matrix[i, j].subs(names) == array[a, b, c, d] == array[b, a, d, c]
