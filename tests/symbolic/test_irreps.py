import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartalg.symbolic.irreps import Irrep, Irreps

irreps = st.builds(Irrep, st.integers(0, 6), st.sampled_from([1, -1]))
sums = st.lists(st.tuples(st.integers(0, 128), irreps)).map(Irreps)


def test_a_sum_is_written_as_the_field_writes_it():
    assert str(Irreps("64x0e+64x1o + 2e")) == "64x0e + 64x1o + 2e"
    assert Irreps("64x0e + 64x1o").dim == 64 * 4
    assert str(Irreps.natural(2)) == "0e + 1o + 2e"
    assert str(Irreps.full(1)) == "0e + 1o + 0o + 1e"
    assert Irreps.natural(1) * 32 == 32 * Irreps("0e + 1o") == Irreps("32x0e + 32x1o")


@given(sums)
def test_printing_and_parsing_are_inverse(value):
    assert Irreps(str(value)) == value


@given(sums)
def test_slices_cover_the_components_in_order(value):
    ends = [s.stop for s in value.slices]
    assert [s.start for s in value.slices] == [0, *ends][:-1]
    assert value.dim == ([0, *ends])[-1] == sum(value.count(ir) * ir.dim for ir in set(value.irreps))


@given(sums)
def test_a_filter_keeps_what_its_function_is_true_of(value):
    natural, axial = value.filter(lambda ir: ir.natural), value.filter(lambda ir: ir.axial)
    assert natural.dim + axial.dim == value.dim
    assert all(ir.p == (-1) ** ir.l for ir in natural.irreps)
    assert not any(ir.p == (-1) ** ir.l for ir in axial.irreps)


@given(irreps, irreps)
def test_a_product_has_the_dimension_of_its_parts(first, second):
    products = list(first.couples(second))
    assert sum(ir.dim for ir in products) == first.dim * second.dim
    assert {ir.p for ir in products} == {first.p * second.p}


def test_an_irrep_is_found_in_a_sum():
    value = Irreps("0e + 3x1o + 2e")
    assert value.slice_of(Irrep(1, -1)) == slice(1, 10)
    assert Irrep.parse("1o") in value
    assert Irrep.parse("1e") not in value
    with pytest.raises(KeyError, match="1e is not in"):
        value.slice_of(Irrep(1, 1))


@pytest.mark.parametrize("text", ["1", "1x", "x1o", "o1", "-1o", "1o, 2e", "2.0x1o", "a"])
def test_what_is_no_irrep_is_refused(text):
    with pytest.raises(ValueError, match="is no"):
        Irreps(text)
    with pytest.raises(ValueError, match="rank"):
        Irrep.of_natural(-1)
