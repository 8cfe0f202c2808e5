"""Proofs about emitted kernels that work row by row: harmonics, couplings, products.

The source is run on polynomials. Then equality with the closed form, of derivative functions with derivatives, and
equivariance under the generators of so(3) are identities between polynomials. Source: docs/theory.md, section 7.
"""

import re
from math import prod
from typing import Any

import numpy as np

from cartalg.symbolic.basis import harmonic_polynomials
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.formulas import rational
from cartalg.symbolic.irreps import Irrep
from cartalg.symbolic.reducible import decompose
from cartalg.symbolic.rotation import generator
from cartalg_codegen.forms import fraction, label_of, offsets
from cartalg_codegen.proofs import exact
from cartalg_codegen.proofs.identities import Space, Sparse, gradient, number, tangent


class Disproved(AssertionError):
    """An emitted kernel that is not what its rule says."""


def require(condition: bool, what: str) -> None:
    """Raise Disproved unless the condition holds."""
    if not condition:
        raise Disproved(what)


#: What a slot transforms as: a packed direct sum of irreps, or a Cartesian tensor of this rank, row-major.
Transforms = tuple[Irrep, ...] | int


def transforms(facts: dict[str, Any]) -> dict[str, Transforms]:
    """How each slot of a row kernel transforms; weights are invariant and not listed."""
    if facts["kind"] == "harmonics":
        return {"v": 1, "out": tuple((rank, (-1) ** rank) for rank in range(facts["max_rank"] + 1))}
    if facts["kind"] == "coupling":
        l1, l2, l3 = facts["ranks"]
        return {"a": ((l1, (-1) ** l1),), "b": ((l2, (-1) ** l2),), "out": ((l3, (-1) ** (l1 + l2)),)}
    if facts["kind"] == "product":
        return {"a": tuple(map(tuple, facts["features"])), "out": tuple(map(tuple, facts["outputs"]))}
    found = decompose(facts["formula"])
    parts = (found.order, found.irreps) if facts["kind"] == "pack" else (found.irreps, found.order)
    return dict(zip(("t", "out"), parts, strict=True))  # type: ignore[arg-type]


def parities(kind: Transforms) -> list[int]:
    """The sign of every component under inversion."""
    if isinstance(kind, int):
        return [(-1) ** kind] * 3**kind
    return [parity for rank, parity in kind for _ in range(2 * rank + 1)]


