"""Formulas of any rank: the projector, the harmonic, both kinds of couplings and their orthonormal factors.

Source: docs/theory.md, eqs. 5, 7, 21-23.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sympy as sp

from cartalg.symbolic.contraction import CouplingKind, contraction_constant, orthonormal_constant
from cartalg.symbolic.notation import (
    Assignments,
    Contracted,
    Dots,
    Equation,
    Factorial,
    Floor,
    Indexed,
    Node,
    Parentheses,
    Product,
    Projector,
    Series,
    Symbol,
    node,
    product,
)


@dataclass(frozen=True)
class General:
    """A formula of any rank.

    Attributes:
        equation: In index notation.
        constant: Its constant as a SymPy function of the ranks; for projector and harmonic, that of the summand m.
    """

    name: str
    equation: Equation
    constant: Callable[[], sp.Lambda]

    @property
    def title(self) -> str:
        """The name as a heading."""
        named = self.name.replace(CouplingKind.LEVI_CIVITA, CouplingKind.LEVI_CIVITA.word)
        named = named.replace("orthonormal", "coupling, orthonormal factor")
        return named[0].upper() + named[1:]


_l, _m, _h, _a, _b, _q, _alpha = (Symbol(letter) for letter in ("l", "m", "h", "a", "b", "q", "alpha"))
_l1, _l2, _l3 = (Symbol("l", digit) for digit in "123")
_k12, _k13, _k23 = _pairs = tuple(Symbol("k", digits) for digits in ("12", "13", "23"))
_x, _r, _delta, _epsilon = (Symbol(name) for name in ("x", "r", "delta", "epsilon"))


def _double(argument: Node) -> Factorial:
    return Factorial(argument, double=True)


def _indices(last: Node) -> tuple[Node, ...]:
    return Indexed(Symbol("i"), (node(1),)), Dots(), Indexed(Symbol("i"), (last,))


def _traces(rank: Node, base: int) -> Product:
    """base^m (2l-2m-1)!!/(2l-1)!!"""
    return product(node(base) ** _m, _double(2 * rank - 2 * _m - 1) / _double(2 * rank - 1))


def _projected() -> Series:
    braces = Assignments(product(_delta**_m, _x ** (_l - 2 * _m)))
    return Series(_m, product(_traces(_l, -1), _r ** (2 * _m), braces), node(0), Floor(_l / 2))


def _projector() -> Equation:
    vectors = (Indexed(_x, (Indexed(Symbol("i"), (node(1),)),)), Dots(), Indexed(_x, (Indexed(Symbol("i"), (_l,)),)))
    return Equation((product(Projector(_l), *vectors), _projected()))


def _harmonic() -> Equation:
    constant = _double(2 * _l - 1) / Factorial(_l)
    return Equation((Indexed(Symbol("T"), _indices(_l)), product(constant, _projected())))


def _where(shift: int) -> tuple[Equation, ...]:
    """What h and the numbers of index pairs mean; `shift` is the number of Levi-Civita symbols."""
    total = _l1 + _l2 + _l3 + shift if shift else _l1 + _l2 + _l3
    names = zip(_pairs, (_l3, _l2, _l1), strict=True)
    return (
        Equation((_h, total / 2)),
        *(Equation((name, _h - rank - shift if shift else _h - rank)) for name, rank in names),
    )


def _coupling(kind: CouplingKind) -> Equation:
    epsilon = int(kind is CouplingKind.LEVI_CIVITA)
    shift = 1 if epsilon else -1
    extra = (_l3, Parentheses(_l3 + 1)) if epsilon else ()
    top = product(Factorial(_l1), Factorial(_l2), _double(2 * _l3 - 1), *extra)
    bottom = product(Factorial(_h), *(_double(2 * n + shift) for n in _pairs))
    joined = Parentheses(Contracted(_a, _b, _k12 + _m))
    braces = Assignments(product(_delta**_m, *((_epsilon,) if epsilon else ()), joined))
    written = Series(_m, product(_traces(_l3, -2), braces))
    free = product(Factorial(_k13), Factorial(_k23)) / Factorial(_l3)
    return Equation((Indexed(Symbol("T"), _indices(_l3)), product(top / bottom, free, written)), _where(epsilon))


def _orthonormal(kind: CouplingKind) -> Equation:
    epsilon = int(kind is CouplingKind.LEVI_CIVITA)
    lead: Node = Parentheses(2 * _l3 + 1)
    if epsilon:
        lead = product(node(4), lead) / product(_l3 ** node(2), Parentheses(_l3 + 1) ** node(2))
    over = Factorial(2 * _h) if epsilon else Factorial(2 * _h + 1)
    triangle = product(*(Factorial(2 * n + 1 if epsilon else 2 * n) for n in _pairs)) / over
    multinomial = Parentheses(Factorial(_h) / product(*map(Factorial, _pairs))) ** node(2)
    norms = product(Indexed(_alpha, (_l1,)), Indexed(_alpha, (_l2,))) / Indexed(_alpha, (_l3,))
    meaning = (
        *_where(epsilon),
        Equation((Indexed(_alpha, (_l,)), _double(2 * _l - 1) / Factorial(_l))),
    )
    return Equation((_q, product(lead, triangle, multinomial, norms)), meaning)


def _summand(of: Callable[[sp.Symbol, sp.Symbol], sp.Expr]) -> Callable[[], sp.Lambda]:
    def make() -> sp.Lambda:
        l, m = sp.symbols("l m")  # noqa: E741
        return sp.Lambda((l, m), of(l, m))

    return make


def _traced(l: sp.Symbol, m: sp.Symbol) -> sp.Expr:  # noqa: E741
    return (-1) ** m * sp.factorial2(2 * l - 2 * m - 1) / sp.factorial2(2 * l - 1)


def _of_ranks(constant: Callable[..., sp.Expr], kind: CouplingKind) -> Callable[[], sp.Lambda]:
    def make() -> sp.Lambda:
        ranks = sp.symbols("l1 l2 l3")
        return sp.Lambda(ranks, constant(*ranks, kind))

    return make


def general_formulas() -> dict[str, General]:
    """By name: projector, harmonic, and for each `CouplingKind` its coupling and its orthonormal factor."""
    found = [
        General("projector", _projector(), _summand(_traced)),
        General(
            "harmonic",
            _harmonic(),
            _summand(lambda l, m: sp.factorial2(2 * l - 1) / sp.factorial(l) * _traced(l, m)),  # noqa: E741
        ),
    ]
    for kind in CouplingKind:
        found.append(General(f"{kind} coupling", _coupling(kind), _of_ranks(contraction_constant, kind)))
    for kind in CouplingKind:
        found.append(General(f"{kind} orthonormal", _orthonormal(kind), _of_ranks(orthonormal_constant, kind)))
    return {general.name: general for general in found}
