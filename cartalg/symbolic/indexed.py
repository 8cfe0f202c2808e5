r"""Expressions with indices: sums of products of tensors, deltas and epsilons, parsed, contracted, in canonical form.

A term is a rational times factors, each a letter with indices; an index that occurs twice is summed. Simplification
joins deltas with what they touch, takes out epsilons two at a time, epsilon epsilon being a determinant of deltas, and
names summed indices in one order, the least over the order of equal factors and over the symmetries of the tensors.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product
from math import gcd, lcm

from cartalg.symbolic.reducible import Signed, parse_formula

DELTA, EPSILON = "δ", "ε"
_SPELLED = {"delta": DELTA, "eps": EPSILON, "epsilon": EPSILON}
_TOKEN = re.compile(
    r"\s*(?:(?P<sign>[+-])|(?P<number>\d+(?:/\d+)?)|(?P<star>\*)"
    r"|(?P<name>[A-Za-zα-ωΑ-Ω]+\d*)(?:_(?:\{(?P<braced>[a-z ]+)\}|(?P<plain>[a-z]+)))?)"
)

Factor = tuple[str, str]
Term = tuple[Factor, ...]
#: Index symmetry of tensors by name, as `parse_formula` reads it.
Symmetries = Mapping[str, tuple[Signed, ...]]


@dataclass(frozen=True)
class Expression:
    """A sum of terms with the same free indices.

    Attributes:
        terms: {factors: coefficient}; each factor is (name, indices), indices one letter each.
        free: Free indices, in order.
    """

    terms: tuple[tuple[Term, Fraction], ...]
    free: str

    @classmethod
    def of(cls, terms: Mapping[Term, Fraction], free: str) -> "Expression":
        """Without zeros, in order."""
        return cls(tuple(sorted((t, c) for t, c in terms.items() if c)), free)

    def __add__(self, other: "Expression") -> "Expression":
        return combined(((Fraction(1), self), (Fraction(1), other)))

    def __sub__(self, other: "Expression") -> "Expression":
        return combined(((Fraction(1), self), (Fraction(-1), other)))

    def __rmul__(self, factor: int | Fraction) -> "Expression":
        return combined(((Fraction(factor), self),))

    def __mul__(self, other: "Expression") -> "Expression":
        """The product; free indices of both that are the same are summed."""
        other = other._fresh(self.letters)
        mine = self._fresh(other.letters)
        shared = set(self.free) & set(other.free)
        found: dict[Term, Fraction] = {}
        for (a, c), (b, d) in product(mine.terms, other.terms):
            found[a + b] = found.get(a + b, Fraction(0)) + c * d
        return Expression.of(found, "".join(i for i in self.free + other.free if i not in shared))

    @property
    def letters(self) -> set[str]:
        """Every index, free or summed."""
        return {i for term, _ in self.terms for _, indices in term for i in indices}

    def renamed(self, names: Mapping[str, str]) -> "Expression":
        """Other letters for free indices; summed ones make way."""
        fresh = self._fresh(set(names.values()))
        table = str.maketrans(dict(names))
        terms = {tuple((n, i.translate(table)) for n, i in t): c for t, c in fresh.terms}
        return Expression.of(terms, self.free.translate(table))

    def _fresh(self, taken: set[str]) -> "Expression":
        """Summed indices that are not among some letters."""
        found = {}
        for term, c in self.terms:
            used = {i for _, indices in term for i in indices}
            dummies = sorted(used - set(self.free))
            letters = (letter for letter in ALPHABET if letter not in used | taken | set(self.free))
            table = str.maketrans({d: next(letters) for d in dummies if d in taken})
            found[tuple((n, i.translate(table)) for n, i in term)] = c
        return Expression.of(found, self.free)

    def simplified(self, symmetries: Symmetries | None = None) -> "Expression":
        """Canonical: equal expressions, but for identities of the dimension, have equal terms."""
        found: dict[Term, Fraction] = {}
        for term, c in self.terms:
            for reduced, factor in _contracted(list(term), Fraction(c)):
                canonical, sign = _canonical(reduced, self.free, symmetries or {})
                found[canonical] = found.get(canonical, Fraction(0)) + sign * factor
        return Expression.of(found, self.free)

    @property
    def primitive(self) -> "Expression":
        """Times the positive or negative number that makes coefficients whole and coprime, the first one positive."""
        if not self.terms:
            return self
        below = lcm(*(c.denominator for _, c in self.terms))
        factor = Fraction(below, gcd(*(int(c * below) for _, c in self.terms)))
        return factor * self if self.terms[0][1] > 0 else -factor * self

    @property
    def tensors(self) -> dict[str, int]:
        """Letters that are neither delta nor epsilon, with their number of indices."""
        return {n: len(i) for t, _ in self.terms for n, i in t if n not in (DELTA, EPSILON)}

    def __str__(self) -> str:
        """As it can be parsed again."""
        if not self.terms:
            return "0"
        return " ".join(_written(t, c, first=n == 0) for n, (t, c) in enumerate(self.terms))


ALPHABET = "ijklmnopqrstuvwabcdefghxyz"


def _written(term: Term, c: Fraction, first: bool) -> str:
    sign = "-" if c < 0 else "" if first else "+"
    number = [] if abs(c) == 1 and term else [str(abs(c))]
    body = " ".join([*number, *(f"{n}_{i}" if i else n for n, i in term)])
    return f"{sign}{'' if first or not sign else ' '}{body}"


def combined(parts: Iterable[tuple[Fraction, Expression]]) -> Expression:
    """A linear combination of expressions with the same free indices. Raises ValueError if these differ."""
    found: dict[Term, Fraction] = {}
    free: str | None = None
    for factor, expression in parts:
        if free is None:
            free = expression.free
        if sorted(free) != sorted(expression.free):
            raise ValueError(f"free indices differ: {free!r} and {expression.free!r}")
        for term, c in expression.terms:
            found[term] = found.get(term, Fraction(0)) + factor * c
    return Expression.of(found, free or "")


def parse(text: str) -> Expression:
    """An expression like ``"a_ij b_jk n_k"`` or ``"1/2 T_ij + 1/2 T_ji - 1/3 delta_ij T_kk"``.

    Tensors are letters, Greek ones too, with indices of one lower-case letter each; `delta` or δ and `eps` or ε are the
    tensors of Kronecker and Levi-Civita. Free indices are in the order of the first term.

    Raises:
        ValueError: With what cannot be read, an index that occurs three times, or terms with different free indices.
    """
    found: dict[Term, Fraction] = {}
    free: str | None = None
    for coefficient, factors in _read(text):
        indices = "".join(i for _, i in factors)
        for i in set(indices):
            if indices.count(i) > 2:
                raise ValueError(f"{text!r}: index {i!r} occurs {indices.count(i)} times in a term; twice is a sum")
        own = "".join(i for i in dict.fromkeys(indices) if indices.count(i) == 1)
        if free is not None and sorted(own) != sorted(free):
            raise ValueError(f"{text!r}: free indices {own!r} of a term differ from {free!r} of the first")
        free = own if free is None else free
        found[tuple(factors)] = found.get(tuple(factors), Fraction(0)) + coefficient
    expression = Expression.of(found, free or "")
    ranks: dict[str, int] = {DELTA: 2, EPSILON: 3}
    for term, _ in expression.terms:
        for n, i in term:
            if ranks.setdefault(n, len(i)) != len(i):
                raise ValueError(f"{text!r}: {n} has {ranks[n]} indices in one place and {len(i)} in another")
    return expression


def _read(text: str) -> Iterable[tuple[Fraction, list[Factor]]]:
    at, sign, coefficient, factors, begun = 0, 1, Fraction(1), list[Factor](), False
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} cannot be read from {text[at:].strip()!r} on; write tensors as a_ij")
        at = match.end()
        if match["sign"]:
            if begun:
                yield sign * coefficient, factors
            sign, coefficient, factors, begun = -1 if match["sign"] == "-" else 1, Fraction(1), [], False
            continue
        begun = begun or not match["star"]
        if match["number"]:
            coefficient *= Fraction(match["number"])
        elif match["name"]:
            name = _SPELLED.get(match["name"], match["name"])
            factors.append((name, (match["braced"] or match["plain"] or "").replace(" ", "")))
    if not begun:
        raise ValueError(f"{text!r} ends where a term is expected")
    yield sign * coefficient, factors


def symmetries_of(formulas: Iterable[str]) -> dict[str, tuple[Signed, ...]]:
    """Symmetries by name of texts like ``"a_ij=a_ji"``. Raises ValueError for a text that is none."""
    found = {}
    for formula in formulas:
        parts = [re.fullmatch(r"\s*(-?)([A-Za-zα-ωΑ-Ω]+\d*)_\{?([a-z]+)\}?\s*", p) for p in formula.split("=")]
        names = {p[2] for p in parts if p}
        if not all(parts) or len(names) != 1:
            raise ValueError(f"{formula!r} is no symmetry of a tensor; write a_ij=a_ji")
        (name,) = names
        found[name] = parse_formula("=".join(p[1] + p[3] for p in parts if p))[1]
    return found


def _contracted(factors: list[Factor], c: Fraction) -> Iterable[tuple[Term, Fraction]]:
    """Deltas joined, epsilons multiplied out two at a time."""
    epsilons = [f for f in factors if f[0] == EPSILON]
    if len(epsilons) >= 2:
        rest = list(factors)
        for used in epsilons[:2]:
            rest.remove(used)
        (_, upper), (_, lower) = epsilons[:2]
        for order in permutations(range(3)):
            deltas = [(DELTA, upper[k] + lower[order[k]]) for k in range(3)]
            yield from _contracted(rest + deltas, c * _sign(order))
        return
    at = 0
    while at < len(factors):
        name, indices = factors[at]
        if name == EPSILON and len(set(indices)) < 3:
            return
        if name != DELTA:
            at += 1
            continue
        i, j = indices[0], indices[1]
        rest = factors[:at] + factors[at + 1 :]
        if i == j:
            factors, c, at = rest, 3 * c, 0
            continue
        others = "".join(k for _, k in rest)
        summed = i if i in others else j if j in others else None
        if summed is None:
            at += 1
            continue
        factors, at = [(n, k.replace(summed, j if summed == i else i)) for n, k in rest], 0
    yield tuple(factors), c


def _sign(order: tuple[int, ...]) -> int:
    inversions = sum(order[i] > order[j] for j in range(len(order)) for i in range(j))
    return -1 if inversions % 2 else 1


def _canonical(term: Term, free: str, symmetries: Symmetries) -> tuple[Term, int]:
    """The least form of a term over orders of equal factors and index symmetries, and its sign; 0 if it vanishes."""
    groups: dict[str, list[str]] = {}
    for name, indices in term:
        groups.setdefault(name, []).append(indices)
    signs: dict[Term, int] = {}
    letters = [i for i in ALPHABET if i not in free]
    orders = [
        list(permutations(v)) if any(set(i) - set(free) for i in v) else [tuple(sorted(v))]
        for _, v in sorted(groups.items())
    ]
    names = [n for n, v in sorted(groups.items()) for _ in v]
    for order in product(*orders):
        flat = [i for group in order for i in group]
        for moved in product(*(_images(n, i, symmetries) for n, i in zip(names, flat, strict=True))):
            table: dict[str, str] = {}
            for indices, _ in moved:
                for i in indices:
                    if i not in free and i not in table:
                        table[i] = letters[len(table)]
            renamed = [
                (n, "".join(table.get(i, i) for i in indices)) for n, (indices, _) in zip(names, moved, strict=True)
            ]
            sign = 1
            for _, s in moved:
                sign *= s
            candidate = tuple(sorted(renamed))
            if signs.setdefault(candidate, sign) != sign:
                return candidate, 0
    least = min(signs)
    return least, signs[least]


def _images(name: str, indices: str, symmetries: Symmetries) -> list[tuple[str, int]]:
    if name == DELTA:
        return [("".join(sorted(indices)), 1)]
    if name == EPSILON:
        return [("".join(indices[k] for k in o), _sign(o)) for o in permutations(range(3))]
    if name in symmetries:
        return [("".join(indices[k] for k in p), s) for p, s in symmetries[name]]
    return [(indices, 1)]
