r"""MACE's symmetric contraction in the complete product basis, exactly.

Both span the couplings of A x .. x A, with more terms than are independent. MACE folds from the left through every
irrep that two factors reach. With couplings in the harmonic normalisation all terms are polynomials over Q, and each of
MACE's trees is one combination of the first independent terms of ours:

.. math:: T_m(A) = \sum_k M_{mk} B_k(A), \quad M_{mk} \in \mathbb{Q}

M is solved for at integer points, more of them than there are terms, so that a tree outside their span has no solution.
Source: Batatia et al. 2022 (MACE), eqs. 10, 11; docs/theory.md, eqs. 16-19, 40.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from random import Random

from flint import fmpq, fmpq_mat

from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.specs import ProductSpec
from cartalg_codegen.specs.labels import TreeReader
from cartalg_codegen.specs.rules import orthonormal_squared

#: Points beyond those that determine the map: it must hold there, too.
FURTHER = 3


@dataclass(frozen=True)
class ContractionMap:
    """Trees of one order and output, expressed in the product basis.

    Attributes:
        trees: MACE's, in its order, as labels like ((A1o A1o)2e A1o)1o.
        squares: Square of the factor that makes the couplings of each orthonormal.
        terms: Labels of independent terms of the product basis.
        matrix: M, a row for each tree, in the harmonic normalisation.
    """

    trees: tuple[str, ...]
    squares: tuple[Fraction, ...]
    terms: tuple[str, ...]
    matrix: tuple[tuple[Fraction, ...], ...]


def coupling_trees(features: Irreps, order: int, out: Irrep) -> list[tuple[str, Fraction]]:
    """Labels of MACE's trees with so many factors, in the order of its weights, and squared normalisations.

    Each level is sorted by rank and parity, odd before even, and otherwise in the order in which it was made.
    """
    level = [(irrep, f"A{irrep}", Fraction(1)) for irrep in features.irreps]
    for _ in range(order - 1):
        made = []
        for left, label, square in level:
            for right in features.irreps:
                for rank in range(abs(left.l - right.l), left.l + right.l + 1):
                    irrep = Irrep(rank, left.p * right.p)
                    norm = square * orthonormal_squared(left.l, right.l, rank)
                    made.append((irrep, f"({label} A{right}){irrep}", norm))
        level = sorted(made, key=lambda tree: (tree[0].l, tree[0].p))
    return [(label, square) for irrep, label, square in level if irrep == out]


@cache
def contraction_map(features: int, out: int, order: int) -> ContractionMap:
    """The map for features of natural parity to a rank, a natural output irrep and 1 to 3 factors.

    Raises:
        ArithmeticError: If the product basis does not span the trees.
    """
    irreps, goal = Irreps.natural(features), Irreps.natural(out).irreps[-1]
    trees = coupling_trees(irreps, order, goal)
    spec = ProductSpec("natural", "complete", features, out, order)
    terms = [w.label for w in spec.weights if (w.order, w.out) == (order, goal)]
    random, rows = Random(0), list[list[fmpq]]()
    while len(rows) < len(terms) + FURTHER * goal.dim:
        reader = TreeReader(irreps, [Fraction(random.randint(-9, 9)) for _ in range(irreps.dim)])
        values = [reader.tree(label) for label in (*terms, *(label for label, _ in trees))]
        rows += [[fmpq(v[k].numerator, v[k].denominator) for v in values] for k in range(goal.dim)]
    solved, rank = fmpq_mat(rows).rref()
    pivots = [next(k for k in range(solved.ncols()) if solved[n, k]) for n in range(rank)]
    if pivots[-1] >= len(terms):
        raise ArithmeticError(f"{spec.name} does not span MACE's {len(trees)} trees of order {order} and output {goal}")
    matrix = [[_fraction(solved[n, len(terms) + m]) for n in range(rank)] for m in range(len(trees))]
    labels, squares = tuple(label for label, _ in trees), tuple(square for _, square in trees)
    return ContractionMap(labels, squares, tuple(terms[n] for n in pivots), tuple(map(tuple, matrix)))


def _fraction(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))
