"""Expressions with indices against arrays of numbers, and against SymPy's own tensors."""

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from sympy.physics.wigner import wigner_6j, wigner_9j

from cartalg.symbolic.indexed import ALPHABET, DELTA, EPSILON, combined, parse, symmetries_of
from cartalg.symbolic.irreducible import components, irreducible_parts, vanishes
from cartalg.symbolic.isotropic import canonical, isotropic_basis, of_array
from cartalg.symbolic.reducible import decompose
from cartalg.symbolic.symbols import cartesian_3j, nine_j, six_j

SOURCE = np.random.default_rng(0)
LEVI = np.array([[[int(sp.LeviCivita(i, j, k)) for k in range(3)] for j in range(3)] for i in range(3)])
VALUES = {
    name: SOURCE.integers(-50, 51, (3,) * rank) for name, rank in (("a", 2), ("b", 2), ("n", 1), ("u", 1), ("T", 3))
}
VALUES |= {DELTA: np.eye(3, dtype=int), EPSILON: LEVI}


def value(expression, values=VALUES):
    """By NumPy's sums, as whole numbers over one denominator."""
    total = np.zeros((3,) * len(expression.free), dtype=object)
    for term, c in expression.terms:
        letters = ",".join(i for _, i in term) + "->" + expression.free
        part = np.einsum(letters, *[values[n] for n, _ in term]) if term else np.array(1)
        total = total + part.astype(object) * c
    return np.asarray(total, dtype=object)


EXPRESSIONS = [
    "a_ij b_jk n_k",
    "eps_ijk eps_klm a_jl b_mn n_n",
    "2/3 delta_ij a_kk - 1/2 a_ij - 1/2 a_ji",
    "eps_ijk eps_lmn a_il a_jm a_kn",
    "T_ijk delta_jl eps_lkm",
    "eps_ijk eps_jkl eps_lmn a_mn",
    "T_iij T_jkk",
    "delta_ij delta_jk delta_kl n_l u_i + n_m u_m",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_simplified_expressions_have_the_same_values(text):
    expression = parse(text)
    simple = expression.simplified()
    assert (value(expression) == value(simple)).all()
    assert simple == simple.simplified() == parse(str(simple)).simplified() or not simple.terms
    assert not any(n == DELTA and set(i) - set(simple.free) for t, _ in simple.terms for n, i in t)


def test_equal_expressions_have_one_form():
    assert parse("a_ij a_jk a_ki - a_ji a_ik a_kj").simplified().terms == ()
    assert parse("eps_ijk n_j n_k").simplified().terms == ()
    assert parse("eps_ijk n_j u_k + eps_ijk u_j n_k").simplified().terms == ()
    symmetric = symmetries_of(["a_ij=a_ji", "b_ij=-b_ji"])
    assert parse("a_ij b_ij").simplified(symmetric).terms == ()
    assert parse("a_ij c_jk - c_jk a_ji").simplified(symmetric).terms == ()
    assert str(parse("α_ij n_j").simplified()) == "n_j α_ij"
    assert parse("delta_ii").simplified().terms == (((), Fraction(3)),)


def test_products_and_letters():
    """Summed indices make way; shared free ones are summed."""
    left, right = parse("a_ij b_jk"), parse("a_kj n_j")
    assert (left * right).free == "i"
    assert (value(left * right) == value(left) @ value(right)).all()
    renamed = left.renamed({"i": "j", "k": "i"})
    assert renamed.free == "ji"
    assert (value(renamed) == value(left)).all()
    assert (value(left - 2 * left) == -value(left)).all()
    assert str((Fraction(2, 3) * parse("a_ij") - parse("2 a_ji")).primitive) == "a_ij - 3 a_ji"
    with pytest.raises(ValueError, match="free indices differ"):
        combined([(Fraction(1), parse("n_i")), (Fraction(1), parse("n_j"))])


def test_sympys_tensors_agree():
    """Canonical forms by Butler and Portugal: what they find equal we do, and the other way round."""
    from cartalg.render.sympy_tensors import sympy_tensor

    pairs = [
        ("a_ij a_jk", "a_kj a_ji"),
        ("a_ij n_j n_i", "n_i a_ji n_j"),
        ("a_ij a_ij", "a_ij a_ji"),
        ("a_ij b_jk", "b_ij a_jk"),
    ]
    symmetric = ["a_ij=a_ji", "b_ij=b_ji"]
    for left, right in pairs:
        ours = parse(left).simplified(symmetries_of(symmetric)) == parse(right).simplified(symmetries_of(symmetric))
        theirs = [sympy_tensor(parse(t), symmetries_of(symmetric)).canon_bp() for t in (left, right)]
        if parse(left).free == parse(right).free:
            assert (theirs[0] == theirs[1]) == ours


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a_ii b_i", "occurs 3 times"),
        ("a_ij + n_i", "free indices 'i' of a term differ"),
        ("a_ij a_jkl", "2 indices in one place and 3"),
        ("a_i(b_j)", "cannot be read from"),
        ("a_ij +", "ends where a term"),
        ("", "ends where a term"),
    ],
)
def test_what_cannot_be_read(text, says):
    with pytest.raises(ValueError, match=says):
        parse(text)
    with pytest.raises(ValueError, match="no symmetry of a tensor"):
        symmetries_of(["a_ij=b_ij"])