def couple(ranks: tuple[int, int, int], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The coupling from its exact entries."""
    out = np.array([Sparse({}) for _ in range(2 * ranks[2] + 1)], dtype=object)
    for (k, i, j), c in coupling(*ranks).entries.items():
        out[k] = out[k] + a[i] * b[j] * fraction(c)
    return out


def closed_form(facts: dict[str, Any], inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The output of a row kernel from the rules alone, no generated program involved."""
    if facts["kind"] == "coupling":
        return couple(facts["ranks"], inputs["a"], inputs["b"])
    if facts["kind"] == "harmonics":
        return np.concatenate([harmonic(rank, inputs["v"]) for rank in range(facts["max_rank"] + 1)])
    if facts["kind"] == "product":
        return _product(facts, inputs["a"], inputs["w"])
    found = decompose(facts["formula"])
    matrix = found.packing if facts["kind"] == "pack" else found.unpacking
    rows = [[(rational(c), i) for i, c in enumerate(matrix.row(r)) if c] for r in range(matrix.rows)]
    return np.array([sum((inputs["t"][i] * c for c, i in row), Sparse({})) for row in rows], dtype=object)


def harmonic(rank: int, v: np.ndarray) -> np.ndarray:
    """T_l(v) from its polynomials."""
    powers: list[list[Any]] = [[Sparse.of(1)] for _ in range(3)]
    for axis in range(3):
        for _ in range(rank):
            powers[axis].append(powers[axis][-1] * v[axis])
    rows = []
    for p in harmonic_polynomials(rank):
        terms = (powers[0][e[0]] * powers[1][e[1]] * powers[2][e[2]] * fraction(c) for e, c in p.items())
        rows.append(sum(terms, Sparse({})))
    return np.array(rows, dtype=object)


def _product(facts: dict[str, Any], a: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A product basis read off the labels of its weights, like ((A1 A1)2 A1)1."""
    features, outputs = (tuple(map(tuple, facts[name])) for name in ("features", "outputs"))
    starts, known = offsets(features), {label_of(i): i for i in features}
    trees: dict[str, tuple[Irrep, np.ndarray]] = {}

    def tree(label: str) -> tuple[Irrep, np.ndarray]:
        if label not in trees:
            trees[label] = _build(label)
        return trees[label]

    def _build(label: str) -> tuple[Irrep, np.ndarray]:
        if label.startswith("A"):
            irrep = known[label[1:]]
            return irrep, a[starts[irrep] : starts[irrep] + 2 * irrep[0] + 1]
        inner, name = re.fullmatch(r"\((.*)\)(\d+x?)", label).groups()  # type: ignore[union-attr]
        first, _, second = inner.rpartition(" ")
        (left, x), (right, y) = tree(first), tree(second)
        irrep = (int(name.rstrip("x")), left[1] * right[1])
        require(label_of(irrep) == name, f"the weight {label} has a label of the wrong parity")
        return irrep, couple((left[0], right[0], irrep[0]), x, y)

    out = {irrep: np.array([Sparse({})] * (2 * irrep[0] + 1), dtype=object) for irrep in outputs}
    triples: dict[str, tuple[Irrep, np.ndarray]] = {}
    for place, weight in enumerate(facts["weights"]):
        target = tuple(weight["out"])
        if weight["order"] < 4:
            irrep, value = tree(weight["label"])
            out[irrep] = out[irrep] + value * w[place]
        elif not weight["label"].startswith("(AAA"):  # part of a weighted sum of triples, coupled below
            irrep, value = tree(weight["label"])
            name = f"AAA{label_of(target)}"  # type: ignore[arg-type]
            before = triples.get(name, (irrep, value * 0))[1]
            triples[name] = (irrep, before + value * w[place])
        else:
            trees.update(triples)
            label = weight["label"]
            name, feature = label[1 : label.rindex(")")].split(" ")
            mid, x = triples[name]
            right, y = tree(feature)
            out[target] = out[target] + couple((mid[0], right[0], target[0]), x, y) * w[place]  # type: ignore
    return np.concatenate([out[irrep] for irrep in outputs])


class RowKernel:
    """One emitted row kernel, run on polynomials: one row, one channel."""

    def __init__(self, facts: dict[str, Any], text: str, backend: str, name: str) -> None:
        self.facts, self.backend, self.name = facts, backend, name
        self.functions = exact.load(text, name)
        self.space, self.kinds = Space(), transforms(facts)
        self.inputs = {s: self.space.variables(len(parities(k))) for s, k in self.kinds.items() if s != "out"}
        self.features = tuple(self.inputs)
        if facts["kind"] == "product":
            self.inputs["w"] = self.space.variables(len(facts["weights"]))
        self.g = self.space.variables(len(parities(self.kinds["out"])))
        self.moves = {s: self.space.variables(len(self.inputs[s])) for s in self.features}

    def run(self, stage: str, *extra: np.ndarray) -> list[np.ndarray]:
        """Components of each result of a stage."""
        lanes, species = self.facts["kind"] != "harmonics", "w" in self.inputs
        arrays = [a.reshape(1, -1, 1) if lanes else a.reshape(1, -1) for a in (*self.inputs.values(), *extra)]
        index = [np.array([0])] if species else []
        if self.backend == "torch":
            result = self.functions[stage](*index, *[a.view(exact.ExactTensor) for a in arrays])
            return [np.asarray(r).reshape(-1) for r in (result if isinstance(result, tuple) else (result,))]
        slots = ["out"] if stage.startswith("forward") else self.results(stage)
        found = []
        for slot in slots:
            length = len(self.g) if slot == "out" else len(self.inputs[slot])
            shape = (1, length, 1) if lanes else (1, length)
            found.append(np.full((1, *shape) if slot == "w" else shape, 0, dtype=object))
        self.functions[stage](0, 1, 0, *index, *arrays, *found)
        return [f.reshape(-1) for f in found]

    def results(self, stage: str) -> list[str]:
        """Slots that a backward stage has gradients for."""
        return [*self.features, *(["w"] if stage.endswith("_w") else [])]

    def prove(self) -> None:
        """Closed form, equivariance, parity, derivatives. Raises Disproved with what fails."""
        (out,) = self.run("forward")
        require(same(out, closed_form(self.facts, self.inputs)), "forward is not the closed form")
        self._equivariant(out)
        (moved,) = self.run("forward_tangent", *self.moves.values())
        require(same(moved, tangent(out, self.inputs, self.moves)), "forward_tangent is not the derivative of forward")
        for suffix in ("", "_w") if "w" in self.inputs else ("",):
            stage = f"backward{suffix}"
            wanted = {s: self.inputs[s] for s in self.results(stage)}
            expected = gradient(out, self.g, wanted)
            for slot, ours in zip(wanted, self.run(stage, self.g), strict=True):
                require(same(ours, expected[slot]), f"{stage} is not the gradient of forward to {slot}")
            second = self.run(f"backward_tangent{suffix}", self.g, *self.moves.values())
            for slot, ours in zip(wanted, second, strict=True):
                reference = tangent(expected[slot], self.inputs, self.moves)
                require(same(ours, reference), f"backward_tangent{suffix} is not the derivative of {stage} to {slot}")

    def _equivariant(self, out: np.ndarray) -> None:
        """Turning the inputs by a generator of so(3) turns the outputs; every monomial has the parity of its output."""
        signs = {
            number(variable): sign
            for slot in self.features
            for variable, sign in zip(self.inputs[slot], parities(self.kinds[slot]), strict=True)
        }
        for value, parity in zip(out, parities(self.kinds["out"]), strict=True):
            for monomial in Sparse.of(value).terms:
                require(prod(signs.get(v, 1) for v in monomial) == parity, "an output has a term of the wrong parity")
        for axis in range(3):
            moves = {s: turn(self.kinds[s], self.inputs[s], axis) for s in self.features}
            turned = tangent(out, self.inputs, moves)
            require(same(turned, turn(self.kinds["out"], out, axis)), f"not equivariant about axis {axis}")


def turn(kind: Transforms, values: np.ndarray, axis: int) -> np.ndarray:
    """A generator of so(3) applied to a packed direct sum, or to every index of a Cartesian tensor."""
    if isinstance(kind, int):
        packed = generator(1, axis)  # in the order (y, z, x)
        spin = np.array([[packed[r][c] for c in (2, 0, 1)] for r in (2, 0, 1)], dtype=object)
        tensor = values.reshape((3,) * kind)
        turned = (np.moveaxis(np.tensordot(spin, tensor, (1, i)), 0, i) for i in range(kind))
        return sum(turned, tensor * 0).reshape(-1)
    parts, start = [], 0
    for rank, _ in kind:
        j = generator(rank, axis)
        block = values[start : start + 2 * rank + 1]
        rows = [sum((block[c] * j[r][c] for c in range(2 * rank + 1) if j[r][c]), Sparse({})) for r in range(len(j))]
        parts.append(np.array(rows, dtype=object))
        start += 2 * rank + 1
    return np.concatenate(parts)


def same(ours: np.ndarray, reference: np.ndarray) -> bool:
    """Whether two arrays hold the same polynomials."""
    return len(ours) == len(reference) and all(
        Sparse.of(a) == Sparse.of(b) for a, b in zip(ours, reference, strict=True)
    )
