r"""Young symmetrisers, and orthogonal projectors of mixed symmetry, in the group algebra of permutations, exact.

A standard tableau has a symmetriser, f/n! times the sum over its rows and the alternating sum over its columns. From
the tableau with its last box off follows an orthogonal projector,

.. math:: P_\Theta = P_{\Theta'}\, Y_\Theta\, P_{\Theta'}

and those of all standard tableaux are Hermitian, orthogonal to one another and add up to 1. Tensors with such a
symmetry are taken apart into irreducible parts like those with an index formula.
Source: Young 1928; Keppeler & Sjoedahl, J. Math. Phys. 55, 021702 (2014) (Hermitian projectors).
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import permutations
from math import factorial, lcm

from cartalg.symbolic.indexed import ALPHABET, Expression, combined
from cartalg.symbolic.reducible import Decomposition, decomposed

#: Rows of the numbers 1..n, growing along rows and columns.
Tableau = tuple[tuple[int, ...], ...]
#: A sum of permutations: {(p_0, p_1, ..): coefficient}, T[i_0, ..] -> T[i_p0, ..].
Element = dict[tuple[int, ...], Fraction]
MAX_BOXES = 5


def standard_tableaux(boxes: int) -> tuple[Tableau, ...]:
    """All standard tableaux with so many boxes, by shape, long rows first. Raises ValueError beyond five boxes."""
    if not 1 <= boxes <= MAX_BOXES:
        raise ValueError(f"Young tableaux are listed for 1 to {MAX_BOXES} boxes, got {boxes}")
    found: list[Tableau] = [((1,),)]
    for number in range(2, boxes + 1):
        found = [bigger for tableau in found for bigger in _with(tableau, number)]
    return tuple(sorted(found, key=lambda t: ([-len(row) for row in t], t)))


def _with(tableau: Tableau, number: int) -> Iterator[Tableau]:
    for n, row in enumerate(tableau):
        if n == 0 or len(tableau[n - 1]) > len(row):
            yield (*tableau[:n], (*row, number), *tableau[n + 1 :])
    yield (*tableau, (number,))


def _without(tableau: Tableau, number: int) -> Tableau:
    rows = (tuple(n for n in row if n != number) for row in tableau)
    return tuple(row for row in rows if row)


def product(left: Element, right: Element) -> Element:
    """First `right`, then `left`, as operators on tensors."""
    found: Element = {}
    for p, c in left.items():
        for q, d in right.items():
            both = tuple(q[i] for i in p)
            found[both] = found.get(both, Fraction(0)) + c * d
    return {p: c for p, c in found.items() if c}


def symmetriser(tableau: Tableau) -> Element:
    """Young's symmetriser, columns first, then rows: idempotent, but in general not Hermitian.

    Raises:
        ValueError: If the tableau is not standard.
    """
    boxes = sum(map(len, tableau))
    if tableau not in standard_tableaux(boxes):
        raise ValueError(f"{tableau} is no standard tableau: numbers 1..n grow along rows and columns")
    columns = [tuple(row[n] for row in tableau if len(row) > n) for n in range(len(tableau[0]))]
    shape = sum(tuple(map(len, t)) == tuple(map(len, tableau)) for t in standard_tableaux(boxes))
    total = product(_of_sets(tableau, boxes, 1), _of_sets(tuple(columns), boxes, -1))
    return {p: c * Fraction(shape, factorial(boxes)) for p, c in total.items()}


def _of_sets(sets: Tableau, boxes: int, sign: int) -> Element:
    """Sum over the permutations that keep each set, alternating with sign -1."""
    found: Element = {tuple(range(boxes)): Fraction(1)}
    for members in sets:
        places = [m - 1 for m in members]
        one: Element = {}
        for order in permutations(range(len(places))):
            p = list(range(boxes))
            for place, k in zip(places, order, strict=True):
                p[place] = places[k]
            odd = sum(order[i] > order[j] for j in range(len(order)) for i in range(j)) % 2
            one[tuple(p)] = Fraction(sign if odd else 1)
        found = product(found, one)
    return found


@cache
def _projector(tableau: Tableau) -> tuple[tuple[tuple[int, ...], Fraction], ...]:
    boxes = sum(map(len, tableau))
    if boxes <= 2:
        return tuple(symmetriser(tableau).items())
    before = {(*p, boxes - 1): c for p, c in _projector(_without(tableau, boxes))}
    return tuple(product(product(before, symmetriser(tableau)), before).items())


def young_projector(tableau: Tableau) -> Element:
    """The orthogonal projector of a standard tableau; those of one number of boxes add up to the identity.

    Raises:
        ValueError: As `symmetriser`.
    """
    symmetriser(tableau)
    return dict(_projector(tableau))


def applied(element: Element, expression: Expression) -> Expression:
    """A sum of permutations on the free indices of an expression.

    Raises:
        ValueError: If the expression has another number of free indices.
    """
    if any(len(p) != len(expression.free) for p in element):
        raise ValueError(f"the permutations are of other numbers of indices than {expression.free!r} has")
    parts = []
    for p, c in element.items():
        names = {own: expression.free[k] for own, k in zip(expression.free, p, strict=True)}
        parts.append((c, Expression(expression.renamed(names).terms, expression.free)))
    return combined(parts)


def decompose_young(tableau: Tableau) -> Decomposition:
    """Irreducible parts of the tensors with the symmetry of a standard tableau, orthogonal, exact.

    Raises:
        ValueError: As `symmetriser`.
    """
    element = young_projector(tableau)
    below = lcm(*(c.denominator for c in element.values()))
    weights = tuple((p, int(c * below)) for p, c in sorted(element.items()))
    letters = ALPHABET[: sum(map(len, tableau))]
    name = "/".join("".join(letters[n - 1] for n in row) for row in tableau)
    return decomposed(name, len(letters), weights, below)
