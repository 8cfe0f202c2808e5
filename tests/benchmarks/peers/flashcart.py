"""FlashCart's CPU path under the benchmark, through its public interface."""

import torch
from flashcart.calculators import FlashCartCalculator
from flashcart.data.graph import graph_from_ase
from flashcart.model import FlashCartPotential
from flashcart.o3 import Irreps, TensorProduct
from flashcart.o3.utils import count_output_paths


def potential(frames, setting, elements, cutoff):
    """Callables of one potential on one batch of frames."""
    torch.manual_seed(0)
    model = FlashCartPotential(
        list(elements),
        cutoff,
        n_hidden_feats=setting["channels"],
        l_max_hidden_feats=setting["hidden"],
        l_max_edge_attrs=setting["edge"],
        correlation=3,
        n_interactions=2,
        avg_neighbors=20.0,
        atomic_shifts=[0.0] * len(elements),
        fit_atomic_shifts=False,
        element_agnostic_product=False,
    )
    together = frames[0].copy()
    for n, atoms in enumerate(frames[1:], start=1):  # molecules far apart have the same edges as a batch of them
        moved = atoms.copy()
        moved.translate([1000.0 * n, 0.0, 0.0])
        together += moved
    batch = graph_from_ase(together, list(elements), cutoff)

    def train():
        for p in model.parameters():
            p.grad = None
        out = model.predict(batch, compute_forces=True, create_graph=True)
        (out["forces"].square().mean() + out["energy"].square().mean()).backward()

    calculator = FlashCartCalculator(model=model, skin=0.5)
    return {
        "energy and forces": lambda: model.predict(batch, compute_forces=True),
        "training step": train,
        "calculator": calculator,
    }


def convolution_case(data):
    """Tensor product with given harmonics and weights of each edge, and the sum over edges."""
    sender, receiver, vectors, atoms, channels = data
    product = TensorProduct(2, 3, 3, channels, 1)
    paths = count_output_paths(2, 3, 3)[1]
    x = torch.randn(atoms, 9 * channels, requires_grad=True)
    y = torch.randn(len(vectors), 16, requires_grad=True)
    w = torch.randn(len(vectors), paths * channels, requires_grad=True)
    return _pair(lambda: product(x, y, w, receiver, sender), (x, y, w))


def harmonics_case(vectors, rank):
    v = torch.nn.functional.normalize(vectors, dim=1).requires_grad_()
    expand = Irreps(rank)
    return _pair(lambda: expand(v), (v,))


def _pair(forward, inputs):
    def both():
        torch.autograd.grad(forward().sum(), inputs)

    def without():
        with torch.no_grad():
            forward()

    return {"forward": without, "forward and gradient": both}
