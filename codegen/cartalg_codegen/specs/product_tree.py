"""Statements of a product basis: pair products once, their weighted sums coupled with the features again."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Self

from cartalg.symbolic.irreps import Irrep, Irreps, paths
from cartalg_codegen.program import Assign, Program, Ref, Slot, Where, live, statement
from cartalg_codegen.specs.rules import coupling_entries, orthonormal_squared

Terms = list[tuple[Fraction, tuple[Ref, ...]]]


@dataclass(frozen=True)
class Weight:
    """A weight of the product basis.

    Attributes:
        order: Number of factors A in all.
        label: What it multiplies, as a tree of couplings: ((A1o A1o)2e A1o)1o.
        out: Irrep of that.
        orthonormal_squared: Square of the factor that makes the couplings of the label orthonormal.
    """

    order: int
    label: str
    out: Irrep
    orthonormal_squared: Fraction

    @property
    def is_term(self) -> bool:
        """Whether it multiplies a term of the output; otherwise a triple inside the trees of order 4."""
        return self.label.count("A") == self.order

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        norm = str(self.orthonormal_squared)
        return {"order": self.order, "label": self.label, "out": str(self.out), "orthonormal_squared": norm}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From a manifest."""
        norm = Fraction(data["orthonormal_squared"])
        return cls(int(data["order"]), data["label"], Irrep.parse(data["out"]), norm)


class Term(NamedTuple):
    """A product that weights multiply: its irrep, label, squared normalisation and components."""

    irrep: Irrep
    label: str
    norm: Fraction
    refs: list[Ref]


def short(irrep: Irrep) -> str:
    """An irrep in the name of a variable: its rank, x behind it if it is axial."""
    return f"{irrep.l}{'x' if irrep.axial else ''}"


