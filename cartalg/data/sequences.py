"""Sequences whose items are made when asked for: parts, unions and functions of others, none of them a copy."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar, overload

import numpy as np

Item = TypeVar("Item")


class Lazy(Sequence[Item]):
    """A sequence whose items are made when asked for: `item` and a length."""

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
            raise IndexError(number)
        return self.item(number % len(self))

    def __iter__(self) -> Iterator[Item]:
        return (self.item(n) for n in range(len(self)))


class Chosen(Lazy[Item]):
    """Items of another sequence, by number."""

    def __init__(self, items: Sequence[Item], numbers: Sequence[int]) -> None:
        self.items, self.numbers = items, np.array(numbers, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.numbers)

    def item(self, number: int) -> Item:
        """The chosen item of that number."""
        return self.items[int(self.numbers[number])]


class Joined(Lazy[Item]):
    """Sequences one after the other."""

    def __init__(self, parts: Sequence[Sequence[Item]]) -> None:
        self.parts = parts
        self.ends = list(accumulate(len(p) for p in parts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def item(self, number: int) -> Item:
        """The item of that number, counted through all parts."""
        part = bisect_right(self.ends, number)
        return self.parts[part][number - (self.ends[part - 1] if part else 0)]


class Made(Lazy[Item]):
    """Results of a function of whole numbers below a count, made when asked for."""

    def __init__(self, make: Callable[[int], Item], count: int) -> None:
        self.make, self.size = make, count

    def __len__(self) -> int:
        return self.size

    def item(self, number: int) -> Item:
        """The result for that number."""
        return self.make(number)
