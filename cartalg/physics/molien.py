r"""How many invariants and covariants there are of each degree, by Molien's series.

For a finite group it is the mean of 1/det(1 - t g), for O(3) the same with the measure of Weyl: the multiplicity of an
irrep in a symmetric power, which :mod:`cartalg.symbolic.plethysm` counts by weights.
Source: Molien 1897; Stanley, Bull. Am. Math. Soc. 1, 475 (1979); Weyl, The Classical Groups, 1946.
"""

from collections import Counter
from collections.abc import Sequence

import sympy as sp

from cartalg.physics.point_groups import Operation, PointGroup
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg.symbolic.plethysm import character, complete, times

SCALAR = Irrep(0, 1)


def count_covariants(irreps: Sequence[Irrep], degrees: Sequence[int], covariant: Irrep = SCALAR) -> int:
    """Independent polynomials of given degrees in each of several irreps that turn like an irrep, under O(3).

    Args:
        irreps: The variables.
        degrees: A degree for each of them.
        covariant: What the polynomials turn like; 0e for invariants, 0o for pseudoscalars.
    Raises:
        ValueError: If lengths differ or a degree is negative.
    """
    total = Counter({(0, 1): 1})
    for irrep, degree in zip(irreps, degrees, strict=True):
        if degree < 0:
            raise ValueError(f"a degree is not negative, got {degree}")
        total = times(total, complete(character(Irreps([irrep])), degree)[degree])
    return total[covariant.l, covariant.p] - total[covariant.l + 1, covariant.p]


def molien_series(irreps: Irreps | str, degree: int, group: PointGroup | None = None) -> tuple[int, ...]:
    """Numbers of independent invariants of each degree 0..degree in the components of irreps.

    Args:
        irreps: The variables together, like ``"1o + 2e"``.
        degree: The last one.
        group: A finite point group; O(3) itself if none is given.
    Raises:
        ValueError: If the text is no direct sum, or the group is continuous.
    """
    if group is None:
        powers = complete(character(irreps), degree)
        return tuple(power[0, 1] - power[1, 1] for power in powers)
    total = [0] * (degree + 1)
    for operation in group.operations:
        for n, value in enumerate(_inverse(_determinant(operation, Irreps(irreps)), degree)):
            total[n] += value
    order = len(group.operations)
    return tuple(value // order for value in total)


def molien_function(irreps: Irreps | str, group: PointGroup, variable: sp.Symbol | None = None) -> sp.Expr:
    """Molien's series of a finite point group as a rational function of t, numerator and denominator factored.

    Raises:
        ValueError: As `molien_series`.
    """
    t = variable or sp.Symbol("t")
    classes: Counter[tuple[int, ...]] = Counter()
    for operation in group.operations:
        classes[tuple(_determinant(operation, Irreps(irreps)))] += 1
    terms = [n / sp.Poly(list(reversed(d)), t).as_expr() for d, n in classes.items()]
    return sp.factor(sp.together(sp.Add(*terms) / len(group.operations)))


def _determinant(operation: Operation, irreps: Irreps) -> list[int]:
    """det(1 - t g) on irreps, coefficients of 1, t, ..: (1 - t) times 1 - 2 cos(k angle) t + t^2, k = 1..l."""
    result = [1]
    for mul, irrep in irreps:
        sign = 1 if operation.determinant > 0 else irrep.p
        factors, before, now = [[1, -sign]], 2, operation.cosine
        for _ in range(irrep.l):
            factors.append([1, -sign * now, 1])
            before, now = now, operation.cosine * now - before
        for factor in factors * mul:
            result = [
                sum(result[n - k] * c for k, c in enumerate(factor) if 0 <= n - k < len(result))
                for n in range(len(result) + len(factor) - 1)
            ]
    return result


def _inverse(polynomial: list[int], degree: int) -> list[int]:
    """Coefficients of 1/polynomial to a degree; its first one is 1."""
    found = [1]
    for n in range(1, degree + 1):
        found.append(-sum(c * found[n - k] for k, c in enumerate(polynomial) if 0 < k <= n))
    return found
