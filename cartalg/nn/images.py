"""Periodic images of atoms as senders of their own, so that adjoints know where in space they come from.

A graph of a periodic cell names an image by the atom that it is one of. Sums of dU_j/dx over atoms j do not care, but
sums of r_j dU_j/dx do: what an image b + T sends is what b sends, moved by T. With images as rows of their own such a
sum takes one more pass backwards, and no atom is computed twice. Source: docs/theory.md, eqs. 59-62.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cartalg.nn.operations import give
from cartalg.nn.values import Call, Operation, Recorder, Slot, Target, Value, run
from cartalg.ops import Edges

#: Two vectors of a lattice are farther apart than this, in angstrom; it is well below `cartalg.data.graphs.OVERLAP`.
APART = 0.01


@dataclass
class Moment:
    """What gradients are of: the sum of U_j or, with an axis 0..2, of that component of r_j U_j."""

    axis: int | None = None


@dataclass(frozen=True)
class Images(Edges):
    """Edges of a cell, and the same ones sent by images.

    Attributes:
        unfolded: Edges whose senders are the atoms, then the images.
        owner: The atom that each image is one of, int64 [images].
        offset: Lattice vector T of each image in angstrom, float64 [images, 3].
        moment: Of the pass backwards that runs.
    """

    unfolded: Edges
    owner: Tensor
    offset: Tensor
    moment: Moment

    @classmethod
    def of(cls, edges: Edges, vectors: Tensor, positions: Tensor) -> "Images":
        """Find the images that send.

        Args:
            edges: Of a cell.
            vectors: Edge vectors in angstrom, float64 [edges, 3].
            positions: Of the atoms in angstrom, float64 [atoms, 3], each anywhere in space.
        """
        atoms, sender = len(positions), edges.sender
        atoms, offset = len(positions), _offsets(edges, vectors, positions)
        away = offset.abs().amax(1) > APART
        # an image whose offsets are rounded apart is taken for two: no harm
        places = torch.cat([edges.sender[away, None], torch.round(offset[away] / APART).long()], 1)
        found, image = torch.unique(places, dim=0, return_inverse=True)
        sender = edges.sender.clone()
        sender[away] = atoms + image
        unfolded = Edges.build(sender, edges.receiver, atoms + len(found), atoms)
        own = {name: getattr(edges, name) for name in Edges.__dataclass_fields__}
        images = cls(
            **own, unfolded=unfolded, owner=found[:, 0].clone(), offset=offset.new_zeros(len(found), 3), moment=Moment()
        )
        images.offset[image] = offset[away]
        return images

    def move(self, vectors: Tensor, positions: Tensor) -> bool:
        """Whether the same images send, in a cell that is about the same; if so they send from where they are now."""
        offset, image = _offsets(self, vectors, positions), self.unfolded.sender - len(positions)
        away = image >= 0
        before = torch.zeros_like(offset)
        before[away] = self.offset[image[away]]
        if len(offset) and float((offset - before).abs().max()) > APART:
            return False
        self.offset[image[away]] = offset[away]
        return True

    def folded(self, g: Tensor, kept: list[Tensor]) -> Tensor:
        """Gradients to features of atoms and images [atoms + images, ..] as gradients to those of atoms.

        Args:
            g: Gradients.
            kept: Those to images of the sum of U_j: written in the pass for it, read in the others.
        """
        count = len(g) - len(self.owner)
        images = g[count:]
        if self.moment.axis is None:
            kept[:] = [images.clone()]
        else:
            offset = self.offset[:, self.moment.axis].to(g.dtype).view(-1, *[1] * (g.ndim - 1))
            images = torch.addcmul(images, offset, kept[0], value=-1)
        return g[:count].index_add(0, self.owner, images)


def _offsets(edges: Edges, vectors: Tensor, positions: Tensor) -> Tensor:
    """From each sender's position to where it sends from, [edges, 3]."""
    return positions[edges.receiver] + vectors - positions[edges.sender]


def passed(x: Value, edges: Edges) -> tuple[Value, Edges]:
    """Features of senders, [senders, components, channels], from those of atoms, and the edges that name senders so."""
    if not isinstance(edges, Images):
        return x, edges
    return run(_Passed(edges), x), edges.unfolded


class _Passed(Operation):
    """Every image has the features of its atom."""

    linear = True

    def __init__(self, images: Images) -> None:
        self.images = images
        self._kept: list[Tensor] = []

    def eager(self, *inputs: Tensor) -> Tensor:
        return _Eager.apply(inputs[0], self.images)  # type: ignore[no-untyped-call, no-any-return]

    def shape(self, *inputs: Tensor | Slot) -> tuple[Sequence[int], torch.dtype]:
        x = inputs[0]
        return (x.shape[0] + len(self.images.owner), *x.shape[1:]), x.dtype

    def forward(self, plan: Recorder, out: Tensor, *inputs: Tensor) -> Iterable[Call]:
        count = len(inputs[0])
        yield partial(out[:count].copy_, inputs[0])
        yield lambda: out[count:].copy_(inputs[0].index_select(0, self.images.owner))

    def backward(
        self, plan: Recorder, g: Tensor, inputs: Sequence[Tensor], targets: Sequence[Target | None]
    ) -> Iterable[Call]:
        def call() -> None:
            for brought in give(self.images.folded(g, self._kept), targets[0]):
                brought()

        yield call


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, images: Images) -> Tensor:  # type: ignore[override]
        ctx.images, ctx.kept = images, []
        return torch.cat([x, x.index_select(0, images.owner)])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        return ctx.images.folded(g, ctx.kept), None
