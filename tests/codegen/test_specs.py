from fractions import Fraction
from random import Random

import pytest

from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.program import evaluate
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import (
    KINDS,
    AlignedConvolutionSpec,
    AlignedMessageSpec,
    ConvolutionSpec,
    CouplingSpec,
    EdgeSpec,
    FrameSpec,
    HarmonicsSpec,
    LinearSpec,
    MessageSpec,
    PackSpec,
    ProductSpec,
    UnpackSpec,
    from_json,
    parse,
)

EXAMPLES = [
    HarmonicsSpec(4),
    CouplingSpec(2, 1, 2),
    LinearSpec(),
    EdgeSpec(3),
    MessageSpec(1, 2, 3),
    ConvolutionSpec("full", 1, 2),
    FrameSpec(2, 3),
    AlignedMessageSpec(2, 3),
    AlignedConvolutionSpec(1, 4),
    PackSpec("ijk=ikj"),
    UnpackSpec("ij=-ji"),
    ProductSpec("natural", "limited", 2, 1, 3),
    ProductSpec("full", "complete", 1, 1, 3),
    ProductSpec("natural", "ordered", 2, 2, 3),
    ProductSpec("natural", "limited", 1, 1, 4),
    ProductSpec("natural", "complete", 1, 0, 4),
    ProductSpec("natural", "independent", 2, 1, 3),
    ProductSpec("full", "independent", 1, 1, 4),
]


def test_every_kind_is_among_the_examples():
    assert {type(spec) for spec in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda s: s.name)
def test_names_and_json_say_all(spec):
    assert parse(spec.name) == spec
    again = from_json(spec.to_json())
    assert again == spec
    for name in spec.kept:
        assert name in vars(again)  # read, not derived
        assert getattr(again, name) == getattr(spec, name)


@pytest.mark.parametrize("spec", [s for s in EXAMPLES if hasattr(s, "forward")], ids=lambda s: s.name)
def test_programs_are_their_closed_forms(spec):
    random, program = Random(0), spec.forward()
    for _ in range(3):
        given = {
            s.name: [Fraction(random.randint(-9, 9), random.randint(1, 5)) for _ in range(s.size)]
            for s in program.inputs
        }
        if spec.kind == "message" and spec.l2 == 0:
            given["y"] = [Fraction(1)]
        assert evaluate(program, given)["out"] == spec.closed_form(given)


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda s: s.name)
def test_stages_name_what_programs_read_and_write(spec):
    if not hasattr(spec, "programs"):
        return
    for program in spec.programs:
        stage = spec.stages()[program.name]
        assert {s.name for s in program.inputs} == set(stage.reads)
        assert {s.name for s in program.outputs} == set(stage.writes)
        assert {s.name for s in program.inputs if s.lane} == {n for n in stage.reads if _lanes(spec, n)}


def _lanes(spec, name):
    try:
        return spec.argument(name).lanes
    except StopIteration:  # numbers of an edge that are no argument of their own
        return False


def test_rows_of_a_convolution_are_component_then_path():
    spec = ConvolutionSpec("natural", 2, 3)
    assert str(spec.outputs) == "3x0e + 5x1o + 5x2e + 4x3o"
    rows = {p.out_offset + k * p.out_stride: (p, k) for p in spec.paths for k in range(p.out.dim)}
    assert sorted(rows) == list(range(spec.outputs.dim))
    for term, place in zip(spec.outputs, spec.outputs.slices, strict=True):
        for row in range(place.start, place.stop):
            path, component = rows[row]
            assert path.out == term.irrep
            assert (row - place.start) // term.mul == component


def test_products_list_each_coupling_once():
    spec = ProductSpec("natural", "limited", 3, 2, 3)
    labels = [w.label for w in spec.weights]
    assert len(set(labels)) == len(labels)
    assert {w.out for w in spec.weights} == set(Irreps.natural(2).irreps)


def test_the_usual_set_holds_no_kernel_twice():
    names = [spec.name for spec in Set(3).specs()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ConvolutionSpec("even", 1, 2), "'natural' or 'full'"),
        (lambda: ProductSpec("natural", "all", 1, 1, 2), "complete, independent or ordered"),
        (lambda: ProductSpec("natural", "limited", 1, 1, 5), "correlation 1 to 4"),
        (lambda: CouplingSpec(1, 1, 3), "no coupling"),
        (lambda: MessageSpec(0, 1, 2), "no coupling"),
        (lambda: from_json({"kind": "magic"}), "magic"),
        (lambda: parse("pack_ij_jk"), "not a permutation"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
