r"""Closed forms of given rank for people: projectors, harmonics and couplings in index notation.

A formula is a constant times a sum over m of coefficient_m {delta^m factors}, with the braces of the paper: the sum
over distinct index assignments. Source: docs/theory.md, eqs. 5, 20-23; Zaverkin et al. 2024 (arXiv:2405.14253).
"""

from fractions import Fraction
from math import factorial

from cartalg.symbolic.contraction import Contraction, contraction_constant
from cartalg.symbolic.notation import (
    Assignments,
    Brackets,
    Equation,
    Indexed,
    Node,
    Number,
    Parentheses,
    Power,
    Product,
    Projector,
    Sum,
    Symbol,
    node,
    scaled,
)
from cartalg.symbolic.polynomials import rational
from cartalg.symbolic.projector import projector_terms
from cartalg.symbolic.ranks import check_rank, double_factorial

#: Letters of free indices, of summed ones, and of the two that a Levi-Civita symbol sums: none is in two of them.
FREE, SUMMED, CROSSED = "ijklmnop", "stuvw", "qr"


def index_names(letters: str, count: int) -> tuple[Symbol, ...]:
    """So many different indices: the letters while they last, else the first of them with numbers, i_1, i_2, .."""
    if count <= len(letters):
        return tuple(Symbol(letter) for letter in letters[:count])
    return tuple(Symbol(letters[0], str(number)) for number in range(1, count + 1))


def projector_formula(rank: int) -> Equation:
    """The traceless part of x_{i1}..x_{il} [docs/theory.md, eq. 5]. Raises ValueError for an invalid rank."""
    applied = Parentheses(Product((Symbol("P"), Symbol("x")))) if check_rank(rank) else Symbol("P")
    return _harmonic(rank, Fraction(1), applied)


def harmonic_formula(rank: int) -> Equation:
    """The Cartesian harmonic T_l(v), constant (2l-1)!!/l! [docs/theory.md, eq. 7]. Raises ValueError for a bad rank."""
    check_rank(rank)
    return _harmonic(rank, Fraction(double_factorial(2 * rank - 1), factorial(rank)), Symbol("T"))


def _harmonic(rank: int, constant: Fraction, name: Node) -> Equation:
    free = index_names(FREE, rank)
    summands = []
    for m, coefficient in enumerate(projector_terms(rank)):
        factors = [*_deltas(free, m), *(_tensor("x", (index,)) for index in free[2 * m :])]
        radius = [Power(Symbol("r"), node(2 * m))] if m else []
        inner = _braced(factors, _assignments(rank, m, rank - 2 * m))
        summands.append(scaled(rational(coefficient), *inner, *radius))
    return Equation((_indexed(name, free), _times(constant, summands)))


def contraction_formula(l1: int, l2: int, l3: int) -> Equation:
    """T = c P[a b]: the coupling as a projected contraction [docs/theory.md, eqs. 16, 17, 22].

    Raises:
        ValueError: As `coupling`.
    """
    shape = Contraction(l1, l2, l3)
    free = index_names(FREE, l3)
    inside = Brackets(Product(tuple(_joined(shape, 0, free))))
    constant = rational(contraction_constant(l1, l2, l3))
    return Equation((_indexed(Symbol("T"), free), scaled(constant, Projector(node(l3)), inside)))


def coupling_formula(l1: int, l2: int, l3: int) -> Equation:
    r"""The coupling written out with Kronecker deltas, no projector left [docs/theory.md, eq. 21].

    .. math:: T = c \frac{p!\,q!}{l_3!} \sum_m (-2)^m \frac{(2l_3-2m-1)!!}{(2l_3-1)!!} \{\delta^m\, a \cdot^{k+m} b\}

    Raises:
        ValueError: As `coupling`.
    """
    shape = Contraction(l1, l2, l3)
    p, q = shape.free
    constant = rational(contraction_constant(l1, l2, l3)) * Fraction(factorial(p) * factorial(q), factorial(l3))
    free = index_names(FREE, l3)
    terms = projector_terms(l3)
    summands = []
    for m in range(min(p, q) + 1):
        inner = _braced(_joined(shape, m, free), _assignments(l3, m, p - m, q - m))
        summands.append(scaled(2**m * rational(terms[m]), *inner))
    return Equation((_indexed(Symbol("T"), free), _times(constant, summands)))


def _joined(shape: Contraction, m: int, free: tuple[Symbol, ...]) -> list[Node]:
    """delta^m [epsilon] a b with k + m contractions."""
    p, _ = shape.free
    most = shape.pairs + min(shape.free)  # one set of names for all m
    summed = index_names(SUMMED, most)[: shape.pairs + m]
    factors, rest = _deltas(free, m), free[2 * m :]
    first: tuple[Symbol, ...] = ()
    second: tuple[Symbol, ...] = ()
    if shape.epsilon:
        crossed = index_names(CROSSED, 2)
        factors.append(_tensor("epsilon", (rest[0], *crossed)))
        first, second, rest = crossed[:1], crossed[1:], rest[1:]
    factors.append(_tensor("a", (*first, *summed, *rest[: p - m])))
    factors.append(_tensor("b", (*second, *summed, *rest[p - m :])))
    return factors


def _tensor(letter: str, indices: tuple[Node, ...]) -> Node:
    return _indexed(Symbol(letter), indices)


def _indexed(body: Node, indices: tuple[Node, ...]) -> Node:
    return Indexed(body, indices) if indices else body


def _deltas(free: tuple[Symbol, ...], m: int) -> list[Node]:
    return [_tensor("delta", free[2 * i : 2 * i + 2]) for i in range(m)]


def _braced(factors: list[Node], assignments: int) -> list[Node]:
    """The factors, in braces where there is more than one assignment of the indices."""
    if assignments == 1 or not factors:
        return factors
    return [Assignments(factors[0] if len(factors) == 1 else Product(tuple(factors)))]


def _assignments(total: int, m: int, *groups: int) -> int:
    """Distinct assignments of `total` indices to m deltas and to symmetric groups of the given sizes."""
    count = factorial(total) // (2**m * factorial(m))
    for size in groups:
        count //= factorial(size)
    return count


def _times(constant: Fraction, summands: list[Node]) -> Node:
    """A constant times a sum, in brackets where there are more terms than one."""
    if len(summands) == 1:
        (only,) = summands
        if isinstance(only, Number):
            return Number(constant * only.value)
        return scaled(constant, only)
    body = Sum(tuple(summands))
    return body if constant == 1 else scaled(constant, Brackets(body))
