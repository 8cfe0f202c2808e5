"""e3nn under the benchmark."""

import torch
from e3nn import o3


def convolution_case(data):
    """Tensor product (channel by channel) with given harmonics and weights of each edge, and the sum over edges."""
    sender, receiver, vectors, atoms, channels = data
    left = o3.Irreps([(channels, (rank, (-1) ** rank)) for rank in range(3)])
    edge = o3.Irreps.spherical_harmonics(3)
    outputs, instructions = [], []
    for i, (_, a) in enumerate(left):
        for j, (_, b) in enumerate(edge):
            for c in a * b:
                if c.l <= 3 and c.p == (-1) ** c.l:
                    instructions.append((i, j, len(outputs), "uvu", True))
                    outputs.append((channels, c))
    product = o3.TensorProduct(
        left, edge, o3.Irreps(outputs), instructions, shared_weights=False, internal_weights=False
    )
    x = torch.randn(atoms, left.dim, requires_grad=True)
    y = torch.randn(len(vectors), edge.dim, requires_grad=True)
    w = torch.randn(len(vectors), product.weight_numel, requires_grad=True)
    rows = o3.Irreps(outputs).dim

    def forward():
        message = product(x[sender], y, w)
        return message.new_zeros(atoms, rows).index_add(0, receiver, message)

    return _pair(forward, (x, y, w))


def harmonics_case(vectors, rank):
    v = torch.nn.functional.normalize(vectors, dim=1).requires_grad_()
    return _pair(lambda: o3.spherical_harmonics(list(range(rank + 1)), v, normalize=False), (v,))


def couplings_case(rows, channels):
    """Every coupling of rank 3 with rank 3 to rank 3, channel by channel."""
    forwards, inputs = [], []
    left = [torch.randn(rows, channels * (2 * rank + 1), requires_grad=True) for rank in range(4)]
    right = [torch.randn(rows, channels * (2 * rank + 1), requires_grad=True) for rank in range(4)]
    for a in range(4):
        for b in range(4):
            for c in range(abs(a - b), min(a + b, 3) + 1):
                one = [o3.Irreps([(channels, (rank, 1))]) for rank in (a, b, c)]
                couple = o3.TensorProduct(*one, [(0, 0, 0, "uuu", False)])
                forwards.append(lambda couple=couple, a=a, b=b: couple(left[a], right[b]))
    inputs = (*left, *right)
    return _pair(lambda: [f() for f in forwards], inputs)


def _pair(forward, inputs):
    def both():
        out = forward()
        outs = out if isinstance(out, list) else [out]
        torch.autograd.grad(sum(o.sum() for o in outs), inputs)

    def without():
        with torch.no_grad():
            forward()

    return {"forward": without, "forward and gradient": both}
