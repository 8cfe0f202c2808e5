"""The multilinear forms that kernels are made of, as programs built from the exact rules.

Coefficients come from `cartalg.symbolic` alone. Derivatives are taken by `cartalg_codegen.derive`.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import factorial

from cartalg.symbolic.basis import harmonic_polynomials
from cartalg.symbolic.coupling import Irrep, coupling, irreps_up_to, paths
from cartalg.symbolic.polynomials import double_factorial
from cartalg_codegen.program import Assign, Program, Ref, Slot, live, statement


def fraction(value: object) -> Fraction:
    """An exact rational of the symbolic layer as a Fraction."""
    return Fraction(int(value.numerator), int(value.denominator))  # type: ignore[attr-defined]


def size(irreps: tuple[Irrep, ...]) -> int:
    """Packed components of a direct sum: sum of 2l+1."""
    return sum(2 * rank + 1 for rank, _ in irreps)


def offsets(irreps: tuple[Irrep, ...]) -> dict[Irrep, int]:
    """Where each irrep starts in a packed direct sum."""
    result, start = {}, 0
    for rank, parity in irreps:
        result[rank, parity] = start
        start += 2 * rank + 1
    return result


@cache
def coupling_entries(l1: int, l2: int, l3: int) -> tuple[tuple[int, int, int, Fraction], ...]:
    """(k, a, b, coefficient) of a coupling in the harmonic normalisation."""
    return tuple((k, a, b, fraction(c)) for (k, a, b), c in coupling(l1, l2, l3).entries.items())


def harmonic_squared_norm(rank: int) -> Fraction:
    """Full contraction of T_l(n) with itself for a unit vector n: (2l-1)!!/l!."""
    return Fraction(double_factorial(2 * rank - 1), factorial(rank))


def harmonics(max_rank: int) -> Program:
    """Cartesian harmonics T_0(v)..T_L(v), packed one after the other; homogeneous polynomials in v."""
    body, start = [], 0
    for rank in range(max_rank + 1):
        for m, p in enumerate(harmonic_polynomials(rank)):
            terms = [(fraction(c), tuple(Ref("v", i) for i in range(3) for _ in range(e[i]))) for e, c in p.items()]
            body.append(statement(Ref("y", start + m), terms))
        start += 2 * rank + 1
    size_out = (max_rank + 1) ** 2
    summary = f"Cartesian harmonics of rank 0 to {max_rank} of vectors v."
    return Program("forward", summary, (Slot("v", 3, False),), (Slot("y", size_out, False),), tuple(body))


def pair(l1: int, l2: int, l3: int) -> Program:
    """The coupling out_k = sum_ab C[k,a,b] a_a b_b, channel by channel."""
    terms: dict[int, list[tuple[Fraction, tuple[Ref, ...]]]] = {k: [] for k in range(2 * l3 + 1)}
    for k, a, b, c in coupling_entries(l1, l2, l3):
        terms[k].append((c, (Ref("a", a), Ref("b", b))))
    body = tuple(statement(Ref("out", k), t) for k, t in terms.items())
    inputs = (Slot("a", 2 * l1 + 1), Slot("b", 2 * l2 + 1))
    return Program("forward", f"Couple rank {l1} and rank {l2} to rank {l3}.", inputs, (Slot("out", 2 * l3 + 1),), body)


def message(rows: int, columns: int) -> Program:
    """One path on one edge: out_k = sum_a m_ka (w x_a); m is the coupling contracted with the edge harmonics."""
    body = [statement(Ref("wx", a), [(1, (Ref("w", 0), Ref("x", a)))]) for a in range(columns)]
    for k in range(rows):
        terms = [(1, (Ref("m", k * columns + a), Ref("wx", a))) for a in range(columns)]
        body.append(statement(Ref("out", k), terms))
    inputs = (Slot("m", rows * columns, False), Slot("w", 1), Slot("x", columns))
    summary = f"Message of one path, {columns} to {rows} components."
    return Program("forward", summary, inputs, (Slot("out", rows),), tuple(body))


def spline_basis(derivative: int = 0) -> Program:
    """The four uniform cubic B-splines on one knot interval, at fraction f of it, or a derivative to f."""
    pieces = {0: (1, -3, 3, -1), 1: (4, 0, -6, 3), 2: (1, 3, 3, -3), 3: (0, 0, 0, 1)}
    body = []
    for s, coefficients in pieces.items():
        powers = [Fraction(c, 6) for c in coefficients]
        for _ in range(derivative):
            powers = [n * c for n, c in enumerate(powers)][1:]
        body.append(statement(Ref("b", s), [(c, (Ref("f", 0),) * n) for n, c in enumerate(powers)]))
    name = f"spline_{derivative}" if derivative else "spline"
    summary = f"Cubic B-splines at fraction f of an interval, derivative {derivative}."
    return Program(name, summary, (Slot("f", 1, False),), (Slot("b", 4, False),), tuple(body))


@dataclass(frozen=True)
class ConvolutionPath:
    """One path of an edge convolution, with its places in the arrays."""

    left: Irrep
    edge: Irrep
    out: Irrep
    index: int
    left_offset: int
    matrix_offset: int
    out_offset: int
    out_stride: int
    orthonormal_squared: Fraction


@dataclass(frozen=True)
class Convolution:
    """Layout of an edge convolution: node features x edge harmonics -> separate paths.

    Output rows of irrep (l, p) with P paths are ordered [component, path], so that the channel mixing that follows is
    one matrix product over path and channel.
    """

    left: tuple[Irrep, ...]
    edge_rank: int
    outputs: tuple[Irrep, ...]

    @property
    def paths(self) -> tuple[ConvolutionPath, ...]:
        """All paths, ordered by output irrep."""
        triples = list(paths(self.left, irreps_up_to(self.edge_rank), self.outputs))
        counts = {out: sum(1 for t in triples if t[2] == out) for out in self.outputs}
        starts, row = {}, 0
        for out in self.outputs:
            starts[out] = row
            row += counts[out] * (2 * out[0] + 1)
        left_offsets, result, matrix, seen = offsets(self.left), [], 0, dict.fromkeys(self.outputs, 0)
        for index, (left, edge, out) in enumerate(triples):
            norm = fraction(coupling(left[0], edge[0], out[0]).orthonormal_squared)
            place = starts[out] + seen[out]
            result.append(ConvolutionPath(left, edge, out, index, left_offsets[left], matrix, place, counts[out], norm))
            seen[out] += 1
            matrix += (2 * left[0] + 1) * (2 * out[0] + 1)
        return tuple(result)

    @property
    def reached(self) -> tuple[Irrep, ...]:
        """Outputs that at least one path leads to."""
        return tuple(o for o in self.outputs if any(p.out == o for p in self.paths))

    def matrices(self) -> Program:
        """m_ka = sum_b C[k,a,b] y_b for every path: what one edge does to components, for all channels at once."""
        terms: dict[int, list[tuple[Fraction, tuple[Ref, ...]]]] = {}
        for p in self.paths:
            columns = 2 * p.left[0] + 1
            for i in range(columns * (2 * p.out[0] + 1)):
                terms[p.matrix_offset + i] = []
            for k, a, b, c in coupling_entries(p.left[0], p.edge[0], p.out[0]):
                terms[p.matrix_offset + k * columns + a].append((c, (Ref("y", p.edge[0] ** 2 + b),)))
        body = tuple(statement(Ref("m", i), t) for i, t in terms.items())
        inputs = (Slot("y", (self.edge_rank + 1) ** 2, False),)
        summary = "Couplings contracted with the harmonics of one edge."
        return Program("matrices", summary, inputs, (Slot("m", len(terms), False),), body)


@dataclass(frozen=True)
class Weight:
    """A weight of the product basis: its correlation order, what it multiplies, and its exact squared norm factor."""

    order: int
    label: str
    out: Irrep
    orthonormal_squared: Fraction


@dataclass(frozen=True)
class Product:
    """Product basis: `features` to the power 1..correlation -> `outputs`, through `intermediates`.

    complete: intermediates to twice the rank of the features and both parities, so every output irrep of the symmetric
    power is reached with its full multiplicity. Otherwise intermediates are limited to the features' own irreps, as in
    the paper. Evaluated as a tree: pair products once, their weighted sums coupled with the features again.
    """

    features: tuple[Irrep, ...]
    outputs: tuple[Irrep, ...]
    correlation: int
    complete: bool

    @property
    def intermediates(self) -> tuple[Irrep, ...]:
        """Irreps that a pair (and, at correlation 4, a triple) product may have."""
        if not self.complete:
            return self.features
        return irreps_up_to(2 * max(rank for rank, _ in self.features), full_parity=True)

    def build(self) -> tuple[Program, tuple[Weight, ...]]:
        """The forward program and its weights, in the order of the weight slot."""
        tree = _ProductTree(self)
        return tree.program(), tuple(tree.weights)


class _ProductTree:
    """Builds the statements of one product basis."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.starts = offsets(product.features)
        self.weights: list[Weight] = []
        self.body: list[Assign] = []
        self.sums: dict[tuple[Irrep, int], list[tuple[Fraction, tuple[Ref, ...]]]] = {}
        self.out_offsets = offsets(product.outputs)

    def program(self) -> Program:
        product = self.product
        for irrep in product.outputs:
            if irrep in product.features:
                weight = self._weight(1, f"A{_label(irrep)}", irrep, Fraction(1))
                for k in range(2 * irrep[0] + 1):
                    self._add(irrep, k, [(Fraction(1), (weight, self._feature(irrep, k)))])
        if product.correlation >= 2:
            pairs = self._pairs()
            for irrep, label, norm, refs in pairs:
                if irrep in product.outputs:
                    weight = self._weight(2, label, irrep, norm)
                    for k, ref in enumerate(refs):
                        self._add(irrep, k, [(Fraction(1), (weight, ref))])
            if product.correlation >= 3:
                self._triples(pairs, product.outputs, 3)
            if product.correlation >= 4:
                self._quadruples(pairs)
        total = size(product.outputs)
        final = [
            statement(Ref("out", self.out_offsets[irrep] + k), self.sums.get((irrep, k), []))
            for irrep in product.outputs
            for k in range(2 * irrep[0] + 1)
        ]
        outputs = (Slot("out", total),)
        body = live([*self.body, *final], outputs)
        inputs = (Slot("a", size(product.features)), Slot("w", len(self.weights)))
        summary = f"Product basis to correlation {product.correlation}."
        return Program("forward", summary, inputs, outputs, body)

    def _pairs(self) -> list[tuple[Irrep, str, Fraction, list[Ref]]]:
        """Every nonzero pair product A x A, each unordered pair once."""
        result: list[tuple[Irrep, str, Fraction, list[Ref]]] = []
        for i, first in enumerate(self.product.features):
            for second in self.product.features[i:]:
                for left, right, out in paths((first,), (second,), self.product.intermediates):
                    if left == right and (left[0] + right[0] + out[0]) % 2:
                        continue  # A x A is symmetric, an odd coupling antisymmetric
                    name = f"q{len(result)}_"
                    refs = [Ref(name, k) for k in range(2 * out[0] + 1)]
                    left_refs = [self._feature(left, a) for a in range(2 * left[0] + 1)]
                    right_refs = [self._feature(right, b) for b in range(2 * right[0] + 1)]
                    self._couple(left, right, out, left_refs, right_refs, refs)
                    norm = fraction(coupling(left[0], right[0], out[0]).orthonormal_squared)
                    result.append((out, f"(A{_label(left)} A{_label(right)}){_label(out)}", norm, refs))
        return result

    def _triples(
        self, pairs: list[tuple[Irrep, str, Fraction, list[Ref]]], targets: tuple[Irrep, ...], order: int
    ) -> dict[Irrep, list[Ref]]:
        """Weighted sums of pairs coupled with A. Order 3 adds to the outputs; otherwise returns the triple products."""
        triples: dict[Irrep, list[list[Ref]]] = {}
        mids = [m for m in self.product.intermediates if any(p[0] == m for p in pairs)]
        for mid, feature, out in paths(tuple(mids), self.product.features, targets):
            tag = f"{order}_{len(self.weights)}_"
            outer = fraction(coupling(mid[0], feature[0], out[0]).orthonormal_squared)
            members = [p for p in pairs if p[0] == mid]
            weights = [
                self._weight(order, f"({label} A{_label(feature)}){_label(out)}", out, norm * outer)
                for _, label, norm, _ in members
            ]
            mixed = [Ref(f"s{tag}", m) for m in range(2 * mid[0] + 1)]
            for m, ref in enumerate(mixed):
                terms = [(Fraction(1), (w, p[3][m])) for w, p in zip(weights, members, strict=True)]
                self.body.append(statement(ref, terms))
            feature_refs = [self._feature(feature, b) for b in range(2 * feature[0] + 1)]
            if order == 3:
                self._couple_into(mid, feature, out, mixed, feature_refs)
            else:
                refs = [Ref(f"c{tag}", k) for k in range(2 * out[0] + 1)]
                self._couple(mid, feature, out, mixed, feature_refs, refs)
                triples.setdefault(out, []).append(refs)
        sums = {}
        for irrep, members_refs in triples.items():
            refs = [Ref(f"r{_label(irrep)}_", k) for k in range(2 * irrep[0] + 1)]
            for k, ref in enumerate(refs):
                self.body.append(statement(ref, [(Fraction(1), (c[k],)) for c in members_refs]))
            sums[irrep] = refs
        return sums

    def _quadruples(self, pairs: list[tuple[Irrep, str, Fraction, list[Ref]]]) -> None:
        """Triple products of every intermediate irrep, with weights of their own, coupled with A once more."""
        triples = self._triples(pairs, self.product.intermediates, 4)
        for mid, feature, out in paths(tuple(triples), self.product.features, self.product.outputs):
            norm = fraction(coupling(mid[0], feature[0], out[0]).orthonormal_squared)
            weight = self._weight(4, f"(AAA{_label(mid)} A{_label(feature)}){_label(out)}", out, norm)
            mixed = [Ref(f"u{weight.index}_", m) for m in range(2 * mid[0] + 1)]
            for ref, triple in zip(mixed, triples[mid], strict=True):
                self.body.append(statement(ref, [(Fraction(1), (weight, triple))]))
            feature_refs = [self._feature(feature, b) for b in range(2 * feature[0] + 1)]
            self._couple_into(mid, feature, out, mixed, feature_refs)

    def _feature(self, irrep: Irrep, component: int) -> Ref:
        return Ref("a", self.starts[irrep] + component)

    def _weight(self, order: int, label: str, out: Irrep, norm: Fraction) -> Ref:
        self.weights.append(Weight(order, label, out, norm))
        return Ref("w", len(self.weights) - 1)

    def _add(self, irrep: Irrep, k: int, terms: list[tuple[Fraction, tuple[Ref, ...]]]) -> None:
        self.sums.setdefault((irrep, k), []).extend(terms)

    def _couple(
        self, left: Irrep, right: Irrep, out: Irrep, a_refs: list[Ref], b_refs: list[Ref], targets: list[Ref]
    ) -> None:
        terms: list[list[tuple[Fraction, tuple[Ref, ...]]]] = [[] for _ in targets]
        for k, a, b, c in coupling_entries(left[0], right[0], out[0]):
            terms[k].append((c, (a_refs[a], b_refs[b])))
        self.body += [statement(ref, t) for ref, t in zip(targets, terms, strict=True)]

    def _couple_into(self, left: Irrep, right: Irrep, out: Irrep, a_refs: list[Ref], b_refs: list[Ref]) -> None:
        for k, a, b, c in coupling_entries(left[0], right[0], out[0]):
            self._add(out, k, [(c, (a_refs[a], b_refs[b]))])


def _label(irrep: Irrep) -> str:
    """l for natural parity, l* for the axial kind; as part of a Python name, lx."""
    rank, parity = irrep
    return f"{rank}" if parity == (-1) ** rank else f"{rank}x"
