"""A plan computes and differentiates what the same functions compute and autograd differentiates."""

import gc
import weakref

import pytest
import torch

from cartalg.nn.kernels import couple, unpack
from cartalg.nn.mixing import Mixing, mix
from cartalg.nn.operations import cast, cat, mean, scalars, split, times
from cartalg.nn.plan import Plan
from cartalg.nn.pointwise import pointwise, sigmoid, silu
from cartalg.nn.recorded import recorded
from cartalg.nn.values import Scaled
from cartalg.ops import open_kernels
from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.specs import CouplingSpec, UnpackSpec

ATOMS, CHANNELS = 5, 3
KERNELS = open_kernels()
IRREPS = Irreps("0e + 1o + 2e")


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


#: Of all mixings.
MATRICES = []


def linear(inputs, outputs, seed, channels=CHANNELS, pairs=None):
    """x, plus -> x mixed, plus added."""
    inputs, outputs = Irreps(inputs), Irreps(outputs)
    mixing = Mixing(KERNELS, inputs, outputs, channels, pairs)
    matrices = [random(inputs[i].mul * CHANNELS, channels, seed=seed + o) for i, o in mixing.pairs]
    MATRICES.extend(matrices)
    scales = tuple(1 + 0.1 * n for n in range(len(matrices)))
    return lambda x, plus=None: mix(x, mixing, Scaled(tuple(matrices), scales, channels), plus)


FULL = linear("0e + 1o + 2e", "2e + 0e + 1o", 10)
SAME = linear("0e + 1o + 2e", "0e + 1o + 2e", 20)
SOME = linear("0e + 1o + 2e", "0e + 3o + 2e", 30)  # leaves 1o out, and zeros in place of 3o
PATHS = linear("2x0e + 2x1o + 1e + 0o", "1o + 0e", 40)
TWICE = linear("0e + 1o + 2e", "0e + 0e + 1o + 2e + 1o", 50, 1, [(0, 0), (0, 1), (1, 2), (2, 3), (1, 4)])
NUMBERS = linear("0e", "0e", 60, 7)
PACKED = linear("0e + 1o + 2e", "0e + 2e", 80, 1)


def shared_summand(x):
    r = SAME(x)
    return SAME(silu(r), r)  # r is needed for its own gradient after the sum


def shared_block(x):
    a, b, c = split(FULL(x), Irreps("2e + 0e + 1o"))
    gate = sigmoid(b, 2.0)
    return cat([times(a, gate), b, times(c, gate), times(c, c), gate])


def nested_blocks(x):
    inner = cat([silu(x), times(x, x)])
    return cat([inner, SOME(x), inner])


#: 1 / (1 + s) and its derivatives.
INVERSE = (lambda s: 1 / (1 + s), lambda s: -1 / (1 + s) ** 2, lambda s: 2 / (1 + s) ** 3)


def normalised(x):
    blocks = []
    for rank, block in enumerate(split(x, IRREPS)):
        square = mean(couple(KERNELS, "numba", CouplingSpec(rank, rank, 0), block, block))
        blocks.append(times(block, pointwise(square, *INVERSE)))
    return cat(blocks)


def coupled(x):
    return couple(KERNELS, "numba", CouplingSpec(1, 2, 2), *split(x, IRREPS)[1:])


CASES = {
    "mixing": FULL,
    "mixing of some": SOME,
    "mixing to several": TWICE,
    "mixing of paths": lambda x: PATHS(cat([x, split(x, IRREPS)[1]])),
    "sum with a constant": lambda x: SAME(x, random(ATOMS, 9, CHANNELS, seed=1)),
    "sum with a bias": lambda x: NUMBERS(scalars(x), random(7, seed=1)),
    "constant mixed, sum": lambda x: SAME(random(ATOMS, 9, CHANNELS, seed=1), times(x, x)),
    "residual": lambda x: SAME(silu(x), times(SAME(x), random(ATOMS, 1, CHANNELS, seed=2))),
    "shared summand": shared_summand,
    "two sums": lambda x: SAME(silu(x), SAME(times(x, x), SAME(x))),
    "the input as a summand": lambda x: SAME(silu(x), x),
    "shared block": shared_block,
    "nested blocks": nested_blocks,
    "parts and whole": lambda x: cat([x, times(split(x, IRREPS)[1], split(x, IRREPS)[0])]),
    "one row": lambda x: NUMBERS(silu(linear("0e", "0e", 70)(scalars(SAME(x))))),
    "norm": normalised,
    "coupling of parts": lambda x: couple(KERNELS, "numba", CouplingSpec(1, 2, 1), *split(x, IRREPS)[1:]),
    "coupling into a part": lambda x: cat(
        [couple(KERNELS, "numba", CouplingSpec(1, 2, 2), *split(SAME(x), IRREPS)[1:]), x]
    ),
    "unpack": lambda x: unpack(KERNELS, "numba", UnpackSpec("ij=ji"), PACKED(x)),
    "recorded": lambda x: recorded(lambda a, b: torch.tanh(a) * b.sum(1, keepdim=True), x, silu(x)),
    "precision": lambda x: cast(silu(cast(SAME(x), torch.float32)), torch.float64),
}


