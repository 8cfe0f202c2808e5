r"""Invariant polynomials of a vector under a point group, and generators of them: exact, in x, y, z.

Operations act on monomials: a signed permutation of the axes sends one to another, and an n-fold axis along z leaves
eigenvalues of J_z = x d/dy - y d/dx that n divides, as for property tensors.
Source: Burnside 1911; Smith, Smith & Rivlin, Arch. Ration. Mech. 12, 93 (1963) (crystal classes).
"""

from collections.abc import Iterator
from fractions import Fraction

from cartalg.physics.point_groups import Generator, PointGroup, point_group
from cartalg.physics.properties import eliminate
from cartalg.symbolic.polynomials import AXES, RING, Polynomial, X, Y
from cartalg.symbolic.ranks import multi_indices

#: Degree to which generators are sought unless one is given: no crystal class has one of a higher degree (432 has 9).
TOP_DEGREE = 9


def invariant_polynomials(group: str | PointGroup, degree: int) -> tuple[Polynomial, ...]:
    """A basis of the homogeneous invariants of a degree, elements of `cartalg.symbolic.polynomials.RING`.

    Args:
        group: Hermann-Mauguin symbol, or a group; a prime has no meaning here.
        degree: From 0 up.
    Raises:
        ValueError: If the symbol is bad.
    """
    found = point_group(group) if isinstance(group, str) else group
    monomials = multi_indices(degree)
    columns = {e: n for n, e in enumerate(monomials)}
    rows: set[tuple[int, ...]] = set()
    for generator in found.generators:
        equations = [[0] * len(monomials) for _ in monomials]
        for e, n in columns.items():
            for to, value in _defect(generator, RING({e: RING.domain(1)}), degree).items():
                equations[columns[to]][n] = int(value)
        rows |= {tuple(row) for row in equations if any(row)}
    solved = eliminate(rows, len(monomials))
    free = [n for n in range(len(monomials)) if solved[n] == {n: Fraction(1)}]
    return tuple(RING({e: _field(solved[n][f]) for e, n in columns.items() if f in solved[n]}) for f in free)


def _field(value: Fraction) -> object:
    return RING.domain(value.numerator, value.denominator)


def _defect(generator: Generator, p: Polynomial, degree: int) -> Polynomial:
    """What an operation makes of a polynomial, less the polynomial; for an n-fold axis what `properties` says."""
    if generator.fold == 1:
        rows = [sum((c * axis for c, axis in zip(row, AXES, strict=True)), RING(0)) for row in generator.matrix]
        return p.compose(list(zip(AXES, rows, strict=True))) - p
    p = _turned(p)
    for k in range(1, degree // generator.fold + 1 if generator.fold else 1):
        p = _turned(_turned(p)) + (k * generator.fold) ** 2 * p
    return p


def _turned(p: Polynomial) -> Polynomial:
    return X * p.diff(Y) - Y * p.diff(X)


def integrity_polynomials(group: str | PointGroup, degree: int = TOP_DEGREE) -> tuple[Polynomial, ...]:
    """Polynomials of which every invariant polynomial of a vector is made, up to a degree.

    Raises:
        ValueError: If the symbol is bad.
    """
    found: list[Polynomial] = []
    for d in range(1, degree + 1):
        every, span = invariant_polynomials(group, d), _Span()
        for p in _products(found, d):
            span.add(p)
        for p in every:
            if len(span.kept) < len(every) and span.add(p):
                found.append(p)
    return tuple(found)


class _Span:
    """Polynomials in echelon form: none has the leading monomial of another."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int, int], Polynomial] = {}

    def add(self, p: Polynomial) -> bool:
        """Take a polynomial in; False if it is a combination of those that are there."""
        for lead, other in self.kept.items():
            if lead in p:
                p = p - p[lead] * other
        if not p:
            return False
        lead = p.leading_expv()
        self.kept[lead] = p.monic()
        return True


def _products(generators: list[Polynomial], degree: int, start: int = 0) -> Iterator[Polynomial]:
    """All monomials in the generators of this degree."""
    if degree == 0:
        yield RING(1)
    for n in range(start, len(generators)):
        own = sum(generators[n].leading_expv())
        if own <= degree:
            yield from (generators[n] * rest for rest in _products(generators, degree - own, n))
