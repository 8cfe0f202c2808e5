"""Training on bound calls: the gradients that autograd gives, for every batch that comes, in any order."""

import copy
import pickle

import pytest
import torch
from test_engine import MORE, acid, assert_agree, by_autograd, crystal, graph, potential

from architectures import ARCHITECTURES, SMALL
from cartalg.learning import PROGRAMS
from cartalg.model import Potential
from cartalg.nn.operations import times


def loss(prediction):
    """Of all that a model predicts, linear and quadratic, by fixed random numbers."""
    generator, total = torch.Generator().manual_seed(3), 0.0
    for value in (prediction.energy, prediction.atomic_energies, prediction.forces, prediction.virial):
        if value is not None:
            total = total + (torch.randn(value.shape, generator=generator, dtype=value.dtype) * value).sum()
    return total + sum((value**2).sum() for value in (prediction.forces, *prediction.properties.values()))


def gradients(model, *predictions):
    for parameter in model.parameters():
        parameter.grad = None
    sum(map(loss, predictions)).backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def assert_learns(model, batch, tolerance=1e-10, **asked):
    asked = {"virial": True, "properties": True, **asked}
    reference, ours = by_autograd(model, batch, **asked), model(batch, training=True, **asked)
    assert_agree(ours, reference, 10 * tolerance)
    expected, found = gradients(model, reference), gradients(model, ours)
    largest = max(float(e.norm()) for e in expected)
    for e, f in zip(expected, found, strict=True):
        assert float((e - f).norm()) <= tolerance * max(float(e.norm()), 1e-5 * largest)


