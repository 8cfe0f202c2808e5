"""How far an atom is from those of its element in the training data: a Gaussian in the space of a model's features.

The features are the invariant ones of every layer, which the readouts see. Of n atoms of an element with mean m and
covariance S, with W the mean covariance of all elements about their own means, C = (n S + p k W) / (n + p k) + e
diag(W), k the number of features. The weight p of what elements have in common and the ridge e are those under which
the atoms of the validation frames are most likely, so that directions which few frames show are neither trusted nor
ignored. The distance d = sqrt((f - m) C^-1 (f - m) / k) is about 1 in the training data. Source: docs/uncertainty.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

#: Weights and ridges that are tried.
PRIORS, RIDGES = (0.0, 0.03, 0.1, 0.3, 1.0), tuple(10.0**n for n in range(-10, 1))

#: Of a batch: elements' numbers [atoms] and features [atoms, features].
Described = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Density:
    """A Gaussian for each element.

    Attributes:
        count: Atoms of each element in the data, float64 [elements].
        mean: float64 [elements, features]; NaN for an element that the data lack.
        factor: Inverse Cholesky factors L of C, float64 [elements, features, features]: d^2 = |L (f - m)|^2 / features.
    """

    count: Tensor
    mean: Tensor
    factor: Tensor

    def whitened(self, species: Tensor, features: Tensor) -> Tensor:
        """Features with mean 0 and variance 1 in the data, float64 [atoms, features]: d^2 is their mean square.

        Infinite for elements that the data lack. Arguments as in `Described`.
        """
        found = torch.full(features.shape, torch.inf, dtype=torch.float64)
        for number, atoms in _of_each(species):
            if bool(torch.isfinite(self.mean[number, 0])):
                found[atoms] = (features[atoms].double() - self.mean[number]) @ self.factor[number].T
        return found

    def distances(self, species: Tensor, features: Tensor) -> Tensor:
        """d of each atom, float64 [atoms], about 1 in the data; infinite for elements that they lack."""
        return self.whitened(species, features).square().mean(1).sqrt()


class Moments:
    """Count, mean and covariance of each element's features, batch by batch."""

    def __init__(self, elements: int) -> None:
        self._count = torch.zeros(elements, dtype=torch.float64)
        self._mean: Tensor | None = None
        self._squares = torch.empty(0)

    def add(self, species: Tensor, features: Tensor) -> None:
        """Add a batch; arguments as in `Described`."""
        size = features.shape[1]
        if self._mean is None:
            self._mean = torch.zeros(len(self._count), size, dtype=torch.float64)
            self._squares = torch.zeros(len(self._count), size, size, dtype=torch.float64)
        for number, atoms in _of_each(species):
            new, before = features[atoms].double(), self._count[number]
            count, mean = before + len(new), new.mean(0)
            moved = mean - self._mean[number]
            about = new - mean
            self._squares[number] += about.T @ about + torch.outer(moved, moved) * before * len(new) / count
            self._mean[number] += moved * len(new) / count
            self._count[number] = count

    def fit(self, held_out: Iterable[Described]) -> Density:
        """The Gaussians under which held-out atoms are most likely; of these, elements that were not added are left
        out.

        Raises:
            ValueError: If nothing was added.
        """
        if self._mean is None:
            raise ValueError("no atoms to measure distances from")
        size, known = self._mean.shape[1], [int(n) for n in self._count.nonzero()]
        within = self._squares.sum(0) / self._count.sum()
        spread = within.diagonal().clone()
        ridge = torch.diag(spread.clamp(min=max(float(spread.max()) * 1e-12, 1e-30)))
        apart: dict[int, list[Tensor]] = {number: [] for number in known}
        for species, features in held_out:
            for number, atoms in _of_each(species):
                if number in apart:
                    apart[number].append(features[atoms].double() - self._mean[number])
        away = {number: torch.cat(rows) for number, rows in apart.items() if rows}

        def factor(number: int, prior: float, scale: float) -> Tensor:
            weight = prior * size
            shared = (self._squares[number] + weight * within) / (self._count[number] + weight)
            root, failed = torch.linalg.cholesky_ex(shared + scale * ridge)
            inverse = torch.linalg.solve_triangular(root, torch.eye(size, dtype=torch.float64), upper=False)
            return inverse if not failed else torch.full_like(root, torch.nan)

        def surprise(prior: float, scale: float) -> float:
            """Minus the logarithm of the likelihood, but for a constant; infinite if a matrix has no factor."""
            total = 0.0
            for number, rows in away.items():
                inverse = factor(number, prior, scale)
                total += float((rows @ inverse.T).square().sum() / 2 - len(rows) * inverse.diagonal().log().sum())
            return total if total == total else torch.inf

        best = min(product(PRIORS, RIDGES), key=lambda pair: surprise(*pair)) if away else (PRIORS[-1], RIDGES[-4])
        mean = torch.full_like(self._mean, torch.nan)
        factors = torch.zeros_like(self._squares)
        for number in known:
            mean[number], factors[number] = self._mean[number], factor(number, *best)
        return Density(self._count.clone(), mean, factors)


def _of_each(species: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each element's number, and which atoms are of it."""
    for number in species.unique().tolist():
        yield number, species == number
