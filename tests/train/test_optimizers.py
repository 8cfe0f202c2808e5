"""SOAP takes the steps of the paper's algorithm, parameter by parameter, and its state survives a checkpoint."""

import pytest
import torch

from cartalg.train.config import TrainingConfig
from cartalg.train.optimizers import make_optimizer, put_together, tensors_and_rest
from cartalg.train.soap import SOAP
from cartalg.train.stacks import Stack

#: Gradients of these fill all rows and columns: no direction is left to rounding. Axes longer than 40 are not rotated.
#: Some differ by axes of length one alone.
SHAPES = [(32, 32)] * 3 + [(20, 20), (24, 3, 32), (3, 25, 32), (3, 1, 2), (3, 2), (64, 24), (32,), (1,), (1, 1), (2, 0)]


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, dtype=torch.float64, generator=generator)) for s in SHAPES]


def give_gradients(parameters, step):
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        uneven = 1 + torch.arange(p.numel(), dtype=p.dtype).reshape(p.shape) % 7
        p.grad = uneven * torch.randn(p.shape, dtype=p.dtype, generator=generator) + p.detach()


def test_steps_are_those_of_the_reference():
    from pytorch_optimizer import SOAP as Reference

    ours, theirs = parameters(), parameters()
    optimizer = SOAP(ours, 0.03, 0.01, largest=40, sparing=1)
    reference = Reference(theirs, lr=0.03, weight_decay=0.01, max_precondition_dim=40)
    start = [p.detach().clone() for p in ours]
    for step in range(25):
        for given in (ours, theirs):
            give_gradients(given, step)
        optimizer.step()
        reference.step()
        # the reference makes its bases anew, every ten steps, in single precision
        tolerance = 1e-12 if step < 10 else 1e-5
        for p, expected in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, expected, rtol=tolerance, atol=tolerance)
    assert all(float((p.detach() - s).abs().max()) > 0.1 for p, s in zip(ours, start, strict=True) if len(p.flatten()))


def test_second_moments_see_every_second_gradient():
    """Of rows and columns, for stacks of several, of narrow axes and of three axes; the decay is that of two steps."""
    given = [torch.nn.Parameter(torch.zeros(s, dtype=torch.float64)) for s in ((32, 48), (32, 48), (20, 3, 32))]
    optimizer = SOAP(given, 0.0)
    expected = [torch.zeros(s, s, dtype=torch.float64) for s in (32, 48, 20, 3, 32)]
    decay = 0.95**2
    for step in range(5):
        give_gradients(given, step)
        optimizer.step()
        if step % 2 == 0:
            second, third = given[1].grad, given[2].grad
            products = [second @ second.T, second.T @ second]
            products += [
                torch.einsum(f"{i},{j}->xy", third, third) for i, j in (("xbc", "ybc"), ("axc", "ayc"), ("abx", "aby"))
            ]
            expected = [decay * e + (1 - decay) * p for e, p in zip(expected, products, strict=True)]
    rows, columns = optimizer.state[given[0]]["moments"][0]
    for moment, known in zip(
        [rows[1], columns[1], *(m[0] for m in optimizer.state[given[0]]["moments"][1])], expected, strict=True
    ):
        torch.testing.assert_close(moment, known)


@pytest.mark.parametrize("name", ["soap", "adamw"])
def test_gradients_are_clipped_together(name):
    """Steps are those of gradients that had been short: when one of them was too long, and when none was."""
    runs, shortened = [], set()
    for clipped in (True, False):
        given = parameters()
        optimizer = make_optimizer(given, TrainingConfig(optimizer=name, clip_norm=450.0 if clipped else 1e9))
        for step in range(6):
            give_gradients(given, step)
            length = float(sum((p.grad**2).sum() for p in given)) ** 0.5
            shortened.add(length > 450)
            for p in given:
                p.grad *= 1 if clipped or length < 450 else 450 / length
            optimizer.step()
        runs.append(given)
    assert shortened == {True, False}
    for ours, expected in zip(*runs, strict=True):
        torch.testing.assert_close(ours, expected)


def test_a_state_that_was_written_and_read_goes_on_to_the_last_bit():
    runs = []
    for interrupted in (False, True):
        given = parameters()
        optimizer = SOAP(given, 0.03)
        for step in range(24):
            if interrupted and step == 13:
                tensors, rest = tensors_and_rest(optimizer.state_dict(), "optimizer")
                tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
                optimizer = SOAP(given, 0.03)
                optimizer.load_state_dict(put_together(rest, tensors))
            give_gradients(given, step)
            optimizer.step()
        runs.append([p.detach().clone() for p in given])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_a_parameter_without_a_gradient_stays():
    given = parameters()
    optimizer = SOAP(given, 0.03)
    for step in range(3):
        give_gradients(given, step)
        given[0].grad = given[-4].grad = None
        before = [p.detach().clone() for p in given]
        optimizer.step()
    moved = [not torch.equal(p, b) for p, b in zip(given, before, strict=True)]
    assert moved == [n not in (0, len(given) - 4, len(given) - 1) for n in range(len(given))]


def test_groups_of_parameters_are_refused():
    first, *rest = parameters()
    with pytest.raises(ValueError, match="one learning rate"):
        SOAP([{"params": [first]}, {"params": rest}], 0.03)


@pytest.mark.parametrize("threads", [1, 2])
def test_stacks_are_rotated_about_all_axes_and_back(threads):
    """By as many threads as there are; an axis that is left out stays as it is."""
    before, generator = torch.get_num_threads(), torch.Generator().manual_seed(0)
    torch.set_num_threads(threads)
    try:
        for shape, axes, rule in (
            ((2, 160, 64), [1, 2], "nab,nax,nby->nxy"),
            ((2, 16, 48, 64), [1, 2, 3], "nabc,nax,nby,ncz->nxyz"),
            ((3, 20, 32), [2], "nab,nbx->nax"),
        ):
            draw = [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(3)]
            stack, given = Stack(axes, *draw), draw[0].clone()
            sizes = [(shape[0], shape[axis], shape[axis]) for axis in axes]
            bases = [torch.linalg.qr(torch.randn(s, dtype=torch.float64, generator=generator))[0] for s in sizes]
            stack.take(bases)
            stack.rotate()
            torch.testing.assert_close(stack.numbers, torch.einsum(rule, given, *bases))
            stack.rotate_back()
            torch.testing.assert_close(stack.moves, given)
    finally:
        torch.set_num_threads(before)
