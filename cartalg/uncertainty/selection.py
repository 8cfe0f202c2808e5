"""Frames to label: those that tell a model most about what its training data lack, and each something else.

A linear model on the features of an element's atoms knows them with the precision A, the sum of f f^T over what it was
trained on; a frame with the features F adds the information log det(1 + F A^-1 F^T) to it. The most informative frame
is taken, A grows by its atoms, and the others, the more alike they are, the less they still add. Where features have
the variance 1 in the training data, A is the number of atoms there. Source: docs/uncertainty.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from cartalg.uncertainty.density import Density

Strategy = Literal["information", "uncertainty", "random"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)


@dataclass
class _Element:
    """Atoms of one element in all candidates.

    Attributes:
        features: Whitened, float64 [atoms, features].
        frame: Which candidate each is of, [atoms].
        inverse: A^-1, float64 [features, features].
        unknown: f A^-1 f^T of each atom, [atoms].
    """

    features: Tensor
    frame: Tensor
    inverse: Tensor
    unknown: Tensor

    def learn(self, frame: int) -> None:
        """Let A grow by the atoms of a frame."""
        added = self.features[self.frame == frame]
        if not len(added):
            return
        seen = self.inverse @ added.T
        root = torch.linalg.cholesky(torch.eye(len(added), dtype=added.dtype) + added @ seen)
        change = torch.linalg.solve_triangular(root, seen.T, upper=False)
        self.inverse -= change.T @ change
        self.unknown = (self.unknown - (self.features @ change.T).square().sum(1)).clamp(min=0)


def most_informative(
    density: Density, species: Sequence[Tensor], features: Sequence[Tensor], allowed: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Candidates in the order in which they are best labelled: their numbers, and what each adds in nats.

    Args:
        density: Of the training data.
        species: Of each candidate's atoms, [atoms].
        features: Of each candidate's atoms, [atoms, features].
        allowed: Numbers of those that may be chosen. Atoms of elements that the training data lack do not count.
    """
    kinds, frames = torch.cat([*species]), torch.cat([torch.full((len(s),), n) for n, s in enumerate(species)])
    white, elements = density.whitened(kinds, torch.cat([*features])), list[_Element]()
    for number in kinds.unique().tolist():
        if density.count[number] > 0:
            of, start = kinds == number, float(density.count[number])
            inverse = torch.eye(white.shape[1], dtype=white.dtype) / start
            elements.append(_Element(white[of], frames[of], inverse, white[of].square().sum(1) / start))
    left = torch.zeros(len(species), dtype=torch.bool)
    left[torch.tensor(allowed, dtype=torch.int64)] = True
    while bool(left.any()):
        gains = torch.zeros(len(species), dtype=torch.float64)
        for element in elements:  # atoms of one frame as if they were independent: an upper bound, in one sum
            gains.index_add_(0, element.frame, element.unknown.log1p())
        best = int(torch.where(left, gains, -1.0).argmax())
        left[best] = False
        for element in elements:
            element.learn(best)
        yield best, float(gains[best])
