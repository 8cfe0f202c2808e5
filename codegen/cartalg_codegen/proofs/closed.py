"""What each kernel is supposed to be: slow and simple, from docs/theory.md and `cartalg.symbolic` alone.

No program, layout or number of the generator is read here: a kernel is named by its kind and its ranks, and the order
of its components, paths and weights is enumerated again.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from flint import fmpq, fmpq_mat

from cartalg.symbolic.basis import harmonic_polynomials
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg.symbolic.ranks import double_factorial
from cartalg.symbolic.reducible import decompose
from cartalg_codegen.proofs.identities import Sparse
from cartalg_codegen.specs import CouplingSpec, HarmonicsSpec, KernelSpec, PackSpec, ProductSpec, RowSpec, UnpackSpec

#: What an array transforms as: a packed direct sum of irreps, or a Cartesian tensor of this rank, row-major.
Transforms = Irreps | int
#: Values by the name of their slot.
Values = dict[str, np.ndarray]


def rational(value: Any) -> fmpq:
    """A number of the symbolic layer."""
    return fmpq(int(value.numerator), int(value.denominator))


def components(kind: Transforms) -> int:
    """Number of components."""
    return 3**kind if isinstance(kind, int) else kind.dim


def parities(kind: Transforms) -> list[int]:
    """The sign of every component under inversion."""
    if isinstance(kind, int):
        return [(-1) ** kind] * 3**kind
    return [term.irrep.p for term in kind for _ in range(term.dim)]


@cache
def entries(l1: int, l2: int, l3: int) -> tuple[tuple[int, int, int, fmpq], ...]:
    """(k, a, b, C[k, a, b]) of a coupling that are not zero [docs/theory.md, eqs. 16-18]."""
    return tuple((k, a, b, rational(c)) for (k, a, b), c in coupling(l1, l2, l3).entries.items())


def couple(ranks: tuple[int, int, int], a: Any, b: Any) -> np.ndarray:
    """sum_ab C[k, a, b] a_a b_b."""
    out = zeros(2 * ranks[2] + 1)
    for k, i, j, c in entries(*ranks):
        out[k] = out[k] + a[i] * b[j] * c
    return out


def zeros(*shape: int) -> np.ndarray:
    """An array of the number 0."""
    out = np.empty(shape, dtype=object)
    out.fill(fmpq(0))
    return out


def harmonic(rank: int, v: Any) -> np.ndarray:
    """T_l(v) [docs/theory.md, eq. 7]."""
    rows = zeros(2 * rank + 1)
    for m, p in enumerate(harmonic_polynomials(rank)):
        for exponents, c in p.items():
            value: Any = rational(c)
            for axis in range(3):
                for _ in range(exponents[axis]):
                    value = value * v[axis]
            rows[m] = rows[m] + value
    return rows


def couplings(left: Irrep, right: Irrep) -> Iterator[Irrep]:
    """Every irrep that two can be coupled to: the triangle rule, and parities multiply."""
    for rank in range(abs(left.l - right.l), left.l + right.l + 1):
        yield Irrep(rank, left.p * right.p)


def norm_squared(left: Irrep, right: Irrep, out: Irrep) -> Fraction:
    """Square of the factor that makes a coupling orthonormal [docs/theory.md, eq. 19]."""
    value = coupling(left.l, right.l, out.l).orthonormal_squared
    return Fraction(int(value.numerator), int(value.denominator))


def harmonic_norm_squared(rank: int) -> Fraction:
    """Full contraction of T_l(n) with itself: (2l-1)!!/l! [docs/theory.md, eq. 7]."""
    return Fraction(double_factorial(2 * rank - 1), int(np.prod(range(1, rank + 1), dtype=object)))


def irreps_of(parity: str, rank: int) -> Irreps:
    """All irreps to a rank: of natural parity, or of both."""
    return Irreps.full(rank) if parity == "full" else Irreps.natural(rank)


@dataclass(frozen=True)
class Weight:
    """A weight of a product: what it multiplies, where that goes, its order, and its squared normalisation."""

    label: str
    order: int
    out: Irrep
    orthonormal_squared: Fraction


@dataclass(frozen=True)
class RowRule:
    """A kernel that works row by row.

    Attributes:
        inputs: Slots that are differentiated, and what they transform as.
        out: What the output transforms as.
        form: The output of one row and channel, from the values of all slots.
        weights: Of a product, whose slot w they are.
        lanes: Whether rows have channels.
    """

    inputs: dict[str, Transforms]
    out: Transforms
    form: Callable[[Values], np.ndarray]
    weights: tuple[Weight, ...] = ()
    lanes: bool = True

    @property
    def sizes(self) -> dict[str, int]:
        """Components of every slot that is read."""
        found = {slot: components(kind) for slot, kind in self.inputs.items()}
        return {**found, "w": len(self.weights)} if self.weights else found


def harmonics(max_rank: int) -> RowRule:
    """T_0 .. T_L of vectors."""

    def form(values: Values) -> np.ndarray:
        return np.concatenate([harmonic(rank, values["v"]) for rank in range(max_rank + 1)])

    return RowRule({"v": 1}, Irreps.natural(max_rank), form, lanes=False)


def pair(l1: int, l2: int, l3: int) -> RowRule:
    """The coupling of two tensors of natural parity."""
    left, right = Irrep.of_natural(l1), Irrep.of_natural(l2)
    out = Irreps([Irrep(l3, left.p * right.p)])
    inputs: dict[str, Transforms] = {"a": Irreps([left]), "b": Irreps([right])}
    return RowRule(inputs, out, lambda values: couple((l1, l2, l3), values["a"], values["b"]))


def packing(kind: str, formula: str) -> RowRule:
    """A Cartesian tensor to its irreducible parts (pack), or back (unpack) [docs/theory.md, eqs. 49, 50]."""
    found = decompose(formula)
    matrix = found.packing if kind == "pack" else found.unpacking
    rows = [[(fmpq(int(c.p), int(c.q)), i) for i, c in enumerate(matrix.row(r)) if c] for r in range(matrix.rows)]

    def form(values: Values) -> np.ndarray:
        out = zeros(len(rows))
        for k, row in enumerate(rows):
            for c, i in row:
                out[k] = out[k] + values["t"][i] * c
        return out

    parts = Irreps(Irrep(*irrep) for irrep in found.irreps)
    return RowRule({"t": found.order if kind == "pack" else parts}, parts if kind == "pack" else found.order, form)


@dataclass
class _Term:
    """One coupling of features, with its value for some features."""

    irrep: Irrep
    label: str
    norm: Fraction
    make: Callable[[], np.ndarray]

    @cached_property
    def value(self) -> np.ndarray:
        """Made when asked for."""
        return self.make()


@dataclass
class Product:
    """The product basis [docs/theory.md, eq. 40], term by term.

    Attributes:
        intermediates: What a product of two (and of three, at order 4) may be.
        chosen: Labels to have weights, and to be products of two pairs at order 4; None for all.
        listed: Terms of the last call that had weights, with their values.
    """

    features: Irreps
    outputs: Irreps
    correlation: int
    intermediates: Irreps
    ordered: bool
    chosen: Container[str] | None = None
    weights: list[Weight] = field(default_factory=list)
    listed: list[_Term] = field(default_factory=list)

    def __call__(self, a: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        """The output; without weights, what they are is all that is found."""
        self.weights, self.listed = [], []
        out = {irrep: zeros(irrep.dim) for irrep in self.outputs.irreps}

        def weigh(order: int, term: _Term) -> np.ndarray:
            if self.chosen is not None and term.label not in self.chosen:
                return zeros(term.irrep.dim)
            self.listed.append(term)
            self.weights.append(Weight(term.label, order, term.irrep, term.norm))
            return term.value if w is None else term.value * w[len(self.weights) - 1]

        singles = [
            _Term(irrep, f"A{irrep}", Fraction(1), partial(a.__getitem__, place))
            for irrep, place in zip(self.features.irreps, self.features.slices, strict=True)
        ]
        for irrep in self.outputs.irreps:
            for single in singles:
                if single.irrep == irrep:
                    out[irrep] = out[irrep] + weigh(1, single)
        pairs = self._pairs(singles) if self.correlation >= 2 else []
        for two in pairs:
            if two.irrep in out:
                out[two.irrep] = out[two.irrep] + weigh(2, two)

        def triples(targets: Irreps, order: int) -> Iterator[tuple[Irrep, np.ndarray]]:
            for target in targets.irreps:
                for mid in self.intermediates.irreps:
                    for single in singles:
                        if target in couplings(mid, single.irrep):
                            for two in pairs:
                                if two.irrep == mid:
                                    yield target, weigh(order, _coupled(two, single, target))

        if self.correlation >= 3:
            for irrep, value in triples(self.outputs, 3):
                out[irrep] = out[irrep] + value
        if self.correlation >= 4 and self.chosen is not None:
            for four in _of_pairs(pairs, self.outputs):
                out[four.irrep] = out[four.irrep] + weigh(4, four)
        elif self.correlation >= 4:
            sums: dict[Irrep, np.ndarray] = {}
            for irrep, value in triples(self.intermediates, 4):
                sums[irrep] = sums[irrep] + value if irrep in sums else value
            for irrep in self.outputs.irreps:
                for mid, value in sums.items():
                    three = _Term(mid, f"(A A A){mid}", Fraction(1), partial(_same, value))
                    for single in singles:
                        if irrep in couplings(mid, single.irrep):
                            out[irrep] = out[irrep] + weigh(4, _coupled(three, single, irrep))
        return np.concatenate([out[irrep] for irrep in self.outputs.irreps])

    def _pairs(self, singles: list[_Term]) -> list[_Term]:
        """Products of two, each once; A x A to an axial irrep of its own parity is zero."""
        found = []
        for i, first in enumerate(singles):
            for second in singles[0 if self.ordered else i :]:
                for irrep in self.intermediates.irreps:
                    if irrep in couplings(first.irrep, second.irrep):
                        vanishes = first is second and (2 * first.irrep.l + irrep.l) % 2
                        if not vanishes:
                            found.append(_coupled(first, second, irrep))
        return found


def _of_pairs(pairs: list[_Term], outputs: Irreps) -> Iterator[_Term]:
    """Products of two pairs, each once: by the second, then by irreps of the first in the order in which they come."""
    for number, second in enumerate(pairs):
        before = pairs[: number + 1]
        for mid in dict.fromkeys(p.irrep for p in before):
            for irrep in outputs.irreps:
                if irrep in couplings(mid, second.irrep):
                    for first in before:
                        vanishes = first is second and (2 * mid.l + irrep.l) % 2
                        if first.irrep == mid and not vanishes:
                            yield _coupled(first, second, irrep)


def _same(value: np.ndarray) -> np.ndarray:
    return value


def _coupled(first: _Term, second: _Term, out: Irrep) -> _Term:
    norm = first.norm * second.norm * norm_squared(first.irrep, second.irrep, out)
    return _Term(
        out,
        f"({first.label} {second.label}){out}",
        norm,
        lambda: couple((first.irrep.l, second.irrep.l, out.l), first.value, second.value),
    )


def independent(form: Product) -> frozenset[str]:
    """Labels of the terms that those before them, of the same order and output, do not span: by ranks over Q."""
    every = Product(form.features, form.outputs, form.correlation, form.intermediates, False, EveryLabel())
    random, rows = np.random.default_rng(1), dict[tuple[int, Irrep], list[list[fmpq]]]()
    found = list[str]()
    every(zeros(form.features.dim), None)
    kinds = [(w.order, w.out) for w in every.weights]
    for _ in range(max(Counter(kinds).values()) + 1):
        every(np.array([fmpq(int(v)) for v in random.integers(-9, 10, form.features.dim)]), None)
        for kind in dict.fromkeys(kinds):
            values = [t.value for t, k in zip(every.listed, kinds, strict=True) if k == kind]
            rows.setdefault(kind, []).extend(list(row) for row in zip(*values, strict=True))
    for kind, of_kind in rows.items():
        labels = [w.label for w, k in zip(every.weights, kinds, strict=True) if k == kind]
        solved, rank = fmpq_mat(of_kind).rref()
        found += [labels[next(k for k in range(len(labels)) if solved[n, k])] for n in range(rank)]
    return frozenset(found)


class EveryLabel:
    """All labels there are."""

    def __contains__(self, label: object) -> bool:
        return True


def product(parity: str, basis: str, features: int, outputs: int, correlation: int) -> RowRule:
    """The product basis: limited, complete, independent or ordered."""
    left = irreps_of(parity, features)
    intermediates = left if basis in ("limited", "ordered") else Irreps.full(2 * features)
    form = Product(left, irreps_of(parity, outputs), correlation, intermediates, basis == "ordered")
    if basis == "independent":
        form.chosen = independent(form)
    form(np.array([Sparse({})] * left.dim, dtype=object), None)
    weights = tuple(form.weights)
    return RowRule({"a": left}, form.outputs, lambda values: form(values["a"], values["w"]), weights)


def _fraction(value: Any) -> Any:
    """A rational as specifications compute with them; other numbers as they are."""
    return Fraction(int(value.p), int(value.q)) if isinstance(value, fmpq) else value


def stated(spec: RowSpec) -> RowRule:
    """The rule of a kind that none is written down for here: what its specification states apart from its program."""
    inputs = {name: spec.transforms(name) for name in spec.named("feature", "geometry")}
    free = [name for name, kind in {**inputs, "out": spec.transforms("out")}.items() if kind is None]
    if free or spec.parameter():
        raise ValueError(
            f"{spec.name}: how {(*free, spec.parameter())[0]} transforms is not known; write its rule here"
        )

    def form(values: Values) -> np.ndarray:
        given = {name: [_fraction(v) for v in values[name]] for name in inputs}
        out = zeros(spec.components["out"])
        out[:] = [rational(v) if isinstance(v, Fraction) else v for v in spec.closed_form(given)]
        return out

    return RowRule(inputs, spec.transforms("out"), form, lanes=spec.argument("out").lanes)  # type: ignore[arg-type]


def row_rule(spec: KernelSpec) -> RowRule:
    """The rule of a kernel that works row by row, from its ranks alone. Raises ValueError for one that does not."""
    if isinstance(spec, HarmonicsSpec):
        return harmonics(spec.max_rank)
    if isinstance(spec, CouplingSpec):
        return pair(spec.l1, spec.l2, spec.l3)
    if isinstance(spec, PackSpec | UnpackSpec):
        return packing(spec.kind, spec.symmetry)
    if isinstance(spec, ProductSpec):
        return product(spec.parity, spec.basis, spec.features, spec.outputs, spec.correlation)
    if isinstance(spec, RowSpec):
        return stated(spec)
    raise ValueError(f"{spec.name} does not work row by row")
