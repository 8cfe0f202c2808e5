r"""Cartesian 3j symbols with free indices, 6j and 9j symbols, exact.

The 3j symbol of three ranks is the isotropic tensor that couples them, symmetric and traceless in each group of
indices:

.. math:: W_{IJK}\, a_I b_J f_K = (a \otimes b)_{l_3} \cdot f, \qquad W \cdot W = (2l_3+1)/q

in the harmonic normalisation; divided by the root of W . W it is a 3j symbol, and closed contractions of four and six
of these are 6j and 9j symbols.
Source: Coope & Snider, J. Math. Phys. 11, 1003 (1970); Varshalovich, Moskalev & Khersonskii 1988, ch. 9, 10.
"""

from fractions import Fraction

import numpy as np
import sympy as sp

from cartalg.symbolic.basis import full_tensor_matrix, squared_norms, to_sympy
from cartalg.symbolic.contraction import Contraction
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.indexed import ALPHABET, Expression
from cartalg.symbolic.isotropic import MAX_ISOTROPIC_RANK, of_array
from cartalg.symbolic.reducible import integers
from cartalg.symbolic.spherical import recoupling


def cartesian_3j(l1: int, l2: int, l3: int, indices: str = "") -> tuple[Expression, Fraction]:
    """The isotropic tensor of three ranks in deltas and epsilons, and its squared norm W . W.

    Args:
        l1, l2, l3: Ranks; their sum is at most eight.
        indices: Letters, l1 + l2 + l3 of them; i, j, k, .. by default.
    Raises:
        ValueError: If the ranks do not couple, are too high, or letters are too few.
    """
    rule, total = coupling(l1, l2, l3), l1 + l2 + l3
    if total > MAX_ISOTROPIC_RANK:
        raise ValueError(f"3j symbols with indices are written out to {MAX_ISOTROPIC_RANK} indices, got {total}")
    letters = indices or ALPHABET[:total]
    if len(set(letters)) != total:
        raise ValueError(f"{total} different indices are needed, got {letters!r}")
    n1, n2 = squared_norms(l1), squared_norms(l2)
    maps = [integers(np.array(full_tensor_matrix(rank).tolist(), dtype=object)) for rank in (l1, l2, l3)]
    weights = integers(np.array([to_sympy(c / (n1[a] * n2[b])) for (_, a, b), c in rule.entries.items()], dtype=object))
    array = np.zeros((3**l1, 3**l2, 3**l3), dtype=object)
    for (k, a, b), c in zip(rule.entries, weights[0], strict=True):
        first, second, third = (m[:, n] for (m, _), n in zip(maps, (a, b, k), strict=True))
        array += c * first[:, None, None] * second[None, :, None] * third[None, None, :]
    denominator = weights[1] * maps[0][1] * maps[1][1] * maps[2][1]
    norm = to_sympy((2 * l3 + 1) / rule.orthonormal_squared)
    return of_array(array.reshape((3,) * total), denominator, letters), Fraction(int(norm.p), int(norm.q))


def six_j(j1: int, j2: int, j3: int, j4: int, j5: int, j6: int) -> sp.Expr:
    """The 6j symbol {j1 j2 j3; j4 j5 j6} from recoupling; 0 where a triple does not couple [docs/theory.md, eq. 34].

    Raises:
        ValueError: If a rank is invalid.
    """
    if not all(_couple(*t) for t in ((j1, j2, j3), (j4, j5, j3), (j2, j4, j6), (j1, j6, j5))):
        return sp.Integer(0)
    overlap = recoupling(j1, j2, j4, j5, j3, j6)
    return (-1) ** (j1 + j2 + j4 + j5) * overlap / sp.sqrt((2 * j3 + 1) * (2 * j6 + 1))


def nine_j(rows: tuple[tuple[int, int, int], ...]) -> sp.Expr:
    """The 9j symbol of three rows, a sum of products of three 6j symbols; 0 where a row or column does not couple.

    Raises:
        ValueError: If a rank is invalid.
    """
    (a, b, c), (d, e, f), (g, h, i) = rows
    if not all(_couple(*t) for t in (*rows, *zip(*rows, strict=True))):
        return sp.Integer(0)
    low, high = max(abs(a - i), abs(d - h), abs(b - f)), min(a + i, d + h, b + f)
    terms = [
        (2 * x + 1) * six_j(a, b, c, f, i, x) * six_j(d, e, f, b, x, h) * six_j(g, h, i, x, a, d)
        for x in range(low, high + 1)
    ]
    return sp.radsimp(sp.Add(*terms))


def _couple(l1: int, l2: int, l3: int) -> bool:
    try:
        Contraction(l1, l2, l3)
    except ValueError:
        if min(l1, l2, l3) < 0:
            raise
        return False
    return True
