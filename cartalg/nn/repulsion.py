"""Ziegler-Biersack-Littmark repulsion of screened nuclei, so that atoms cannot meet where there are no data."""

import torch
from torch import Tensor

from cartalg.data.graphs import Graph

#: e^2/(4 pi epsilon_0) in eV angstrom, and the Bohr radius in angstrom (CODATA 2018).
COULOMB, BOHR = 14.399645, 0.529177210903
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)


def zbl_energy(graph: Graph, vectors: Tensor, numbers: Tensor, radii: Tensor) -> Tensor:
    """Energy of each atom in eV, half of each pair's, float64 [atoms].

    Switched off smoothly, with three derivatives, between zero and the sum of the two covalent radii.

    Args:
        graph: A batch.
        vectors: Edge vectors in angstrom, shape [edges, 3]; differentiable.
        numbers: Atomic number of each element of the model, shape [elements].
        radii: Covalent radius of each element in angstrom, shape [elements].
    Source: Ziegler, Biersack & Littmark 1985, eqs. 2-60 to 2-63 (universal potential).
    """
    sender, receiver, species = graph.edges.sender, graph.edges.receiver, graph.species
    z_i, z_j = (numbers[species[side]].double() for side in (receiver, sender))
    reach = radii[species[receiver]].double() + radii[species[sender]].double()
    r = vectors.double().norm(dim=1)
    x = r * (z_i**0.23 + z_j**0.23) / (0.8854 * BOHR)
    screening = torch.stack([c * torch.exp(-e * x) for c, e in zip(COEFFICIENTS, EXPONENTS, strict=True)]).sum(0)
    s = (r / reach).clamp(max=1.0)
    switch = 1 - s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3)
    pair = 0.5 * COULOMB * z_i * z_j / r * screening * switch
    return pair.new_zeros(len(species)).index_add(0, receiver, torch.where(r < reach, pair, 0 * pair))
