"""Which terms of the complete product basis are independent: a choice among them that spans the same."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.specs.labels import TreeReader
from cartalg_codegen.specs.product_tree import ProductTree

if TYPE_CHECKING:
    from flint import fmpq_mat

#: Points beyond those that determine a rank: they must not raise it.
FURTHER = 3


@cache
def independent_labels(features: Irreps, outputs: Irreps, intermediates: Irreps, correlation: int) -> frozenset[str]:
    """Labels of the terms that are kept: of each order and output those that the ones before do not span.

    Intermediates of low rank and natural parity come first: they cost least.

    Args:
        features, outputs, intermediates: Irreps of A, of the result, and of what stands between.
        correlation: Highest number of factors.
    """
    listed, found = ProductTree(features, outputs, intermediates, correlation, chosen=ALL).weights, list[str]()
    for order in range(1, correlation + 1):
        for out in outputs.irreps:
            labels = [w.label for w in listed if (w.order, w.out) == (order, out)]
            found += [labels[n] for n in combinations(features, out, labels)[0]]
    return frozenset(found)


def combinations(features: Irreps, out: Irrep, labels: Sequence[str]) -> tuple[list[int], "fmpq_mat"]:
    """Labels of one output as combinations of independent ones, over Q.

    Solved for at integer points, more of them than there are independent labels. What is independent at points is so;
    what is dependent at points is so but for a coincidence, which characters rule out (a test).

    Args:
        features: Irreps of A.
        out: Irrep of every label.
        labels: Trees of couplings.
    Returns:
        Numbers of the labels that the ones before do not span, and the matrix [row for each of them, all labels] of
        which each column is a label.
    """
    from flint import fmpq, fmpq_mat  # which reading a manifest does not need

    random, rows, rank = Random(0), list[list[fmpq]](), 0
    solved = fmpq_mat(0, len(labels))
    while labels and len(rows) < rank + FURTHER * out.dim:
        for _ in range(max(FURTHER, rank // out.dim)):
            reader = TreeReader(features, [Fraction(random.randint(-9, 9)) for _ in range(features.dim)])
            values = [reader.tree(label) for label in labels]
            rows += [[fmpq(v[k].numerator, v[k].denominator) for v in values] for k in range(out.dim)]
        solved, rank = fmpq_mat(rows).rref()
    return [next(k for k in range(len(labels)) if solved[n, k]) for n in range(rank)], solved


class _All:
    """Every label."""

    def __contains__(self, label: object) -> bool:
        return True


ALL = _All()
