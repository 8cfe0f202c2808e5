r"""Closed forms for people: projectors, harmonics and couplings in index notation, for given ranks or for any.

A formula is a constant times a sum over m of coefficient_m {delta^m factors}, with the braces of the paper: the sum
over distinct index assignments. Source: docs/theory.md, eqs. 5, 25-28; Zaverkin et al. 2024 (arXiv:2405.14253).
"""

from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from cartalg.symbolic.contraction import Contraction, contraction_constant
from cartalg.symbolic.polynomials import check_rank
from cartalg.symbolic.polynomials import rational as rational

#: Free indices, and indices that are summed over.
FREE, SUMMED = "ijklmnopuvwabcdefgh", "stuvwxyz"
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class Factor:
    """A tensor with indices: x_i, a_{sij}, delta_{ij}, epsilon_{iqr}; `power` for r^2m."""

    name: str
    indices: str = ""
    power: int = 1


@dataclass(frozen=True)
class Summand:
    """coefficient * {factors}, or without braces where there is but one assignment."""

    coefficient: Fraction
    factors: tuple[Factor, ...]
    braces: bool
    after: tuple[Factor, ...] = ()


@dataclass(frozen=True)
class Formula:
    """left = constant * sum of summands."""

    left: Factor
    constant: Fraction
    summands: tuple[Summand, ...]

    def latex(self) -> str:
        """As LaTeX, without delimiters."""
        body = self._joined(_latex_number, _latex_factor, r"\left\{", r"\right\}", r"\,")
        return f"{_latex_factor(self.left)} = {body}"

    def unicode(self) -> str:
        """As one line of text for a terminal."""
        return f"{_unicode_factor(self.left)} = {self._joined(str, _unicode_factor, '{', '}', ' ')}".replace("-", "−")

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _joined(self, number, factor, opening, closing, space) -> str:  # type: ignore[no-untyped-def]
        parts = []
        for n, s in enumerate(self.summands):
            value = "" if abs(s.coefficient) == 1 and s.factors else number(abs(s.coefficient)) + space
            inner = " ".join(factor(f) for f in s.factors)
            inner = f"{opening}{inner}{closing}" if s.braces else inner
            sign = "- " if s.coefficient < 0 else ("+ " if n else "")
            parts.append(f"{sign}{value}{' '.join([inner, *(factor(f) for f in s.after)])}".rstrip())
        body = " ".join(parts)
        if self.constant == 1:
            return body
        inside = body if len(parts) == 1 else f"[ {body} ]" if number is str else rf"\left[ {body} \right]"
        return f"{number(self.constant)}{space}{inside}"