def test_numbers_of_isotropic_tensors():
    """Kearsley & Fong 1975; Motzkin's numbers of scalars in the power of a vector."""
    for rank, number in ((0, 1), (1, 0), (2, 1), (3, 1), (4, 3), (5, 6), (6, 15), (7, 36), (8, 91)):
        basis = isotropic_basis(ALPHABET[:rank])
        assert len(basis) == number
        if 0 < rank < 7:
            assert number == sum(part.rank == 0 for part in decompose(ALPHABET[:rank]).parts)


def test_dimensional_identities():
    """Four indices cannot be antisymmetric in three dimensions."""
    assert canonical(parse("delta_ij eps_klm - delta_ik eps_jlm + delta_il eps_jkm - delta_im eps_jkl")).terms == ()
    letters = "ijkl"
    terms = []
    for order in itertools.permutations(range(4)):
        sign = sp.LeviCivita(*order)
        deltas = " ".join(f"delta_{letters[n]}{'mnop'[k]}" for n, k in enumerate(order))
        terms.append(("+" if sign > 0 else "-") + " " + deltas)
    assert canonical(parse(" ".join(terms))).terms == ()
    half = canonical(parse(" ".join(terms[:12])))
    assert half.terms
    assert (value(half) == value(parse(" ".join(terms[:12])))).all()
    with pytest.raises(ValueError, match="only expressions in delta and epsilon"):
        canonical(parse("a_ij"))
    with pytest.raises(ValueError, match="not isotropic"):
        of_array(np.diag([1, 1, 2]).astype(object), 1, "ij")


TRIPLES = [(1, 1, 0), (1, 1, 1), (1, 1, 2), (2, 1, 2), (2, 2, 2), (2, 1, 3), (0, 2, 2), (2, 2, 1)]


@pytest.mark.parametrize("triple", TRIPLES)
def test_3j_symbols_are_normalised_traceless_and_orthogonal(triple):
    """Two of them joined by two groups of indices are the projector of the third over 2l+1."""
    symbol, norm = cartesian_3j(*triple)
    l1, l2, l3 = triple
    assert (symbol * symbol).simplified().terms == (((), norm),)
    groups = [symbol.free[:l1], symbol.free[l1 : l1 + l2], symbol.free[l1 + l2 :]]
    for group in groups:
        if len(group) > 1:
            assert canonical(symbol * parse(f"delta_{group[:2]}")).terms == ()
    if 2 * l3 <= 4 and l3:
        other = "wxyz"[:l3]
        joined = canonical(symbol * cartesian_3j(*triple, symbol.free[: l1 + l2] + other)[0])
        projector = decompose(ALPHABET[:l3]).parts[-1].projector()
        array = np.array([[sp.Rational(v) for v in projector.row(i)] for i in range(3**l3)], dtype=object)
        wanted = array.reshape((3,) * 2 * l3) * sp.Rational(norm.numerator, norm.denominator) / (2 * l3 + 1)
        assert (value(joined) == wanted).all()


