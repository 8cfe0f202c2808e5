"""Periodic images of atoms as senders of their own, so that adjoints know where in space they come from.

A graph of a periodic cell names an image by the atom that it is one of. Sums of dU_j/dx over atoms j do not care, but
sums of r_j dU_j/dx do: what an image b + T sends is what b sends, moved by T. With images as rows of their own such a
sum takes one more pass backwards, and no atom is computed twice. Source: docs/theory.md, eqs. 59-62.
"""

from dataclasses import replace

import torch
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.ops import Edges

#: Two vectors of a lattice are farther apart than this, in angstrom; it is well below `cartalg.data.graphs.OVERLAP`.
APART = 0.01


class Images:
    """The images that send in a graph: an exchange of its edges. Gradients are of moments of the energies of atoms.

    Args:
        graph: One frame or several, without copies of atoms.
        positions: Of the atoms in angstrom, float64 [atoms, 3], each in any cell.

    Attributes:
        graph: The same, with images after the atoms.
        owned: Number of atoms.
    """

    def __init__(self, graph: Graph, positions: Tensor) -> None:
        self.owned, edges = len(positions), graph.edges
        offset = _offsets(edges, graph.vectors, positions)
        away = offset.abs().amax(1) > APART
        # an image whose offsets are rounded apart is taken for two: no harm
        places = torch.cat([edges.sender[away, None], torch.round(offset[away] / APART).long()], 1)
        found, image = torch.unique(places, dim=0, return_inverse=True)
        self._owner = found[:, 0].clone()
        self._image = torch.full_like(edges.sender, -1)  # of each edge
        self._image[away] = image
        self._offset = offset.new_zeros(len(found), 3)
        self._offset[image] = offset[away]
        sender = torch.where(away, self.owned + self._image, edges.sender)
        unfolded = Edges.build(sender, edges.receiver, self.owned + len(found), self.owned, self)
        self.graph = replace(graph, species=torch.cat([graph.species, graph.species[self._owner]]), edges=unfolded)
        self._axis: int | None = None
        self._kept: list[Tensor] = []
        self._passed = 0

    def move(self, edges: Edges, vectors: Tensor, positions: Tensor) -> bool:
        """Whether the same images send in a cell that is about the same; if so they send from where they are now."""
        offset, away = _offsets(edges, vectors, positions), self._image >= 0
        before = torch.zeros_like(offset)
        before[away] = self._offset[self._image[away]]
        if len(offset) and float((offset - before).abs().max()) > APART:
            return False
        self._offset[self._image[away]] = offset[away]
        return True

    def begin(self, axis: int | None) -> None:
        """Before a pass backwards: of the sum of energies, or then of its moment along an axis."""
        self._axis, self._passed = axis, 0
        if axis is None:
            self._kept.clear()

    def fill(self, rows: Tensor) -> None:
        """Give each image, in `rows` [atoms + images, ..], what its atom has."""
        rows[self.owned :] = rows[self._owner]

    def collect(self, rows: Tensor, into: Tensor) -> None:
        """Bring gradients to images, in `rows` [atoms + images, ..], to their atoms, in `into` [atoms, ..] (eq. 61)."""
        images = rows[self.owned :]
        if self._axis is None:
            self._kept.append(images.clone())
        else:
            offset = self._offset[:, self._axis].to(rows.dtype).view(-1, *[1] * (rows.ndim - 1))
            images = torch.addcmul(images, offset, self._kept[self._passed], value=-1)
            self._passed += 1
        into.index_add_(0, self._owner, images)


def _offsets(edges: Edges, vectors: Tensor, positions: Tensor) -> Tensor:
    """From each sender's position to where it sends from, [edges, 3]."""
    return positions[edges.receiver] + vectors - positions[edges.sender]
