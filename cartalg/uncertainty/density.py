"""How far an atom is from those of its element in the training data: a Gaussian in the space of a model's features.

The features are the invariant ones of every layer, which the readouts see. Of n atoms of an element with mean m and
covariance S, with W the mean covariance of all elements about their own means, C = (n S + p k W) / (n + p k) + e
diag(W), k the number of features. The weight p of what elements have in common and the ridge e are those under which
the atoms of the validation frames are most likely, so that directions which few frames show are neither trusted nor
ignored. The distance d = sqrt((f - m) C^-1 (f - m) / k) is about 1 in the training data. Source: docs/uncertainty.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
    _known: "_Known | None" = field(default=None, init=False, repr=False, compare=False)

    def whitened(self, species: Tensor, features: Tensor) -> Tensor:
        """Features with mean 0 and variance 1 in the data, float64 [atoms, features]: d^2 is their mean square.

        Infinite for elements that the data lack. Arguments as in `Described`.
        """
        found = torch.full(features.shape, torch.inf, dtype=torch.float64)
        for number, atoms in _of_each(species):
            if self.count[number] > 0:
                found[atoms] = (features[atoms].double() - self.mean[number]) @ self.factor[number].T
        return found

    def distances(self, species: Tensor, features: Tensor) -> Tensor:
        """d of each atom, float64 [atoms], about 1 in the data; infinite for elements that they lack.

        In the features' own precision, which is what they are worth; species that are asked for again cost nothing.
        """
        known = self._known
        if known is None or not known.serves(species, features.dtype):
            known = _Known.of(self, species, features.dtype)
            object.__setattr__(self, "_known", known)
        apart, found = features - known.mean, torch.full((len(species),), torch.inf, dtype=torch.float64)
        for atoms, factor in known.parts:
            own = (apart if atoms is None else apart.index_select(0, atoms)) @ factor
            size = torch.linalg.vector_norm(own, dim=1).double().mul_(features.shape[1] ** -0.5)
            found = size if atoms is None else found.index_copy_(0, atoms, size)
        return found


@dataclass(frozen=True)
class _Known:
    """A density for the atoms of one structure.

    Attributes:
        species: Of its atoms, int64 [atoms].
        mean: Of each atom's element, [atoms, features].
        parts: Numbers of the atoms of each element that the data have, None for all, and the transposed factor.
    """

    species: Tensor
    mean: Tensor
    parts: list[tuple[Tensor | None, Tensor]]

    def serves(self, species: Tensor, dtype: torch.dtype) -> bool:
        """Whether it is for these species, the same array and not an equal one, and features of this precision."""
        same = self.species.data_ptr() == species.data_ptr() and self.species.shape == species.shape
        return same and self.mean.dtype == dtype

    @classmethod
    def of(cls, density: Density, species: Tensor, dtype: torch.dtype) -> "_Known":
        """For these species and features of this precision."""
        parts: list[tuple[Tensor | None, Tensor]] = []
        for number, atoms in _of_each(species):
            if density.count[number] > 0:
                factor = density.factor[number].T.to(dtype).contiguous()
                parts.append((None if bool(atoms.all()) else atoms.nonzero()[:, 0], factor))
        return cls(species, density.mean.to(dtype)[species], parts)


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
