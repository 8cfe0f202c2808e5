"""Printed index formulas read back: a parser of what `inspect` prints, and two exact evaluations of it.

Neither knows the code that made the formula. A formula is ``left = constant [ sum ]`` or ``left = constant P [ product
]``, a term a coefficient, factors with indices, in braces where they stand for a sum over distinct assignments of the
free indices, and a power of r.
"""

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, prod

import numpy as np
from sympy import QQ

from cartalg.symbolic.polynomials import AXES, RADIUS_SQUARED, RING, derivative
from cartalg.symbolic.projector import detrace
from cartalg.symbolic.ranks import multi_indices, multinomial

DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789" * 2)
LEVI_CIVITA = np.array([[[(i - j) * (j - k) * (k - i) // 2 for k in range(3)] for j in range(3)] for i in range(3)])
UNICODE = re.compile(
    r"(?P<number>\d+(?:/\d+)?)|(?P<sign>[+−])|(?P<open>\[)|(?P<close>\])|(?P<brace>\{)|(?P<unbrace>\})|(?P<P>P)"
    r"|(?P<radius>r[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|(?P<name>[δεxab])(?:_?(?P<indices>(?:[c-wz][₀-₉]*)+))?|(?P<space>\s+)"
)
INDICES = r"(?:[a-z](?:_\{\d+\})?\s?)+"
LATEX = re.compile(
    r"\\tfrac\{(?P<top>\d+)\}\{(?P<bottom>\d+)\}|(?P<number>\d+)|(?P<sign>[+-])|\\left(?P<open>\[)|\\right(?P<close>\])"
    r"|\\left\\(?P<brace>\{)|\\right\\(?P<unbrace>\})|(?P<P>P)\^\{\(\d+\)\}|(?P<radius>r\^\{\d+\})"
    rf"|(?P<name>\\delta|\\epsilon|[xab])(?:_\{{(?P<indices>{INDICES})\}})?|(?P<space>\s+|\\,)"
)
NAMES = {r"\delta": "δ", r"\epsilon": "ε"}
FORMS = {"unicode": UNICODE, "latex": LATEX}


@dataclass(frozen=True)
class Term:
    coefficient: Fraction
    factors: tuple[tuple[str, tuple[str, ...]], ...]
    braces: bool
    power: int

    def of(self, name):
        return [indices for found, indices in self.factors if found == name]

    @property
    def letters(self):
        return Counter(index for _, indices in self.factors for index in indices)


@dataclass(frozen=True)
class Printed:
    """What a printed formula says."""

    free: tuple[str, ...]
    constant: Fraction
    projected: bool
    terms: tuple[Term, ...]


def indices_of(text):
    return tuple(re.findall(r"[a-z]\d*", re.sub(r"_\{(\d+)\}", r"\1", (text or "").translate(DIGITS))))


def tokens(pattern, text):
    place = 0
    while place < len(text):
        match = pattern.match(text, place)
        assert match, f"cannot read {text[place : place + 20]!r}"
        place = match.end()
        groups = {k: v for k, v in match.groupdict().items() if v is not None}
        if "space" not in groups:
            yield groups


def read(text, form="unicode"):
    """Parse a formula as it is printed."""
    left, right = text.split(" = ", 1)
    name, _, indices = left.partition("_")
    assert name in ("T", "(P x)", "P"), f"cannot read {left!r}"
    free = indices_of(indices)
    stream = list(tokens(FORMS[form], right))
    constant, projected = Fraction(1), False
    if any("open" in t for t in stream):
        opening = next(n for n, t in enumerate(stream) if "open" in t)
        for token in stream[:opening]:
            if "P" in token:
                projected = True
            else:
                constant = number(token)
        assert "close" in stream[-1]
        stream = stream[opening + 1 : -1]
    terms, part, sign = [], [], 1
    for token in [*stream, {"sign": "+"}]:
        if "sign" in token:
            if part:
                terms.append(term(part, sign))
            part, sign = [], 1 if token["sign"] == "+" else -1
        else:
            part.append(token)
    return Printed(free, constant, projected, tuple(terms))


def number(token):
    return Fraction(int(token["top"]), int(token["bottom"])) if "top" in token else Fraction(token["number"])


def term(stream, sign):
    coefficient, factors, braces, power = Fraction(sign), [], False, 0
    for place, token in enumerate(stream):
        if "number" in token or "top" in token:
            assert place == 0, "a number may only stand in front"
            coefficient *= number(token)
        elif "brace" in token:
            braces = True
        elif "radius" in token:
            power = int(re.sub(r"\D", "", token["radius"].translate(DIGITS)))
        elif "name" in token:
            factors.append((NAMES.get(token["name"], token["name"]), indices_of(token.get("indices"))))
    return Term(coefficient, tuple(factors), braces, power)


def check(printed, ranks=None):
    """Index rules: every free index once in each term, every other one twice; braces where assignments differ."""
    assert len(set(printed.free)) == len(printed.free), "an index is free twice"
    for t in printed.terms:
        counts = t.letters
        assert {i for i, n in counts.items() if n == 1} == set(printed.free), f"free indices of {t}"
        summed = {i for i, n in counts.items() if n != 1}
        assert all(counts[i] == 2 for i in summed), f"an index more than twice in {t}"
        assert not summed & set(printed.free), f"an index both free and summed in {t}"
        assert all(len(i) == 2 for i in t.of("δ"))
        assert all(len(i) == 3 for i in t.of("ε"))
        assert all(len(i) == 1 for i in t.of("x"))
        if ranks:
            assert (len(t.of("a")[0]), len(t.of("b")[0])) == tuple(ranks)
        if not printed.projected:
            assert t.braces == (assignments(t) > 1), f"braces of {t}"
    return printed


def assignments(t):
    """Distinct ways to give the free indices to the factors."""
    counts = t.letters
    groups = Counter((name, sum(counts[i] == 1 for i in indices)) for name, indices in t.factors)
    total = sum(size * number for (_, size), number in groups.items())
    alike = prod(factorial(n) for (_, size), n in groups.items() if size)
    return factorial(total) // prod(factorial(size) ** n for (_, size), n in groups.items()) // alike


def rational(value):
    """A Fraction in the ring's field."""
    return QQ(value.numerator, value.denominator)


def polynomial(printed, tensors):
    """The formula as a polynomial, free indices contracted with (x, y, z): of a symmetric tensor nothing is forgotten.

    Args:
        tensors: Polynomials a and b, or the rational vector x.
    """
    total = RING(0)
    for t in printed.terms:
        value = RING(rational(t.coefficient)) * RADIUS_SQUARED ** len(t.of("δ"))
        if "x" in tensors:
            along = sum((rational(c) * axis for c, axis in zip(tensors["x"], AXES, strict=True)), RING(0))
            square = sum(c * c for c in tensors["x"])
            radius = square ** (t.power // 2)
            value *= along ** len(t.of("x")) * rational(Fraction(radius))
        else:
            value *= contracted(t, tensors["a"], tensors["b"])
        total += value * (assignments(t) if t.braces else 1)
    rank = len(printed.free)
    total = detrace(total, rank) if printed.projected else total
    return total * rational(printed.constant)


def contracted(t, a, b):
    """[epsilon] a b with the index pairs that the term says, as a polynomial."""
    (first,), (second,), crossed = t.of("a"), t.of("b"), t.of("ε")
    pairs = len(set(first) & set(second))
    orders = pairs + len(crossed)
    total = RING(0)
    for index in multi_indices(pairs):
        u, v = derivative(a, index), derivative(b, index)
        if crossed:
            (epsilon,) = crossed
            place = [next(n for n, i in enumerate(epsilon) if i in found) for found in (first, second)]
            slots = (3 - sum(place), *place)
            for axes in itertools.permutations(range(3)):
                sign = int(LEVI_CIVITA[tuple(axes[slots.index(s)] for s in range(3))])
                total += multinomial(index) * sign * AXES[axes[0]] * u.diff(AXES[axes[1]]) * v.diff(AXES[axes[2]])
        else:
            total += multinomial(index) * u * v
    for rank in (len(first), len(second)):
        total = total * QQ(factorial(rank - orders), factorial(rank))
    return total


def dense(printed, tensors):
    """The formula as an array, indices in order of the left side: slow, and nothing is assumed symmetric."""
    rank, total = len(printed.free), Fraction(0)
    names = dict(zip(printed.free, "ABCDEFGHIJ", strict=False))
    for t in printed.terms:
        summed = {i: chr(ord("a") + n) for n, i in enumerate(i for i, c in t.letters.items() if c == 2)}
        operands = [tensors[name] for name, _ in t.factors]
        letters = ["".join((names | summed)[i] for i in indices) for _, indices in t.factors]
        summing = f"{','.join(letters)}->{''.join(names.values())}"
        value = np.einsum(summing, *operands) if operands else np.array(Fraction(1))
        if t.braces:
            images = {}
            for p in itertools.permutations(range(rank)):
                moved = dict(zip(printed.free, [printed.free[i] for i in p], strict=True))
                key = tuple(sorted((name, tuple(sorted(moved[i] for i in ix if i in moved))) for name, ix in t.factors))
                images.setdefault(key, value.transpose(np.argsort(p)))
            assert len(images) == assignments(t)
            value = sum(images.values())
        radius = (tensors["x"] * tensors["x"]).sum() ** (t.power // 2) if t.power else 1
        total = total + t.coefficient * value * radius
    return printed.constant * total
