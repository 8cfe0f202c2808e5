"""A plan that trains gives the gradient to weights that autograd gives, of losses of results and of their gradient."""

import pytest
import torch
from test_plan import ATOMS, CASES, CHANNELS, IRREPS, KERNELS, MATRICES, SAME, random

from cartalg.nn.kernels import product
from cartalg.nn.operations import cat, mean, split, times
from cartalg.nn.plan import Plan
from cartalg.nn.pointwise import silu
from cartalg.nn.training import NotPlanned, TrainingPlan
from cartalg.nn.values import given
from cartalg_codegen.specs import ProductSpec

PRODUCT = KERNELS.get(ProductSpec("natural", "limited", 2, 1, 3))
SPECIES = torch.tensor([1, 0, 0, 1, 1])
REST, OUTER, COUPLINGS = (
    random(*shape, seed=seed).requires_grad_()
    for seed, shape in enumerate([(ATOMS, 9, CHANNELS), (2, 1, CHANNELS), (2, len(PRODUCT.weights), CHANNELS)], 100)
)


def rest(like):
    """A value of parameters alone."""
    return given(like, REST.square)


MORE = {
    "a value at rest": lambda x: SAME(silu(rest(x)), x),
    "blocks at rest": lambda x: SAME(cat([split(x, IRREPS)[0], *split(SAME(rest(x)), IRREPS)[1:]]), SAME(x)),
    "only what moves learns": lambda x: times(SAME(x), rest(x)),
    "a factor of elements": lambda x: SAME(times(SAME(x), given(x, lambda: OUTER[SPECIES])), SAME(rest(x))),
    "a parameter itself": lambda x: silu(times(SAME(x), REST)),
    "a mean": lambda x: times(mean(x), rest(x)),
    "product": lambda x: product(KERNELS, "numba", PRODUCT, SPECIES, silu(x), lambda: 2 * COUPLINGS),
    "product of what is at rest": lambda x: times(
        product(KERNELS, "numba", PRODUCT, SPECIES, rest(x), lambda: 2 * COUPLINGS), mean(split(x, IRREPS)[0])
    ),
}
LEAVES = [*MATRICES, REST, OUTER, COUPLINGS]


@pytest.fixture(autouse=True)
def _weights():
    for leaf in LEAVES:
        leaf.requires_grad_()
    yield
    for leaf in MATRICES:
        leaf.requires_grad_(False)


def by_plan(function, x, losses):
    """Results, their gradient and the gradients to weights, of a plan that has run once before on other numbers."""
    plan = TrainingPlan(x.shape, x.dtype)
    result, *others = function(plan.input)
    with torch.no_grad():
        program = plan.bind(result, others)
    for turn in (1, 0):
        made = program.inputs()
        with torch.no_grad():
            program.set_weights([value + turn for value in made])
            program.input.copy_(x + turn)
            for section in ("result", "others", "gradient"):
                program.run(section)
            found = [t.clone() for t in (program.result, program.gradient, *program.others)]
            for seed, loss in zip(program.seeds, losses, strict=True):
                seed.copy_(loss * (1 + turn))
            program.run("tangent")
            program.run("learn")
    learned = [(value, g) for value, g in zip(made, program.gradients(), strict=True) if value.requires_grad]
    torch.autograd.backward(*zip(*learned, strict=True))
    return found, [leaf.grad for leaf in LEAVES]


def by_autograd(function, x, losses):
    x = x.clone().requires_grad_()
    result, *others = function(x)
    (slope,) = torch.autograd.grad(result.sum(), x, create_graph=True)
    total = sum((value * loss).sum() for value, loss in zip((slope, result, *others), losses, strict=True))
    total.backward(inputs=LEAVES)
    return [result, slope, *others], [leaf.grad for leaf in LEAVES]


def compared(function, tolerance=1e-11):
    x = random(ATOMS, 9, CHANNELS, seed=3)
    with torch.no_grad():
        losses = [random(*value.shape, seed=n) for n, value in enumerate((x, *function(x)), 20)]
    ours, theirs = [], []
    for found, method in ((ours, by_plan), (theirs, by_autograd)):
        for leaf in LEAVES:
            leaf.grad = None
        values, gradients = method(function, x, losses)
        found += [*values, *(torch.zeros_like(w) if g is None else g for g, w in zip(gradients, LEAVES, strict=True))]
    assert any(float(gradient.abs().max()) > 0.1 for gradient in theirs[-len(LEAVES) :])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1, float(b.detach().abs().max())))


@pytest.mark.parametrize("name", [*CASES, *MORE])
def test_gradients_to_weights(name):
    """Of a function whose values move and learn before it and after it."""

    def function(x):
        out = {**CASES, **MORE}[name](times(SAME(x), rest(x)))
        return [times(out, silu(out))]

    compared(function, 1e-4 if name == "precision" else 1e-11)


@pytest.mark.parametrize("name", MORE)
def test_of_a_linear_end(name):
    compared(lambda x: [MORE[name](x)])


def test_other_results_have_losses_of_their_own():
    def function(x):
        inner = SAME(x)
        return [times(inner, silu(inner)), SAME(inner), silu(rest(x)), inner]

    compared(function)


def test_what_was_computed_of_parameters_is_refused():
    plan = TrainingPlan((ATOMS, 9, CHANNELS), torch.float64)
    with pytest.raises(NotPlanned, match="give the function"):
        times(plan.input, REST.square())


def test_a_constant_ties_a_program_to_its_atoms():
    for function, tied in (
        (lambda x: times(x, rest(x)), False),
        (lambda x: times(rest(x), times(x, random(9, 1))), True),
    ):
        plan = TrainingPlan((ATOMS, 9, CHANNELS), torch.float64)
        out = function(plan.input)
        with torch.no_grad():
            assert plan.bind(out).tied == tied


def test_a_plan_that_does_not_train_has_no_sections_for_that():
    with torch.no_grad():
        plan = Plan((ATOMS, 9, CHANNELS), torch.float64, {})
        assert set(plan.bind(times(SAME(plan.input), rest(plan.input))).sections) == set(Plan.sections)
