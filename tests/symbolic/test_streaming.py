import random

import numpy as np
import pytest
import sympy as sp

from cartalg.symbolic import streaming
from cartalg.symbolic.basis import squared_norms, to_sympy
from cartalg.symbolic.reducible import decompose
from cartalg.symbolic.streaming import streamed_parts


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_parts_are_those_of_the_decomposition(order):
    kept = {path: part for part in decompose("ijklm"[:order]).parts for path in part.paths}
    found = list(streamed_parts(order))
    assert {p.path for p in found} == set(kept)
    for p in found:
        exact = kept[p.path]
        assert p.squared_norm == exact.squared_norm
        assert (np.moveaxis(p.numbers, 0, -1) * exact.denominator == exact.embedding * p.denominator).all()


def parseval(order):
    """A tensor of random whole numbers has the squared norm of its parts, exactly: nothing is missing."""
    source = random.Random(order)
    tensor = np.array([source.randint(-9, 9) for _ in range(3**order)], dtype=np.int64).reshape((3,) * order)
    total, components = sp.Integer(0), 0
    for p in streamed_parts(order):
        overlaps = [int((row * tensor).sum()) for row in p.numbers]
        norms = map(to_sympy, squared_norms(p.path[-1]))
        share = sp.Add(*(sp.Integer(v) ** 2 / n for v, n in zip(overlaps, norms, strict=True)))
        total += share / (p.squared_norm * p.denominator**2)
        components += len(p.numbers)
    return total == int((tensor * tensor).sum()) and components == 3**order


@pytest.mark.parametrize("order", [3, 6, 7])
def test_parts_are_complete(order):
    assert parseval(order)


@pytest.mark.campaign
def test_rank_nine_is_complete():
    assert parseval(9)


def test_numbers_beyond_64_bits_go_on(monkeypatch):
    monkeypatch.setattr(streaming, "_LIMIT", 4)
    found = list(streamed_parts(4))
    assert any(p.numbers.dtype == object for p in found)
    monkeypatch.undo()
    for big, small in zip(found, streamed_parts(4), strict=True):
        assert big.denominator == small.denominator
        assert (big.numbers == small.numbers).all()


def test_bad_ranks():
    for bad, says in ((0, "its only part"), (-1, "non-negative integer")):
        with pytest.raises(ValueError, match=says):
            next(streamed_parts(bad))
