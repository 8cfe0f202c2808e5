r"""Powers of representations: symmetric, antisymmetric, and of any Young symmetry, as sums of irreps.

A representation of O(3) is told by how often each weight m occurs with each parity. Complete symmetric functions of
the weights are the character of a symmetric power, and the determinant of Jacobi and Trudi

.. math:: s_\lambda = \det\left[ h_{\lambda_i - i + j} \right]

that of a power of the symmetry of a Young diagram: whole numbers alone.
Source: Fulton & Harris, Representation Theory, 1991, appendix A and section 6.1; Littlewood 1950 (plethysm).
"""

from collections import Counter
from itertools import permutations

from cartalg.symbolic.irreps import Irrep, Irreps

#: How often a weight occurs with a parity: {(m, p): multiplicity}.
Character = Counter[tuple[int, int]]


def character(irreps: Irreps | str) -> Character:
    """Weights of a direct sum of irreps. Raises ValueError for a text that is none."""
    found: Character = Counter()
    for mul, irrep in Irreps(irreps):
        for m in range(-irrep.l, irrep.l + 1):
            found[m, irrep.p] += mul
    return found


def irreps_of(weights: Character) -> Irreps:
    """The direct sum with these weights, by rank, natural parity first. Raises ValueError if no sum has them."""
    found = []
    top = max((m for m, _ in weights), default=-1)
    for rank in range(top + 1):
        for parity in ((-1) ** rank, -((-1) ** rank)):
            mul = weights[rank, parity] - weights[rank + 1, parity]
            if mul < 0:
                raise ValueError("these weights are those of no representation")
            if mul:
                found.append((mul, Irrep(rank, parity)))
    return Irreps(found)


def times(left: Character, right: Character) -> Character:
    """The character of a product."""
    found: Character = Counter()
    for (m, p), a in left.items():
        for (n, q), b in right.items():
            found[m + n, p * q] += a * b
    return found


def complete(weights: Character, degree: int) -> list[Character]:
    """Characters of the symmetric powers 0..degree: h_k with h_k(.., w) = h_k(..) + w h_{k-1}(.., w)."""
    found: list[Character] = [Counter({(0, 1): 1}), *(Counter() for _ in range(degree))]
    for (m, p), mul in weights.items():
        for _ in range(mul):
            for k in range(1, degree + 1):
                for (n, q), count in list(found[k - 1].items()):
                    found[k][n + m, q * p] += count
    return found


def symmetric_power(irreps: Irreps | str, degree: int) -> Irreps:
    """Polynomials of a degree in the components of irreps: ``symmetric_power("1o", 3)`` is 1o + 3o.

    Raises:
        ValueError: If the text is no direct sum, or the degree is negative.
    """
    return young_power(irreps, (degree,) if degree else ())


def antisymmetric_power(irreps: Irreps | str, degree: int) -> Irreps:
    """The exterior power: ``antisymmetric_power("1o", 2)`` is 1e. Errors as `symmetric_power`."""
    return young_power(irreps, (1,) * degree)


def young_power(irreps: Irreps | str, diagram: tuple[int, ...]) -> Irreps:
    """Tensors in the components of irreps with the symmetry of a Young diagram.

    Args:
        irreps: A direct sum, like ``"2e"``.
        diagram: Lengths of its rows, not growing: (2, 1) is the mixed symmetry of three indices.
    Raises:
        ValueError: If the diagram is none, or the text is no direct sum.
    """
    if any(row < 1 for row in diagram) or list(diagram) != sorted(diagram, reverse=True):
        raise ValueError(f"rows of a Young diagram are positive and do not grow, got {list(diagram)}")
    if not diagram:
        return Irreps("0e")
    powers = complete(character(irreps), sum(diagram))
    total: Character = Counter()
    for order in permutations(range(len(diagram))):
        degrees = [row - i + j for i, (row, j) in enumerate(zip(diagram, order, strict=True))]
        if min(degrees) < 0:
            continue
        term: Character = Counter({(0, 1): _sign(order)})
        for degree in degrees:
            term = times(term, powers[degree])
        for weight, count in term.items():
            total[weight] += count
    return irreps_of(total)


def _sign(order: tuple[int, ...]) -> int:
    inversions = sum(order[i] > order[j] for j in range(len(order)) for i in range(j))
    return -1 if inversions % 2 else 1