def _latex_number(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else rf"\tfrac{{{value.numerator}}}{{{value.denominator}}}"


def _latex_factor(f: Factor) -> str:
    name = {"delta": r"\delta", "epsilon": r"\epsilon"}.get(f.name, f.name)
    return name + (f"_{{{f.indices}}}" if f.indices else "") + (f"^{{{f.power}}}" if f.power != 1 else "")


def _unicode_factor(f: Factor) -> str:
    name = {"delta": "δ", "epsilon": "ε"}.get(f.name, f.name.partition("^")[0])
    joined = f.indices if f.name in ("delta", "x") and f.indices else (f"_{f.indices}" if f.indices else "")
    return name + joined + (str(f.power).translate(_SUPERSCRIPT) if f.power != 1 else "")


def _odd_factorial(n: int) -> int:
    return int(sp.factorial2(n))


def _trace_coefficient(rank: int, m: int) -> Fraction:
    """(-1)^m (2l-2m-1)!!/(2l-1)!! [docs/theory.md, eq. 5]."""
    return Fraction((-1) ** m * _odd_factorial(2 * rank - 2 * m - 1), _odd_factorial(2 * rank - 1))


def _deltas(m: int, start: int = 0) -> list[Factor]:
    return [Factor("delta", FREE[start + 2 * i : start + 2 * i + 2]) for i in range(m)]


def _assignments(total: int, m: int, *groups: int) -> int:
    """Distinct assignments of `total` indices to m deltas and to symmetric groups of the given sizes."""
    count = int(sp.factorial(total)) // (2**m * int(sp.factorial(m)))
    for size in groups:
        count //= int(sp.factorial(size))
    return count


def projector_formula(rank: int) -> Formula:
    """The traceless part of x_{i1}..x_{il} [docs/theory.md, eq. 5]. Raises ValueError for an invalid rank."""
    return _harmonic(check_rank(rank), Fraction(1), "(P x)" if rank else "P")


def harmonic_formula(rank: int) -> Formula:
    """The Cartesian harmonic T_l(v), constant (2l-1)!!/l! [docs/theory.md, eq. 7]. Raises ValueError for a bad rank."""
    check_rank(rank)
    return _harmonic(rank, Fraction(_odd_factorial(2 * rank - 1), int(sp.factorial(rank))), "T")


def _harmonic(rank: int, constant: Fraction, name: str) -> Formula:
    summands = []
    for m in range(rank // 2 + 1):
        factors = _deltas(m) + [Factor("x", letter) for letter in FREE[2 * m : rank]]
        after = (Factor("r", power=2 * m),) if m else ()
        several = _assignments(rank, m, rank - 2 * m) > 1
        summands.append(Summand(_trace_coefficient(rank, m), tuple(factors), several, after))
    return Formula(Factor(name, FREE[:rank]), constant, tuple(summands))


def _joined_factors(shape: Contraction, m: int = 0) -> list[Factor]:
    """delta^m [epsilon] a b with k + m contractions."""
    p, q = shape.free
    summed, start = SUMMED[: shape.pairs + m], 2 * m
    result = _deltas(m)
    if shape.epsilon:
        result.append(Factor("epsilon", FREE[start] + "qr"))
        start += 1
    lead = ("q", "r") if shape.epsilon else ("", "")
    result.append(Factor("a", lead[0] + summed + FREE[start : start + p - m]))
    result.append(Factor("b", lead[1] + summed + FREE[start + p - m : start + p + q - 2 * m]))
    return result


def contraction_formula(l1: int, l2: int, l3: int) -> Formula:
    """T = c P[a b]: the coupling as a projected contraction [docs/theory.md, eqs. 10, 11, 26]."""
    shape = Contraction(l1, l2, l3)
    inside = (Factor(f"P^{{({l3})}}"), Factor("["), *_joined_factors(shape), Factor("]"))
    constant = rational(contraction_constant(l1, l2, l3))
    return Formula(Factor("T", FREE[:l3]), constant, (Summand(Fraction(1), inside, False),))


def coupling_formula(l1: int, l2: int, l3: int) -> Formula:
    r"""The coupling written out with Kronecker deltas, no projector left [docs/theory.md, eq. 25].

    .. math:: T = c \frac{p!\,q!}{l_3!} \sum_m (-2)^m \frac{(2l_3-2m-1)!!}{(2l_3-1)!!} \{\delta^m\, a \cdot^{k+m} b\}
    """
    shape = Contraction(l1, l2, l3)
    p, q = shape.free
    constant = rational(contraction_constant(l1, l2, l3) * sp.factorial(p) * sp.factorial(q) / sp.factorial(l3))
    summands = []
    for m in range(min(p, q) + 1):
        several = _assignments(l3, m, p - m, q - m) > 1
        summands.append(Summand(2**m * _trace_coefficient(l3, m), tuple(_joined_factors(shape, m)), several))
    return Formula(Factor("T", FREE[:l3]), constant, tuple(summands))


#: Formulas of any rank l, as (LaTeX, text).
GENERAL = {
    "projector": (
        r"P^{(l)}\, x_{i_1} \cdots x_{i_l} = \sum_{m=0}^{\lfloor l/2 \rfloor} (-1)^m \frac{(2l-2m-1)!!}{(2l-1)!!}\,"
        r" r^{2m} \left\{ \delta^m x^{l-2m} \right\}",
        "P x_i1..x_il = Σ_m≤l/2 (−1)^m (2l−2m−1)!!/(2l−1)!! r^2m {δ^m x^(l−2m)}",
    ),
    "harmonic": (
        r"T_{i_1 \cdots i_l}(x) = \frac{(2l-1)!!}{l!} \sum_{m=0}^{\lfloor l/2 \rfloor} (-1)^m"
        r" \frac{(2l-2m-1)!!}{(2l-1)!!}\, r^{2m} \left\{ \delta^m x^{l-2m} \right\}",
        "T_i1..il(x) = (2l−1)!!/l! Σ_m≤l/2 (−1)^m (2l−2m−1)!!/(2l−1)!! r^2m {δ^m x^(l−2m)}",
    ),
    "coupling": (
        r"T_{i_1 \cdots i_{l_3}} = \frac{l_1!\, l_2!\,(2l_3-1)!!}{h!\,(2k-1)!!\,(2a-1)!!\,(2b-1)!!}\;"
        r"\frac{a!\,b!}{l_3!} \sum_{m} (-2)^m \frac{(2l_3-2m-1)!!}{(2l_3-1)!!}"
        r" \left\{ \delta^m\, (x \overset{k+m}{\cdot} y) \right\}"
        r",\quad h = \tfrac{l_1+l_2+l_3}{2},\; k = h-l_3,\; b = h-l_1,\; a = h-l_2",
        "T = l1! l2! (2l3−1)!! / (h! (2k−1)!! (2a−1)!! (2b−1)!!) a! b!/l3! Σ_m (−2)^m (2l3−2m−1)!!/(2l3−1)!!"
        " {δ^m (x ·^(k+m) y)},  h = (l1+l2+l3)/2, k = h−l3, a = h−l2, b = h−l1",
    ),
    "levi-civita coupling": (
        r"T_{i_1 \cdots i_{l_3}} = \frac{l_1!\, l_2!\,(2l_3-1)!!\; l_3(l_3+1)}{h!\,(2k+1)!!\,(2a+1)!!\,(2b+1)!!}\;"
        r"\frac{a!\,b!}{l_3!} \sum_{m} (-2)^m \frac{(2l_3-2m-1)!!}{(2l_3-1)!!}"
        r" \left\{ \delta^m\, \epsilon\, (x \overset{k+m}{\cdot} y) \right\}"
        r",\quad h = \tfrac{l_1+l_2+l_3+1}{2},\; k = h-1-l_3,\; b = h-1-l_1,\; a = h-1-l_2",
        "T = l1! l2! (2l3−1)!! l3 (l3+1) / (h! (2k+1)!! (2a+1)!! (2b+1)!!) a! b!/l3! Σ_m (−2)^m (2l3−2m−1)!!/(2l3−1)!!"
        " {δ^m ε (x ·^(k+m) y)},  h = (l1+l2+l3+1)/2, k = h−1−l3, a = h−1−l2, b = h−1−l1",
    ),
    "orthonormal": (
        r"q = (2l_3+1)\, \frac{(J-2l_1)!\,(J-2l_2)!\,(J-2l_3)!}{(J+1)!} \left( \frac{h!}{k!\,a!\,b!} \right)^2"
        r" \frac{A_{l_1} A_{l_2}}{A_{l_3}},\quad J = l_1+l_2+l_3,\; A_l = \frac{(2l-1)!!}{l!}",
        "q = (2l3+1) (J−2l1)! (J−2l2)! (J−2l3)!/(J+1)! (h!/(k! a! b!))² A(l1) A(l2)/A(l3),"
        "  J = l1+l2+l3, A(l) = (2l−1)!!/l!",
    ),
    "levi-civita orthonormal": (
        r"q = \frac{4\,(2l_3+1)}{l_3^2 (l_3+1)^2}\, \frac{(J-2l_1)!\,(J-2l_2)!\,(J-2l_3)!}{(J+1)!}"
        r" \left( \frac{h!}{k!\,a!\,b!} \right)^2 \frac{A_{l_1} A_{l_2}}{A_{l_3}}",
        "q = 4 (2l3+1)/(l3 (l3+1))² (J−2l1)! (J−2l2)! (J−2l3)!/(J+1)! (h!/(k! a! b!))² A(l1) A(l2)/A(l3),"
        "  J = l1+l2+l3, A(l) = (2l−1)!!/l!",
    ),
}
