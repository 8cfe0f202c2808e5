"""A converted model beside the one that it was made of, on a cluster of atoms."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import nn

from cartalg.data.graphs import Graph, build_graph
from cartalg.model import Potential
from cartalg.nn.bases import chebyshev


@dataclass(frozen=True)
class Difference:
    """Largest difference between two models on the same atoms.

    Attributes:
        energy: Of the energies of atoms, in eV.
        forces: Of the components of forces, relative to the largest of them.
    """

    energy: float
    forces: float


def cluster(potential: Potential, seed: int = 0, most: int = 24) -> Atoms:
    """24 atoms of up to `most` elements, no two closer than a fifth of the cutoff, and one of them far away."""
    generator, cutoff = np.random.default_rng(seed), potential.config.cutoff
    found = [np.zeros(3)]
    while len(found) < 23:
        place = found[generator.integers(len(found))] + generator.normal(size=3) * cutoff / 4
        if min(np.linalg.norm(place - other) for other in found) > cutoff / 5:
            found.append(place)
    kinds = np.linspace(0, len(potential.elements) - 1, min(most, len(potential.elements))).round().astype(int)
    symbols = [potential.elements[kinds[n * len(kinds) // 24]] for n in range(24)]
    return Atoms(generator.permutation(symbols), [*found, np.full(3, 20 * cutoff)])


def difference(model: Any, potential: Potential, head: int = 0) -> Difference:
    """How far a potential is from the MACE model.

    Args:
        model: In the precision in which it is to be run.
        potential: The converted one.
        head: Number of the head.
    """
    # a table for each pair of elements takes as much memory as a table for all elsewhere
    tables = potential.pairs is not None and potential.config.radial_mode == "table"
    graph = build_graph(cluster(potential, most=4 if tables else 24), potential.config.cutoff, potential.elements)
    theirs = run_mace(model, graph, head)
    with torch.no_grad():
        ours = potential(graph)
    assert ours.forces is not None
    energy = (theirs["node_energy"].detach().double() - ours.atomic_energies).abs().max()
    forces = theirs["forces"].detach().double()
    return Difference(float(energy), float((forces - ours.forces.double()).abs().max() / forces.abs().max()))


def run_mace(model: Any, graph: Graph, head: int = 0) -> dict[str, Any]:
    """What a MACE model says of a frame in the open."""
    dtype, count = next(model.parameters()).dtype, len(graph.species)
    edges = graph.edges
    data = {
        "positions": torch.zeros(count, 3, dtype=dtype),
        "node_attrs": nn.functional.one_hot(graph.species, len(model.atomic_numbers)).to(dtype),
        "edge_index": torch.stack([edges.sender, edges.receiver]),
        "shifts": -graph.vectors.to(dtype),  # all atoms at one point: edges alone say where they are
        "unit_shifts": torch.zeros(len(edges.sender), 3, dtype=dtype),
        "cell": torch.zeros(3, 3, dtype=dtype),
        "batch": torch.zeros(count, dtype=torch.int64),
        "ptr": torch.tensor([0, count]),
        "head": torch.tensor([head]),
    }
    with differentiable(model):
        found: dict[str, Any] = model(data, compute_force=True)
    return found


class _Chebyshev(nn.Module):
    """Chebyshev polynomials as a MACE module has them, x [edges, 1] -> [edges, count]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return chebyshev(x[:, 0], self.count)


@contextmanager
def differentiable(model: Any) -> Iterator[None]:
    """Let forces of a MACE model be the derivatives of its energies.

    Torch does not differentiate its Chebyshev polynomials, and says nothing: mace-torch's own forces lack a part.
    """
    radial, before = model.radial_embedding, model.radial_embedding.bessel_fn
    if type(before).__name__ == "ChebychevBasis":
        radial.bessel_fn = _Chebyshev(before.num_basis)
    try:
        yield
    finally:
        radial.bessel_fn = before