@pytest.mark.parametrize(
    "ranks", [(1, 1, 1, 1, 1, 1), (1, 1, 2, 1, 1, 2), (1, 1, 2, 1, 1, 1), (1, 1, 0, 1, 1, 1), (2, 1, 1, 1, 1, 1)]
)
def test_four_3j_symbols_joined_are_a_6j_symbol(ranks):
    """A tetrahedron: up to sign Wigner's number."""
    names, spare = {}, iter(ALPHABET)
    for key, rank in zip("abcdef", ranks, strict=True):
        names[key] = "".join(next(spare) for _ in range(rank))
    total, norms = None, Fraction(1)
    for triple in ("abc", "aef", "dbf", "dec"):
        symbol, norm = cartesian_3j(
            *(dict(zip("abcdef", ranks, strict=True))[k] for k in triple), "".join(names[k] for k in triple)
        )
        norms *= norm
        total = symbol if total is None else (total * symbol).simplified()
    contracted = sum((c for _, c in total.terms), Fraction(0))
    assert (
        sp.Rational(contracted.numerator, contracted.denominator) ** 2
        == sp.Rational(norms.numerator, norms.denominator) * wigner_6j(*ranks) ** 2
    )
    assert six_j(*ranks) == wigner_6j(*ranks)


def test_6j_and_9j_symbols_are_wigners():
    source = random.Random(3)
    for _ in range(12):
        ranks = [source.randint(0, 2) for _ in range(6)]
        try:
            theirs = wigner_6j(*ranks)
        except ValueError:
            theirs = 0
        assert six_j(*ranks) == theirs
    for rows in (
        ((1, 1, 2), (1, 2, 1), (2, 1, 1)),
        ((1, 1, 1), (1, 1, 1), (1, 1, 0)),
        ((1, 1, 1), (1, 1, 1), (2, 2, 2)),
    ):
        assert nine_j(rows) == wigner_9j(*itertools.chain(*rows))
    assert nine_j(((1, 1, 3), (1, 1, 1), (1, 1, 1))) == 0


@pytest.mark.parametrize(
    "text", ["n_i", "a_ij b_jk n_k", "a_ij", "a_ij b_jk", "n_i u_j", "n_i n_j", "T_ijk", "a_ij n_k", "a_ij b_kl"]
)
def test_irreducible_parts_add_up_and_are_irreducible(text):
    """Their sum is the expression; each is what its projector, an array, makes of it."""
    expression = parse(text)
    parts = irreducible_parts(expression)
    total = combined((Fraction(1), p.embedded) for p in parts)
    assert (value(total) == value(expression)).all()
    order = len(expression.free)
    for part in parts:
        own = value(part.own)
        assert own.any()
        for first, second in itertools.combinations(range(part.rank), 2):
            assert (own == np.swapaxes(own, first, second)).all()
            assert not np.any(np.trace(own, axis1=first, axis2=second))
    if order in (2, 3) and text not in ("n_i n_j",):
        dense = value(expression).reshape(-1)
        for part, exact in zip(parts, decompose(ALPHABET[:order]).parts, strict=True):
            assert part.rank == exact.rank
            assert (
                np.array(exact.projector().tolist(), dtype=object) @ dense == value(part.embedded).reshape(-1)
            ).all()


def test_symmetries_leave_no_part_that_is_zero():
    ranks = lambda text, *symmetries: [p.rank for p in irreducible_parts(parse(text), symmetries_of(symmetries))]  # noqa: E731
    assert ranks("n_i n_j") == [0, 2]
    assert ranks("C_ijkl", "C_ijkl=C_jikl=C_klij") == [0, 0, 2, 2, 4]
    assert ranks("e_ijk", "e_ijk=e_ikj") == [1, 1, 2, 3]
    assert ranks("eps_ijk n_k") == [1]
    assert ranks("a_ij b_ij") == [0]
    first, _, last = irreducible_parts(parse("a_ij b_jk"))
    assert str(first.embedded) == "1/3 a_jl b_lj δ_ik"
    assert str(last.own) == "3 a_ij b_jk - 2 a_jl b_lj δ_ik + 3 a_kj b_ji"
    with pytest.raises(ValueError, match="to 4 free indices"):
        irreducible_parts(parse("T_ijklm"))


def test_components():
    a = sp.symbols("a11 a12 a22")
    array = components(parse("a_ij - delta_ij a_kk"), symmetries_of(["a_ij=a_ji"]))
    assert array[0, 1] == array[1, 0] == a[1]
    assert array[0, 0] == -a[2] - sp.Symbol("a33")
    assert vanishes(parse("delta_ij eps_klm - delta_ik eps_jlm + delta_il eps_jkm - delta_im eps_jkl"))
    assert not vanishes(parse("a_ij"))
    assert vanishes(parse("a_ij + a_ji"), symmetries_of(["a_ij=-a_ji"]))
