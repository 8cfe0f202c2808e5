"""Data sets whose items are made when asked for: subsets, concatenations and functions of numbers, none of them a copy.

Map-style data sets in the sense of `torch.utils.data`, whose `Subset` and `ConcatDataset` are not used because they
neither slice nor iterate, refuse lists to a type checker, and cannot be empty.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar, overload

import numpy as np

Item = TypeVar("Item")


class MapDataset(Sequence[Item]):
    """What a data set needs: `item` and a length. Numbers from the end, slices and iteration follow."""

    def item(self, number: int) -> Item:
        """The item of that number, from 0."""
        raise NotImplementedError

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        if isinstance(number, slice):
            return [self.item(n) for n in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"item {number} asked for, there are {len(self)}")
        return self.item(number % len(self))

    def __iter__(self) -> Iterator[Item]:
        return (self.item(n) for n in range(len(self)))


class Subset(MapDataset[Item]):
    """Items of another data set, by number."""

    def __init__(self, dataset: Sequence[Item], indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, np.array(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def item(self, number: int) -> Item:
        """The chosen item of that number."""
        return self.dataset[int(self.indices[number])]


class ConcatDataset(MapDataset[Item]):
    """Data sets one after the other."""

    def __init__(self, datasets: Sequence[Sequence[Item]]) -> None:
        self.datasets = datasets
        self.cumulative_sizes = list(accumulate(len(d) for d in datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1] if self.cumulative_sizes else 0

    def item(self, number: int) -> Item:
        """The item of that number, counted through all parts."""
        part = bisect_right(self.cumulative_sizes, number)
        return self.datasets[part][number - (self.cumulative_sizes[part - 1] if part else 0)]


class LazyDataset(MapDataset[Item]):
    """Results of a function of whole numbers below a count, made when asked for."""

    def __init__(self, make: Callable[[int], Item], count: int) -> None:
        self.make, self.size = make, count

    def __len__(self) -> int:
        return self.size

    def item(self, number: int) -> Item:
        """The result for that number."""
        return self.make(number)
