"""The multilinear forms that kernels are made of, as programs built from the exact rules.

Coefficients come from `cartalg.symbolic` alone. Derivatives are taken by `cartalg_codegen.derive`.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from math import factorial

from cartalg.symbolic.basis import harmonic_polynomials
from cartalg.symbolic.coupling import coupling, irreps_up_to, paths
from cartalg.symbolic.irreps import Irrep
from cartalg.symbolic.polynomials import double_factorial
from cartalg_codegen.derive import Implicit
from cartalg_codegen.program import Assign, Program, Ref, Slot, Term, live, statement


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


def spline_pieces() -> list[tuple[Fraction, ...]]:
    """The four uniform cubic B-splines on one knot interval: coefficients of 1, f, f^2, f^3."""
    pieces = ((1, -3, 3, -1), (4, 0, -6, 3), (1, 3, 3, -3), (0, 0, 0, 1))
    return [tuple(Fraction(c, 6) for c in coefficients) for coefficients in pieces]


#: q = 1/|v|: dq/dv_i = -q^3 v_i.
INVERSE_LENGTH: Implicit = {
    Ref("q", 0): tuple((Ref("v", i), Fraction(-1), (*(Ref("q", 0),) * 3, Ref("v", i))) for i in range(3))
}
#: Values of the radial splines, which come first in the slot z of an edge; the harmonics follow.
SPLINES = 4


def edge(edge_rank: int) -> Program:
    """What one edge contributes, whatever the channel: four B-splines of its length, then harmonics of its direction.

    Inputs: v the edge vector, q = 1/|v|, k the knot below |v|, s knots per angstrom.
    """
    q, s, k = Ref("q", 0), Ref("s", 0), Ref("k", 0)
    direction = [statement(Ref("n", i), [(1, (q, Ref("v", i)))]) for i in range(3)]
    square = statement(Ref("rr", 0), [(1, (Ref("v", i), Ref("v", i))) for i in range(3)])
    fraction_of_interval = statement(Ref("f", 0), [(1, (s, q, Ref("rr", 0))), (-1, (k,))])
    body = [square, fraction_of_interval, *direction]
    for place, powers in enumerate(spline_pieces()):
        body.append(statement(Ref("z", place), [(c, (Ref("f", 0),) * n) for n, c in enumerate(powers)]))
    for assign in harmonics(edge_rank).body:
        terms = [(t.coefficient, tuple(Ref("n", f.index) for f in t.factors)) for t in assign.terms]
        body.append(statement(Ref("z", SPLINES + assign.target.index), terms))
    inputs = (Slot("v", 3, False), Slot("q", 1, False), Slot("k", 1, False), Slot("s", 1, False))
    outputs = (Slot("z", SPLINES + (edge_rank + 1) ** 2, False),)
    return Program("edge", "Splines and harmonics of edge vectors v.", inputs, outputs, tuple(body))


@dataclass(frozen=True)
class ConvolutionPath:
    """One path of an edge convolution, with its places in the arrays."""

    left: Irrep
    edge: Irrep
    out: Irrep
    index: int
    left_offset: int
    out_offset: int
    out_stride: int
    orthonormal_squared: Fraction

    @property
    def label(self) -> str:
        """(l1, l2) -> l3."""
        return f"({self.left[0]}, {self.edge[0]}) -> {self.out[0]}"


@dataclass(frozen=True)
class Convolution:
    """Layout of an edge convolution: node features x edge harmonics -> separate paths.

    Output rows of irrep (l, p) with P paths are ordered [component, path], so that the channel mixing that follows is
    one matrix product over path and channel.
    """

    left: tuple[Irrep, ...]
    edge_rank: int
    outputs: tuple[Irrep, ...]

    @cached_property
    def paths(self) -> tuple[ConvolutionPath, ...]:
        """All paths, ordered by output irrep."""
        triples = list(paths(self.left, irreps_up_to(self.edge_rank), self.outputs))
        counts = {out: sum(1 for t in triples if t[2] == out) for out in self.outputs}
        starts, row = {}, 0
        for out in self.outputs:
            starts[out] = row
            row += counts[out] * (2 * out[0] + 1)
        left_offsets, result, seen = offsets(self.left), [], dict.fromkeys(self.outputs, 0)
        for index, (left, edge_irrep, out) in enumerate(triples):
            norm = fraction(coupling(left[0], edge_irrep[0], out[0]).orthonormal_squared)
            place = starts[out] + seen[out]
            result.append(ConvolutionPath(left, edge_irrep, out, index, left_offsets[left], place, counts[out], norm))
            seen[out] += 1
        return tuple(result)

    @property
    def reached(self) -> tuple[Irrep, ...]:
        """Outputs that at least one path leads to."""
        return tuple(o for o in self.outputs if any(p.out == o for p in self.paths))

    @property
    def rows(self) -> int:
        """Output rows: components of every path."""
        return sum(2 * p.out[0] + 1 for p in self.paths)

    @property
    def edge_size(self) -> int:
        """Components of slot z: splines and harmonics."""
        return SPLINES + (self.edge_rank + 1) ** 2

    @cached_property
    def _entries(self) -> tuple[dict[tuple[int, int, int], int], tuple[Assign, ...]]:
        """Where m[path, k, a] = sum_b C[k,a,b] y_b stands, each distinct sum once, and their statements."""
        known: dict[tuple[Term, ...], int] = {}
        places: dict[tuple[int, int, int], int] = {}
        for p in self.paths:
            if p.edge[0] == 0:
                continue
            sums: dict[tuple[int, int], list[tuple[Fraction, tuple[Ref, ...]]]] = {}
            for k, a, b, c in coupling_entries(p.left[0], p.edge[0], p.out[0]):
                sums.setdefault((k, a), []).append((c, (Ref("z", SPLINES + p.edge[0] ** 2 + b),)))
            for (k, a), terms in sums.items():
                places[p.index, k, a] = known.setdefault(statement(Ref("m", 0), terms).terms, len(known))
        return places, tuple(Assign(Ref("m", i), terms) for terms, i in known.items())

    def matrices(self) -> Program:
        """m_ka = sum_b C[k,a,b] y_b for every path: what one edge does to components, for all channels at once."""
        _, body = self._entries
        summary = "Couplings contracted with the harmonics of edges, each distinct sum once."
        return Program("matrices", summary, (Slot("z", self.edge_size, False),), (Slot("m", len(body), False),), body)

    def message(self, path: ConvolutionPath, weights: str = "table") -> Program:
        """One path on one edge: out_k = sum_a m_ka (w x_a), with w = sum_s z_s t_s interpolated, or given as slot w."""
        places, sums = self._entries
        constant = path.edge[0] == 0  # y_0 = 1: the matrix is the number C[k,a,0]
        fixed = {(k, a): c for k, a, _, c in coupling_entries(path.left[0], 0, path.out[0])} if constant else {}
        rows, columns = range(2 * path.out[0] + 1), range(2 * path.left[0] + 1)
        used = {(k, a): places[path.index, k, a] for k in rows for a in columns if (path.index, k, a) in places}
        body = [sums[i] for i in sorted(set(used.values()))]
        if weights == "table":
            body.append(statement(Ref("w", 0), [(1, (Ref("z", s), Ref("t", s))) for s in range(SPLINES)]))
        body += [statement(Ref("wx", a), [(1, (Ref("w", 0), Ref("x", a)))]) for a in columns]
        for k in rows:
            terms: list[tuple[Fraction | int, tuple[Ref, ...]]] = []
            terms += [(1, (Ref("m", used[k, a]), Ref("wx", a))) for a in columns if (k, a) in used]
            terms += [(fixed[k, a], (Ref("wx", a),)) for a in columns if (k, a) in fixed]
            body.append(statement(Ref("out", k), terms))
        radial = Slot("t", SPLINES) if weights == "table" else Slot("w", 1)
        inputs = (Slot("z", self.edge_size, False), radial, Slot("x", len(columns)))
        return Program("forward", f"Message {path.label}.", inputs, (Slot("out", len(rows)),), tuple(body))


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
    ordered: A x B and B x A have weights of their own, as if the factors were different (the paper's full product).
    """

    features: tuple[Irrep, ...]
    outputs: tuple[Irrep, ...]
    correlation: int
    complete: bool
    ordered: bool = False

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
                weight = self._weight(1, f"A{label_of(irrep)}", irrep, Fraction(1))
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
            for second in self.product.features[0 if self.product.ordered else i :]:
                for left, right, out in paths((first,), (second,), self.product.intermediates):
                    if left == right and (left[0] + right[0] + out[0]) % 2:
                        continue  # A x A is symmetric, an odd coupling antisymmetric
                    name = f"q{len(result)}_"
                    refs = [Ref(name, k) for k in range(2 * out[0] + 1)]
                    left_refs = [self._feature(left, a) for a in range(2 * left[0] + 1)]
                    right_refs = [self._feature(right, b) for b in range(2 * right[0] + 1)]
                    self._couple(left, right, out, left_refs, right_refs, refs)
                    norm = fraction(coupling(left[0], right[0], out[0]).orthonormal_squared)
                    result.append((out, f"(A{label_of(left)} A{label_of(right)}){label_of(out)}", norm, refs))
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
                self._weight(order, f"({label} A{label_of(feature)}){label_of(out)}", out, norm * outer)
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
            refs = [Ref(f"r{label_of(irrep)}_", k) for k in range(2 * irrep[0] + 1)]
            for k, ref in enumerate(refs):
                self.body.append(statement(ref, [(Fraction(1), (c[k],)) for c in members_refs]))
            sums[irrep] = refs
        return sums

    def _quadruples(self, pairs: list[tuple[Irrep, str, Fraction, list[Ref]]]) -> None:
        """Triple products of every intermediate irrep, with weights of their own, coupled with A once more."""
        triples = self._triples(pairs, self.product.intermediates, 4)
        for mid, feature, out in paths(tuple(triples), self.product.features, self.product.outputs):
            norm = fraction(coupling(mid[0], feature[0], out[0]).orthonormal_squared)
            weight = self._weight(4, f"(AAA{label_of(mid)} A{label_of(feature)}){label_of(out)}", out, norm)
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


def label_of(irrep: Irrep) -> str:
    """An irrep as part of a Python name: l of natural parity, lx of the axial kind."""
    rank, parity = irrep
    return f"{rank}" if parity == (-1) ** rank else f"{rank}x"