def moved(model, seed=0):
    """Also what starts as ones or zeros is something else."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MORE])
def test_gradients_are_those_of_autograd(name, monkeypatch):
    model = moved(potential(**{**SMALL, **{**ARCHITECTURES, **MORE}[name]}))
    batch = graph(model, acid(), crystal(), acid(1))
    assert_learns(model, batch)
    assert_learns(moved(model, 1), batch)  # with other weights, on the same calls
    assert len(model._learner._bound) == 1
    if model.config.radial_mode == "table":  # then autograd is left with losses and weights
        monkeypatch.setattr(torch.autograd, "grad", None)
        gradients(model, model(batch, training=True, properties=True))


def test_batches_of_other_atoms_and_sizes():
    model = moved(potential(**SMALL, zbl=True))
    batches = [graph(model, *[crystal(n)] * (n % 2), *[acid(n)] * (1 + n % 3)) for n in range(6)]
    for batch in (*batches, *batches):
        assert_learns(model, batch)
    assert 1 < len(model._learner._bound) <= 6


@pytest.mark.parametrize("zbl", [False, True])
def test_batches_of_about_one_size_share_calls(zbl):
    """Whatever the order of their species is: none is bound anew."""
    model, bound = moved(potential(**{**SMALL, "zbl": zbl})), []
    for seed in range(4):
        frames = [acid(seed), acid(seed + 9), crystal(seed)]
        assert_learns(model, graph(model, *(frames[seed % 3 :] + frames[: seed % 3])))
        bound += model._learner._bound.values()
    assert len({id(b) for b in bound}) <= 2


def test_no_more_programs_are_kept_than_are_of_use():
    model = potential(**{**SMALL, "channels": 2, "layers": 1})
    for count in range(1, PROGRAMS + 4):
        model(graph(model, *[acid()] * (2 * count)), training=True)
    assert len(model._learner._bound) == PROGRAMS


def test_two_batches_before_one_backward_pass():
    model = moved(potential(**SMALL))
    batches = [graph(model, acid()), graph(model, acid(1)), graph(model, crystal())]
    expected = gradients(model, *(by_autograd(model, b) for b in batches))
    found = gradients(model, *(model(b, training=True) for b in batches))
    for e, f in zip(expected, found, strict=True):
        torch.testing.assert_close(e, f, rtol=1e-9, atol=1e-9 * float(e.abs().max()))


@pytest.mark.parametrize("asked", [{"forces": False, "virial": False}, {"virial": False}])
def test_what_is_not_asked_for(asked):
    model = moved(potential(**SMALL))
    batch = graph(model, acid(), crystal())
    ours, reference = model(batch, training=True, **asked), by_autograd(model, batch, **asked)
    assert (ours.forces is None, ours.virial is None) == (reference.forces is None, reference.virial is None)
    results = []
    for prediction in (ours, reference):
        for parameter in model.parameters():
            parameter.grad = None
        (prediction.energy**2).sum().backward()
        results.append([p.grad for p in model.parameters()])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


def test_a_graph_without_edges():
    model = moved(potential(**SMALL))
    lone = acid()
    lone.positions *= 100
    assert_learns(model, graph(model, lone))


def test_replaced_parameters_are_noticed():
    model = moved(potential(**SMALL))
    batch = graph(model, acid())
    assert_learns(model, batch)
    model.embedding = torch.nn.Parameter(2 * model.embedding.detach())
    model.last_readout[0].bias = torch.nn.Parameter(torch.ones_like(model.last_readout[0].bias))
    assert_learns(model, batch)
    model.float()
    assert model(batch, training=True).forces.dtype == torch.float32
    (bound,) = model._learner._bound.values()
    assert bound.program.weights[0].value.dtype == torch.float32


def test_a_replaced_parameter_that_is_given_as_it_is():
    model = moved(potential(**SMALL))
    model.interactions[0].after.append(Plain())
    batch = graph(model, acid())
    assert_learns(model, batch)
    model.interactions[0].after[0].scale = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    assert_learns(model, batch)


class OfElements(Potential):
    """Features are scaled by a constant of each element."""

    def features(self, graph, vectors):
        constants = torch.tensor([1.0, 2.0, -1.0, 3.0], dtype=self.dtype)
        *found, last = super().features(graph, vectors)
        return [*found, times(last, constants[graph.species][:, None, None])]


def test_constants_of_atoms_are_those_of_the_batch():
    like = potential(**SMALL)
    model = moved(OfElements(like.config, like.elements))
    for frames in ((acid(), crystal()), (crystal(), acid()), (acid(), crystal())):
        assert_learns(model, graph(model, *frames))
    assert len(model._learner._bound) == 1


def test_threads_give_the_same_gradients():
    model, before = moved(potential(channels=16)), torch.get_num_threads()
    batch, found = graph(model, crystal(), acid()), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(gradients(model, model(batch, training=True)))
    finally:
        torch.set_num_threads(before)
    for one, two, again in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9 * float(one.abs().max()))
        assert torch.equal(two, again)


def test_copies_learn_by_themselves():
    model = moved(potential(**SMALL))
    batch = graph(model, acid())
    first = gradients(model, model(batch, training=True))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for a, b in zip(first, gradients(twin, twin(batch, training=True)), strict=True):
            assert torch.equal(a, b)


class Careless(torch.nn.Module):
    """A layer that computes with its parameter before it meets a value."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, h):
        return times(h, self.scale.exp())


class Plain(Careless):
    def forward(self, h):
        return times(h, self.scale)


class Careful(Careless):
    def forward(self, h):
        return times(h, lambda: self.scale.exp())


@pytest.mark.parametrize("kind", [Careless, Careful, Plain])
def test_layers_of_a_users_own(kind):
    model = moved(potential(**SMALL))
    model.interactions[0].after.append(kind())
    batch = graph(model, acid())
    expected = gradients(model, by_autograd(model, batch))
    found = gradients(model, model(batch, training=True))
    assert (model._learner is None) == (kind is Careless)
    for e, f in zip(expected, found, strict=True):
        torch.testing.assert_close(e, f, rtol=1e-9, atol=1e-9 * float(e.abs().max()))
