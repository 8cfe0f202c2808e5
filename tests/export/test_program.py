"""What is written down of an engine's run: loops, their axes, and sizes that are linear in atoms and edges."""

import pytest
import torch

from architectures import ARCHITECTURES
from cartalg.export.operators import NotExported, loop
from cartalg.export.pairs import with_every_pair
from cartalg.export.program import program
from cartalg.export.steps import View
from cartalg.export.trace import INPUTS, Sizes, trace
from cartalg.nn.pointwise import pointwise
from export.systems import potential


@pytest.mark.parametrize("settings", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_architecture_has_a_program(settings):
    model = potential(**settings)
    found = program(with_every_pair(model)._outputs)
    assert {call.section for call in found.calls} == {"setup", "atoms", "result", "gradient"}
    directions = [call.code for call in found.calls if call.code.endswith("ghosts")]
    layers = model.config.layers
    assert directions == ["to_ghosts"] * layers + ["from_ghosts"] * (layers - 1)
    # constants are weights and tables, and no memory is asked for twice
    assert all(place.block >= -1 for call in found.calls for place in call.places)
    assert len(found.blocks) > len(INPUTS)


def test_a_program_is_that_of_any_number_of_atoms():
    """Addresses and sizes that follow from five small runs are those of a larger one."""
    model, sizes = potential(), Sizes(31, 47, 203)
    found, seen = program(model._outputs), trace(model._outputs, sizes)
    kernels = [step for step in seen.steps if hasattr(step, "job")]
    calls = [call for call in found.calls if call.kernel]
    assert [k.job for k in kernels] == [c.kernel.job for c in calls]
    for kernel, call in zip(kernels, calls, strict=True):
        for word, place in zip(kernel.words, call.places, strict=True):
            if place.block == -1:
                assert word == place.offset[0] + sum(c * n for c, n in zip(place.offset[1:], sizes, strict=True))


def view(*strides):
    return View(0, 0, strides, torch.float32)


@pytest.mark.parametrize(
    ("shape", "strides", "size", "kept"),
    [
        ((5, 3, 4), [(12, 4, 1)], (60,), [(1,)]),
        ((5, 1, 4), [(4, 4, 1), (4, 0, 1)], (20,), [(1,), (1,)]),
        ((5, 3, 8), [(24, 8, 1), (8, 0, 1)], (5, 3, 8), [(24, 8, 1), (8, 0, 1)]),
        ((5, 3, 4), [(12, 4, 1), (4, 0, 1)], (3, 4, 5), [(4, 1, 12), (0, 1, 4)]),  # a short axis is not the last
        ((50, 4), [(1, 0), (4, 1)], (4, 50), [(0, 1), (1, 4)]),
        ((1,), [(0,)], (1,), [(0,)]),
    ],
)
def test_axes_that_lie_together_are_one(shape, strides, size, kept):
    found = loop("result", "product", shape, [view(*s) for s in strides], ())
    assert (found.shape, [v.strides for v in found.views]) == (size, kept)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (torch.tan, "the operation aten.tan.default"),
        (lambda x: x * len(x), "a computation that depends on the number of atoms or edges"),
        (lambda x: (x[:, None] * x).sum(1), "an array that does not grow as the number of atoms and edges"),
        (lambda x: x * x.sum().item(), "the operation aten._local_scalar_dense"),
    ],
)
def test_what_has_no_equal_is_named(function, says):
    model = potential()

    def network(graph, vectors):
        energies, others = model._outputs(graph, vectors)
        return pointwise(energies, function, function, function), others

    with pytest.raises(NotExported, match=says):
        program(network)