def planned(function, x):
    """The result and the gradient of its sum, twice, from a plan."""
    program = bound(function, x.shape)
    for _ in range(2):
        program.input.copy_(x.detach())
        program.run("result")
        first = program.result.clone()
        program.run("gradient")
        yield first, program.gradient.clone()


def bound(function, shape=(ATOMS, 9, CHANNELS), kept=None, spare=()):
    with torch.no_grad():
        plan = Plan(shape, torch.float64, {} if kept is None else kept, spare)
        return plan.bind(function(plan.input))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    x = random(ATOMS, 9, CHANNELS, seed=3).requires_grad_()
    weights = []

    def function(value):
        out = CASES[name](value)
        if not weights:
            weights.append(random(*out.shape, seed=4))
        return times(out, weights[0])  # so that every number has another gradient

    expected = function(x)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    tolerance = 1e-5 if name == "precision" else 1e-12
    for value, slope in planned(function, x):
        torch.testing.assert_close(value, expected.detach(), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(slope, gradient, rtol=tolerance, atol=tolerance)


def test_memory_is_used_again_and_never_too_soon():
    def function(x):
        for _ in range(20):
            x = SAME(x)
        return times(x, x)

    assert len(bound(function).blocks) < 6  # twenty values, of which no gradient needs any but the last


def test_a_plan_takes_over_the_memory_of_another():
    def memory(atoms, spare=()):
        blocks = bound(lambda x: times(SAME(silu(x)), SAME(x)), (atoms, 9, CHANNELS), spare=spare).blocks
        return blocks, {b.data_ptr() for b in blocks}

    first, places = memory(100)
    assert memory(90, first)[1] == places
    assert not memory(10, first)[1] & places  # not what is far too large
    assert not memory(200, first)[1] & places


def test_memory_is_free_when_a_program_is_gone():
    program = bound(lambda x: times(SAME(silu(x)), SAME(x)))
    held = [weakref.ref(block) for block in program.blocks]
    gc.disable()
    try:
        del program
        assert [ref() for ref in held] == [None] * len(held)
    finally:
        gc.enable()


def test_what_depends_on_no_slot_is_computed_once():
    calls = []

    def function(x):
        calls.append(1)
        return times(x, silu(random(ATOMS, 9, CHANNELS)))

    program = bound(function)
    for _ in range(3):
        program.run("result")
    assert len(program.sections["result"]) == len(calls) == 1


def test_weights_are_prepared_once_for_all_plans():
    kept, calls = {}, []
    mixing = Mixing(KERNELS, IRREPS, IRREPS, CHANNELS)

    def matrices():
        calls.append(1)
        return random(3 * CHANNELS, CHANNELS)

    for _ in range(3):
        bound(lambda x: mix(x, mixing, matrices), kept=kept)
    assert len(calls) == 1


def test_other_results_wait_until_they_are_asked_for():
    with torch.no_grad():
        plan = Plan((ATOMS, 9, CHANNELS), torch.float64, {})
        inner = silu(plan.input)
        out, other = times(inner, inner), sigmoid(inner)
        dropped = SAME(inner)
        program = plan.bind(out, [other])
    x = random(ATOMS, 9, CHANNELS)
    program.input.copy_(x)
    program.others[0].fill_(7)
    program.run("result")
    assert (program.others[0] == 7).all()
    program.run("others")
    program.run("gradient")
    torch.testing.assert_close(program.others[0], torch.sigmoid(torch.nn.functional.silu(x)))
    leaf = x.clone().requires_grad_()
    torch.nn.functional.silu(leaf).square().sum().backward()
    torch.testing.assert_close(program.gradient, leaf.grad)
    assert dropped.memory is None


def test_a_part_is_no_result():
    with pytest.raises(ValueError, match="part of another value"):
        bound(lambda x: scalars(silu(x)))