class ProductTree:
    """The program of one product basis and its weights.

    Args:
        features, outputs, intermediates: Irreps of A, of the result, and of what stands between.
        correlation: Highest number of factors.
        ordered: Keep A x B and B x A apart.
        chosen: Labels to have weights, all of one factor to four; those of four are products of two pairs. By default
            all of one to three, and trees of four that share their triples.
    """

    def __init__(
        self,
        features: Irreps,
        outputs: Irreps,
        intermediates: Irreps,
        correlation: int,
        ordered: bool = False,
        chosen: Container[str] | None = None,
    ) -> None:
        self.features, self.outputs, self.intermediates = features, outputs, intermediates
        self.ordered, self.chosen = ordered, chosen
        self.weights: list[Weight] = []
        self._body: list[Assign] = []
        self._titles: dict[str, str] = {"out": "sum over weights", "a": "features", "w": "weights"}
        self._sums: dict[Ref, Terms] = {}
        self._singles = [
            Term(irrep, f"A{irrep}", Fraction(1), [Ref("a", i) for i in range(place.start, place.stop)])
            for irrep, place in zip(features.irreps, features.slices, strict=True)
        ]
        self._add(1, self._singles)
        if correlation >= 2:
            pairs = self._pairs()
            self._add(2, pairs)
            if correlation >= 3:
                self._triples(pairs)
            if correlation >= 4:
                self._quadruples(pairs) if chosen is None else self._pairs_of_pairs(pairs)
        final = [statement(ref, self._sums.get(ref, [])) for irrep in outputs.irreps for ref in self._out(irrep)]
        slots = Slot("a", features.dim), Slot("w", len(self.weights), True, Where.SPECIES)
        out, summary = (Slot("out", outputs.dim),), f"Product basis to correlation {correlation}."
        self.program = Program("forward", summary, slots, out, live([*self._body, *final], out), self._titles)

    def _out(self, irrep: Irrep) -> list[Ref]:
        place = self.outputs.slice_of(irrep)
        return [Ref("out", i) for i in range(place.start, place.stop)]

    def _chosen(self, label: str) -> bool:
        return self.chosen is None or label in self.chosen

    def _add(self, order: int, terms: Sequence[Term]) -> None:
        """Weighted terms of the output."""
        for term in terms:
            if term.irrep in self.outputs.irreps and self._chosen(term.label):
                weight = self._weight(order, term.label, term.irrep, term.norm)
                for target, ref in zip(self._out(term.irrep), term.refs, strict=True):
                    self._sums.setdefault(target, []).append((Fraction(1), (weight, ref)))

    def _pairs(self) -> list[Term]:
        """Every nonzero pair product A x A, each unordered pair once."""
        result: list[Term] = []
        for i, first in enumerate(self._singles):
            for second in self._singles[0 if self.ordered else i :]:
                for left, right, out in paths((first.irrep,), (second.irrep,), self.intermediates.irreps):
                    if left == right and (left.l + right.l + out.l) % 2:
                        continue  # A x A is symmetric, a Levi-Civita coupling antisymmetric
                    label = f"({first.label} {second.label}){out}"
                    refs = self._named(f"A{short(left)}A{short(right)}_{short(out)}_", label, out)
                    self._couple(first, second, out, refs)
                    result.append(Term(out, label, orthonormal_squared(left.l, right.l, out.l), refs))
        return result

    def _coupled_pairs(self, order: int, pairs: list[Term], targets: Irreps) -> list[tuple[Term, Term, Irrep]]:
        """(weighted sum of the pairs of one irrep, A, output): each coupling has weights of its own."""
        mids = [m for m in self.intermediates.irreps if any(p.irrep == m for p in pairs)]
        found = []
        for mid, feature, out in paths(tuple(mids), self.features.irreps, targets.irreps):
            outer = orthonormal_squared(mid.l, feature.l, out.l)
            members = [p for p in pairs if p.irrep == mid and self._chosen(f"({p.label} A{feature}){out}")]
            if not members:
                continue
            weights = [self._weight(order, f"({p.label} A{feature}){out}", out, p.norm * outer) for p in members]
            what = f"weighted (A A){mid}, for ((A A){mid} A{feature}){out}"
            name = f"M{'' if order == 3 else order}_{short(mid)}A{short(feature)}_{short(out)}_"
            mixed = self._weighted(name, what, weights, members)
            single = next(s for s in self._singles if s.irrep == feature)
            found.append((Term(mid, "", Fraction(1), mixed), single, out))
        return found

    def _triples(self, pairs: list[Term]) -> None:
        """Order 3, straight into the outputs."""
        for mixed, feature, out in self._coupled_pairs(3, pairs, self.outputs):
            self._couple_into(mixed, feature, out)

    def _quadruples(self, pairs: list[Term]) -> None:
        """Triple products of every intermediate irrep, with weights of their own, coupled with A once more."""
        found: dict[Irrep, list[list[Ref]]] = {}
        for mixed, single, out in self._coupled_pairs(4, pairs, self.intermediates):
            label = f"(weighted (A A){mixed.irrep} A{single.irrep}){out}"
            name = f"AA{short(mixed.irrep)}A{short(single.irrep)}_{short(out)}_"
            refs = self._named(name, label, out)
            self._couple(mixed, single, out, refs)
            found.setdefault(out, []).append(refs)
        triples = {}
        for irrep, members in found.items():
            refs = self._named(f"AAA_{short(irrep)}_", f"(A A A){irrep}", irrep)
            for k, ref in enumerate(refs):
                self._body.append(statement(ref, [(Fraction(1), (m[k],)) for m in members]))
            triples[irrep] = refs
        for mid, feature, out in paths(tuple(triples), self.features.irreps, self.outputs.irreps):
            label = f"((A A A){mid} A{feature}){out}"
            weight = self._weight(4, label, out, orthonormal_squared(mid.l, feature.l, out.l))
            name = f"MAAA_{short(mid)}A{short(feature)}_{short(out)}_"
            weighted = self._named(name, f"weighted (A A A){mid}, for ((A A A){mid} A{feature}){out}", mid)
            for ref, triple in zip(weighted, triples[mid], strict=True):
                self._body.append(statement(ref, [(Fraction(1), (weight, triple))]))
            single = next(s for s in self._singles if s.irrep == feature)
            self._couple_into(Term(mid, label, Fraction(1), weighted), single, out)

    def _pairs_of_pairs(self, pairs: list[Term]) -> None:
        """Products of two pairs, straight into the outputs: the second with the sum of all that stand before it."""
        for number, second in enumerate(pairs):
            for mid in dict.fromkeys(p.irrep for p in pairs[: number + 1]):
                for _, _, out in paths((mid,), (second.irrep,), self.outputs.irreps):
                    members = [
                        p
                        for p in pairs[: number + 1]
                        if p.irrep == mid
                        and (p is not second or not (2 * mid.l + out.l) % 2)
                        and self._chosen(f"({p.label} {second.label}){out}")
                    ]
                    if not members:
                        continue
                    norm = second.norm * orthonormal_squared(mid.l, second.irrep.l, out.l)
                    labels = [f"({p.label} {second.label}){out}" for p in members]
                    weights = [
                        self._weight(4, label, out, p.norm * norm) for label, p in zip(labels, members, strict=True)
                    ]
                    what = f"weighted (A A){mid}, for ((A A){mid} {second.label}){out}"
                    mixed = self._weighted(f"M4_{short(mid)}P{number}_{short(out)}_", what, weights, members)
                    self._couple_into(Term(mid, "", Fraction(1), mixed), second, out)

    def _weighted(self, name: str, what: str, weights: Sequence[Ref], members: Sequence[Term]) -> list[Ref]:
        """A weighted sum of terms of one irrep."""
        mixed = self._named(name, what, members[0].irrep)
        for m, ref in enumerate(mixed):
            terms = [(Fraction(1), (w, p.refs[m])) for w, p in zip(weights, members, strict=True)]
            self._body.append(statement(ref, terms))
        return mixed

    def _weight(self, order: int, label: str, out: Irrep, norm: Fraction) -> Ref:
        self.weights.append(Weight(order, label, out, norm))
        return Ref("w", len(self.weights) - 1)

    def _named(self, name: str, title: str, irrep: Irrep) -> list[Ref]:
        """Components of an intermediate that has a name and says what it is."""
        self._titles[name] = title
        return [Ref(name, k) for k in range(irrep.dim)]

    def _couple(self, left: Term, right: Term, out: Irrep, targets: list[Ref]) -> None:
        terms: list[Terms] = [[] for _ in targets]
        for k, a, b, c in coupling_entries(left.irrep.l, right.irrep.l, out.l):
            terms[k].append((c, (left.refs[a], right.refs[b])))
        self._body += [statement(ref, t) for ref, t in zip(targets, terms, strict=True)]

    def _couple_into(self, left: Term, right: Term, out: Irrep) -> None:
        targets = self._out(out)
        for k, a, b, c in coupling_entries(left.irrep.l, right.irrep.l, out.l):
            self._sums.setdefault(targets[k], []).append((c, (left.refs[a], right.refs[b])))
