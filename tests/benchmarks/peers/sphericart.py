"""sphericart under the benchmark."""

import sphericart.torch
import torch


def harmonics_case(vectors, rank):
    v = torch.nn.functional.normalize(vectors, dim=1).requires_grad_()
    calculator = sphericart.torch.SphericalHarmonics(rank)

    def both():
        torch.autograd.grad(calculator(v).sum(), v)

    def without():
        with torch.no_grad():
            calculator(v)

    return {"forward": without, "forward and gradient": both}
