# group: Algebra
r"""Harmonics and Legendre polynomials

$T_l(\hat n) \cdot T_l(\hat n') = \alpha_l\, G_l(\hat n \cdot \hat n')$: contracted with that of another direction, a
Cartesian harmonic is a Legendre polynomial of the angle between them. Dots are kernels on random pairs of directions,
lines SymPy's polynomials.
"""

import numpy as np
import sympy as sp
import torch
from matplotlib import pyplot

from cartalg.ops import harmonics
from cartalg.symbolic.basis import squared_norms

make = torch.Generator().manual_seed(0)
first, second = (torch.nn.functional.normalize(torch.randn(60, 3, generator=make).double(), dim=1) for _ in range(2))
cosine = (first * second).sum(1)
mu, line = sp.Symbol("mu"), np.linspace(-1, 1, 201)
figure, axis = pyplot.subplots()
for rank in range(1, 5):
    norms = torch.tensor([float(n.numerator) / float(n.denominator) for n in squared_norms(rank)], dtype=torch.float64)
    place = slice(rank**2, (rank + 1) ** 2)
    product = (harmonics(first, 4)[:, place] * norms * harmonics(second, 4)[:, place]).sum(1)
    alpha = float(sp.factorial2(2 * rank - 1) / sp.factorial(rank))
    legendre = sp.lambdify(mu, sp.legendre(rank, mu), "numpy")
    assert np.allclose(product / alpha, legendre(cosine.numpy()))
    (drawn,) = axis.plot(line, legendre(line), label=f"rank {rank}")
    axis.plot(cosine, product / alpha, ".", color=drawn.get_color())
axis.set(xlabel=r"$\hat n \cdot \hat n'$", ylabel=r"$G_l$")
axis.legend()
figure.savefig("harmonic_product.svg")
