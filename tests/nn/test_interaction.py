import math

import torch

from cartalg.architecture import ModelConfig
from cartalg.nn.interaction import ProductBasis, interaction
from cartalg.ops import Edges, convolution_of_weights, open_kernels, product
from cartalg.symbolic.basis import squared_norms
from cartalg.symbolic.irreps import Irreps
from cartalg_codegen.specs import parse


def roots(irreps):
    """Roots of the squared norms of the basis: with them components are orthonormal."""
    return torch.cat([torch.tensor([math.sqrt(n) for n in squared_norms(i.l)], dtype=torch.float64) for i in irreps])


def test_every_path_keeps_the_variance():
    """Features of unit variance in, along any direction: messages of unit variance out, path by path."""
    config = ModelConfig(hidden_rank=2, edge_rank=3, layers=2, channels=4)
    layer = interaction(config, 1, Irreps.natural(2), 1, open_kernels(None), "torch", 10.0)
    spec, edges = layer.convolution.spec, 6000
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(edges, 3, dtype=torch.float64, generator=generator)
    x = torch.randn(edges, spec.left.dim, 1, dtype=torch.float64, generator=generator)
    x = x / roots(spec.left.irreps)[:, None]
    places = torch.arange(edges)
    scales = layer.convolution.radial.path_scale[:, None].expand(edges, -1, 1)
    out = convolution_of_weights(spec, Edges.build(places, places, edges, edges), x, vectors, scales)[..., 0]
    for path in spec.paths:
        rows = [path.out_offset + k * path.out_stride for k in range(path.out.dim)]
        variance = ((out[:, rows] * roots([path.out])) ** 2).mean().item()
        assert abs(variance - 1) < 0.1, f"{path}: {variance}"


def test_every_pair_of_different_irreps_keeps_the_variance():
    """With a weight of one, as its scale makes it: the product of two independent features of unit variance."""
    spec, atoms = parse("product_natural_limited_a2_o2_n2"), 6000
    basis = ProductBasis(open_kernels(None), "torch", spec, 1, 1, 1).double()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(atoms, spec.feature_irreps.dim, 1, dtype=torch.float64, generator=generator)
    a = a / roots(spec.feature_irreps.irreps)[:, None]
    species, tested = torch.zeros(atoms, dtype=torch.int64), []
    for n, weight in enumerate(spec.weights):
        factors = weight.label.strip("(").partition(")")[0].split()
        if len(set(factors)) == 2:
            alike = sum((w.order, w.out) == (weight.order, weight.out) for w in spec.weights)
            w = torch.zeros(1, len(spec.weights), 1, dtype=torch.float64)
            w[:, n] = math.sqrt(alike) * basis.weight_scale[n]
            out = product(spec, species, a, w)[:, spec.output_irreps.slice_of(weight.out), 0]
            variance = ((out * roots([weight.out])) ** 2).mean().item()
            assert abs(variance - 1) < 0.1, f"{weight.label}: {variance}"
            tested.append(weight.label)
    assert {"(A1o A2e)1o", "(A0e A2e)2e"} <= set(tested)


def test_each_element_has_weights_of_its_own():
    spec = parse("product_natural_limited_a1_o1_n2")
    basis = ProductBasis(open_kernels(None), "torch", spec, 2, 3, 3).double()
    with torch.no_grad():
        basis.weight[1] = 0
    a, plus = torch.randn(4, 4, 3, dtype=torch.float64), torch.zeros(4, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        out = basis(torch.tensor([0, 1, 1, 0]), a, plus)
    assert (out[[1, 2]] == 0).all()
    assert (out[[0, 3]] != 0).all()


def test_what_stands_between_layers_is_not_left_out():
    """A norm and a gate behind the first of two layers, nothing behind the last."""
    config = ModelConfig(channels=4, norm=True, gate=True)
    layers = [interaction(config, n, Irreps("0e"), 1, open_kernels(None), "torch", 3.0).double() for n in range(2)]
    assert [len(layer.after) for layer in layers] == [2, 0]
    atoms = torch.tensor([0, 0, 0])
    edges = Edges.build(torch.tensor([1, 2, 0, 0]), torch.tensor([0, 0, 1, 2]), 3, 3)
    h, vectors = (torch.randn(*shape, dtype=torch.float64) for shape in ((3, 1, 4), (4, 3)))
    given = atoms, h, edges, vectors
    with torch.no_grad():
        out = layers[0](*given)
        layers[0].after = torch.nn.ModuleList()
        assert not torch.allclose(out, layers[0](*given))
