"""What the labels of a product's weights say: trees of couplings, like ((A1o A1o)2e A1o)1o."""

import re
from collections.abc import Sequence
from typing import Any

from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.specs.rules import couple


class TreeReader:
    """Evaluates labels: each is a tree of couplings; the code that emits programs has no part in it.

    Args:
        features: Irreps of A.
        a: Its components, numbers of any exact ring.
    """

    def __init__(self, features: Irreps, a: Sequence[Any]) -> None:
        self.trees: dict[str, list[Any]] = {}
        for irrep, place in zip(features.irreps, features.slices, strict=True):
            self.trees[f"A{irrep}"] = list(a[place])

    def tree(self, label: str) -> list[Any]:
        """The value of a label. Raises ValueError if it is none."""
        if label not in self.trees:
            match = re.fullmatch(r"\((.*)\)(\d+[eo])", label)
            if match is None:
                raise ValueError(f"the label {label!r} is no tree of couplings")
            first, second = _halves(match[1])
            ranks = (_irrep(first), _irrep(second), Irrep.parse(match[2]))
            if ranks[0].p * ranks[1].p != ranks[2].p:
                raise ValueError(f"the label {label!r} has the wrong parity")
            self.trees[label] = couple((ranks[0].l, ranks[1].l, ranks[2].l), self.tree(first), self.tree(second))
        return self.trees[label]


def _halves(inner: str) -> tuple[str, str]:
    """The two factors of a coupling: they are divided by the space outside of brackets."""
    depth = 0
    for place, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if letter == " " and not depth:
            return inner[:place], inner[place + 1 :]
    raise ValueError(f"{inner!r} is no pair of factors")


def _irrep(label: str) -> Irrep:
    """The irrep that a label ends in."""
    return Irrep.parse(label[1:] if label.startswith("A") else label[label.rindex(")") + 1 :])
