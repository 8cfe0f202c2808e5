"""The 122 magnetic point groups: 32 without time reversal, 32 grey ones, and 58 of black and white."""

import itertools
import re
from collections import Counter
from functools import cache

from cartalg.physics.point_groups import CRYSTAL_CLASSES, PointGroup, point_group


@cache
def magnetic_groups() -> tuple[PointGroup, ...]:
    """Every magnetic point group once, colourless, grey, then black and white, in the order of the 32 classes.

    A group of black and white is told by its class and by the class of what is left without primes; of symbols that
    mean the same in other axes, such as 2'2'2 and 22'2', the first stands for all.
    Source: International Tables for Crystallography D, ch. 1.5; Birss 1966.
    """
    colourless = [point_group(base) for base in CRYSTAL_CLASSES]
    grey = [point_group(f"{base}1'") for base in CRYSTAL_CLASSES]
    return (*colourless, *grey, *(group for base in CRYSTAL_CLASSES[1:] for group in _black_and_white(base)))


def _black_and_white(base: str) -> list[PointGroup]:
    tokens = re.findall(r"-?\d|/?m", base)
    found: dict[frozenset[tuple[tuple[int, int], int]], PointGroup] = {}
    for primes in itertools.product(("", "'"), repeat=len(tokens)):
        if not any(primes):
            continue
        try:
            group = point_group("".join(token + prime for token, prime in zip(tokens, primes, strict=True)))
        except ValueError:  # these primes contradict one another
            continue
        left = Counter((o.determinant, o.cosine) for o in group.operations if not o.primed)
        found.setdefault(frozenset(left.items()), group)
    return list(found.values())
