"""cartalg under the benchmark."""

import os

import torch

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph, collate
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential
from cartalg.ops import Edges, convolution, couple, harmonics
from cartalg_codegen.backends.numba import binder
from cartalg_codegen.specs import ConvolutionSpec

if LEVEL := os.environ.get("BENCH_LEVEL"):
    binder.level = lambda: LEVEL  # machine code for a level below that of this processor


def potential(frames, setting, elements, cutoff):
    """Callables of one potential on one batch of frames; other keys of the setting go to the configuration."""
    names = {"hidden": "hidden_rank", "edge": "edge_rank"}
    given = {"correlation": 3, "layers": 2, "zbl": False}  # without a repulsion, as the peers' models are
    config = ModelConfig(cutoff=cutoff, **given | {names.get(k, k): v for k, v in setting.items()})
    torch.manual_seed(0)
    model = Potential(config, tuple(elements), mean_neighbours=20.0)
    graph = collate([build_graph(a, cutoff, model.elements) for a in frames])
    parameters = list(model.parameters())

    def train():
        for p in parameters:
            p.grad = None
        prediction = model(graph, training=True)
        loss = prediction.forces.square().mean() + prediction.energy.square().mean()
        loss.backward(inputs=parameters)

    calculator = CartalgCalculator(model, skin=0.5)
    return {"energy and forces": lambda: model(graph), "training step": train, "calculator": calculator}


def _own(channels, hidden, edge):
    """The calculator of a setting, with a list of neighbours that is kept."""

    def build(frames, elements, cutoff, **options):
        return potential(frames, dict(channels=channels, hidden=hidden, edge=edge, **options), elements, cutoff)[
            "calculator"
        ]

    return build


OWN = {"S": _own(32, 1, 2), "M": _own(64, 2, 3), "(128, 1, 3)": _own(128, 1, 3)}


def converted(path):
    """The calculator of a file of mace-torch, converted by `cartalg convert`."""
    from mace_model import write_foundation

    from cartalg.interfaces.mace.run import convert_file

    write_foundation(path)
    return CartalgCalculator(convert_file(path, path.with_suffix(""), trust=True).potential, skin=0.5)


def convolution_case(data):
    """The fused convolution from edge vectors, radial weights interpolated inside."""
    spec = ConvolutionSpec("natural", 2, 3)
    sender, receiver, vectors, atoms, channels = data
    order = torch.argsort(receiver, stable=True)
    edges = Edges.build(sender[order], receiver[order], atoms, atoms)
    paths = len(spec.paths)
    x = torch.randn(atoms, 9, channels, requires_grad=True)
    v = vectors[order].clone().requires_grad_()
    table = torch.randn(259, paths, channels)

    def forward():
        return convolution(spec, edges, x, v, table, 5 / 256)

    return _pair(forward, (x, v))


def harmonics_case(vectors, rank):
    v = torch.nn.functional.normalize(vectors, dim=1).requires_grad_()
    return _pair(lambda: harmonics(v, rank), (v,))


def couplings_case(rows, channels):
    """Every even and odd coupling of rank 3 with rank 3 to rank 3, one after the other."""
    ranks = [(a, b, c) for a in range(4) for b in range(4) for c in range(abs(a - b), min(a + b, 3) + 1)]
    left = [torch.randn(rows, 2 * rank + 1, channels, requires_grad=True) for rank in range(4)]
    right = [torch.randn(rows, 2 * rank + 1, channels, requires_grad=True) for rank in range(4)]
    return _pair(lambda: [couple(left[a], right[b], (a, b, c)) for a, b, c in ranks], (*left, *right))


def _pair(forward, inputs):
    def both():
        out = forward()
        outs = out if isinstance(out, list) else [out]
        torch.autograd.grad(sum(o.sum() for o in outs), inputs)

    def without():
        with torch.no_grad():
            forward()

    return {"forward": without, "forward and gradient": both}
