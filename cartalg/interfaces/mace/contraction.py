r"""MACE's symmetric contraction in the product basis of independent terms, exactly, and back.

MACE folds couplings from the left through every irrep that two factors reach: more trees than are independent. With
couplings in the harmonic normalisation all are polynomials over Q, and each tree is one combination of our terms:

.. math:: T_m(A) = \sum_k M_{mk} B_k(A), \quad M_{mk} \in \mathbb{Q}

A tree outside their span has no solution. Weights of trees become weights of terms by the transpose of M, with the
factors :math:`\sqrt{q_m}` of the trees' normalisation, N = diag(q). Of all weights of trees that make the same function
the smallest are

.. math:: W_m = \sqrt{q_m} \sum_k (M (M^T N M)^{-1})_{mk} w_k

Source: Batatia et al. 2022 (MACE), eqs. 10, 11; docs/theory.md, eqs. 16-19, 40.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

from flint import fmpq, fmpq_mat

from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg_codegen.specs import ProductSpec
from cartalg_codegen.specs.independent import combinations
from cartalg_codegen.specs.rules import orthonormal_squared

Rows = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class ContractionMap:
    """Trees of one order and output, expressed in the product basis.

    Attributes:
        trees: MACE's, in its order, as labels like ((A1o A1o)2e A1o)1o.
        squares: Square of the factor that makes the couplings of each orthonormal, q.
        terms: Labels of the product basis.
        matrix: M, a row for each tree, in the harmonic normalisation.
    """

    trees: tuple[str, ...]
    squares: tuple[Fraction, ...]
    terms: tuple[str, ...]
    matrix: Rows

    @cached_property
    def back(self) -> Rows:
        """M (M^T N M)^-1, a row for each tree. Raises ArithmeticError if trees do not reach every term."""
        m = fmpq_mat([[_exact(v) for v in row] for row in self.matrix])
        scaled = fmpq_mat([[_exact(q * v) for v in row] for q, row in zip(self.squares, self.matrix, strict=True)])
        gram = m.transpose() * scaled
        if gram.rank() < len(self.terms):
            raise ArithmeticError(f"MACE's {len(self.trees)} trees reach {gram.rank()} of {len(self.terms)} terms")
        return _rows(m * gram.inv())


def coupling_trees(features: Irreps, order: int, out: Irrep) -> list[tuple[str, Fraction]]:
    """Labels of MACE's trees with so many factors, in the order of its weights, and squared normalisations.

    Each level is sorted by rank and parity, odd before even, and otherwise in the order in which it was made. Of four
    factors all that stands between has natural parity, to rank 11.
    """
    level = [(irrep, f"A{irrep}", Fraction(1)) for irrep in features.irreps]
    for _ in range(order - 1):
        made = []
        for left, label, square in level:
            for right in features.irreps:
                for irrep in left.couples(right):
                    if order < 4 or (irrep.natural and irrep.l < 12):
                        norm = square * orthonormal_squared(left.l, right.l, irrep.l)
                        made.append((irrep, f"({label} A{right}){irrep}", norm))
        level = sorted(made, key=lambda tree: (tree[0].l, tree[0].p))
    return [(label, square) for irrep, label, square in level if irrep == out]


@cache
def contraction_map(features: int, out: int, order: int) -> ContractionMap:
    """The map for features of natural parity to a rank, a natural output irrep and 1 to 4 factors.

    Raises:
        ArithmeticError: If the product basis does not span the trees.
    """
    irreps, goal = Irreps.natural(features), Irreps.natural(out).irreps[-1]
    trees = coupling_trees(irreps, order, goal)
    spec = ProductSpec("natural", "independent", features, out, order)
    terms = [w.label for w in spec.weights if (w.order, w.out) == (order, goal)]
    found, solved = combinations(irreps, goal, [*terms, *(label for label, _ in trees)])
    if found != [*range(len(terms))]:
        raise ArithmeticError(f"{spec.name} does not span MACE's {len(trees)} trees of order {order} and output {goal}")
    # of the reduced echelon form the rows that are not zero: columns are labels
    matrix = tuple(row[: len(terms)] for row in _rows(solved.transpose())[len(terms) :])
    return ContractionMap(tuple(t for t, _ in trees), tuple(q for _, q in trees), tuple(terms), matrix)


def _rows(matrix: fmpq_mat) -> Rows:
    return tuple(tuple(Fraction(int(v.p), int(v.q)) for v in row) for row in matrix.table())


def _exact(value: Fraction) -> fmpq:
    return fmpq(value.numerator, value.denominator)
