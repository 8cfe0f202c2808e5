"""Emitted source, executed over Q: convolutions of several edges, and equivariance under rotations and reflections.

That rows equal the closed forms and derivatives are derivatives is proved in test_proofs.py.
"""

import random
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import sympy as sp
from cartalg.ops.kernels import KernelSet
from hypothesis import given, settings
from hypothesis import strategies as st

import exact
from cartalg.symbolic.basis import harmonic_polynomials
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.rotation import packed_rotation, rational_rotation
from cartalg_codegen.proofs.exact import ExactTensor

KERNELS = KernelSet().manifest["kernels"]
NAMES = {kind: [n for n, f in KERNELS.items() if f["kind"] == kind] for kind in ("harmonics", "coupling", "product")}
CONVOLUTIONS = [n for n, f in KERNELS.items() if f["kind"] == "convolution"]
BACKENDS = ["numba", "torch"]

quaternions = st.tuples(*[st.integers(-3, 3)] * 4).filter(any)


@cache
def functions(backend, name):
    return exact.load(backend, name)


def slots(name):
    facts = KERNELS[name]
    if facts["kind"] == "harmonics":
        return {"v": 3}, {"y": (facts["max_rank"] + 1) ** 2}, False
    if facts["kind"] == "coupling":
        l1, l2, l3 = facts["ranks"]
        return {"a": 2 * l1 + 1, "b": 2 * l2 + 1}, {"out": 2 * l3 + 1}, True
    a = sum(2 * rank + 1 for rank, _ in facts["features"])
    out = sum(2 * rank + 1 for rank, _ in facts["outputs"])
    return {"a": a, "w": len(facts["weights"])}, {"out": out}, True


def forward(backend, name, *arrays):
    """A row kernel on one row (and one channel): arrays of components in, the output's components out."""
    _, outputs, lanes = slots(name)
    species = [np.array([0])] if KERNELS[name]["kind"] == "product" else []
    shaped = [a.reshape(1, -1, 1) if lanes else a.reshape(1, -1) for a in arrays]
    function = functions(backend, name)["forward"]
    if backend == "torch":
        return np.asarray(function(*species, *[s.view(ExactTensor) for s in shaped])).reshape(-1)
    (size,) = outputs.values()
    out = exact.zeros(*((1, size, 1) if lanes else (1, size)))
    function(0, 1, 0, *species, *shaped, out)
    return out.reshape(-1)


def random_inputs(name, seed=0):
    rng = random.Random(seed)
    return [exact.fractions(rng, size) for size in slots(name)[0].values()]


def evaluate_polynomial(p, v):
    total = Fraction(0)
    for e, c in p.items():
        total += Fraction(int(c.numerator), int(c.denominator)) * v[0] ** e[0] * v[1] ** e[1] * v[2] ** e[2]
    return total


def couple(ranks, a, b):
    """The coupling from its exact entries."""
    out = [Fraction(0)] * (2 * ranks[2] + 1)
    for (k, i, j), c in coupling(*ranks).entries.items():
        out[k] += Fraction(int(c.numerator), int(c.denominator)) * a[i] * b[j]
    return out


@cache
def rotation(rank, parity, quaternion, inversion):
    matrix = packed_rotation(rank, rational_rotation(quaternion, inversion), parity)
    return np.array([[Fraction(int(e.p), int(e.q)) for e in matrix.row(i)] for i in range(matrix.rows)], dtype=object)


def rotate(irreps, packed, quaternion, inversion):
    parts, start = [], 0
    for rank, parity in irreps:
        d = rotation(rank, parity, quaternion, inversion)
        parts.append(d @ packed[start : start + 2 * rank + 1])
        start += 2 * rank + 1
    return np.concatenate(parts)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES["harmonics"])
@given(quaternion=quaternions, inversion=st.booleans())
def test_harmonics_are_exactly_equivariant(backend, name, quaternion, inversion):
    (v,) = random_inputs(name)
    matrix = rational_rotation(quaternion, inversion)
    turned = np.array(
        [sum(Fraction(int(matrix[i, j].p), int(matrix[i, j].q)) * v[j] for j in range(3)) for i in range(3)],
        dtype=object,
    )
    irreps = [(rank, (-1) ** rank) for rank in range(KERNELS[name]["max_rank"] + 1)]
    left = forward(backend, name, turned)
    assert (left == rotate(irreps, forward(backend, name, v), quaternion, inversion)).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES["coupling"])
@settings(max_examples=4)
@given(quaternion=quaternions, inversion=st.booleans())
def test_couplings_are_exactly_equivariant(backend, name, quaternion, inversion):
    a, b = random_inputs(name)
    l1, l2, l3 = KERNELS[name]["ranks"]
    first, second = [(l1, (-1) ** l1)], [(l2, (-1) ** l2)]
    out = [(l3, (-1) ** (l1 + l2))]
    turned = forward(backend, name, rotate(first, a, quaternion, inversion), rotate(second, b, quaternion, inversion))
    assert (turned == rotate(out, forward(backend, name, a, b), quaternion, inversion)).all()


@pytest.mark.parametrize("name", NAMES["product"])
@settings(max_examples=3)
@given(quaternion=quaternions, inversion=st.booleans())
def test_products_are_exactly_equivariant(name, quaternion, inversion):
    a, w = random_inputs(name)
    features = [tuple(i) for i in KERNELS[name]["features"]]
    outputs = [tuple(i) for i in KERNELS[name]["outputs"]]
    turned = forward("numba", name, rotate(features, a, quaternion, inversion), w)
    assert (turned == rotate(outputs, forward("numba", name, a, w), quaternion, inversion)).all()


STEP = Fraction(1, 2)


def spline_value(table, r):
    """A clamped cubic B-spline from its recursion (Cox-de Boor), independent of the emitted polynomials."""

    def basis(i, order, u):  # uniform knots at the integers
        if order == 0:
            return Fraction(int(i <= u < i + 1))
        return ((u - i) * basis(i, order - 1, u) + (i + order + 1 - u) * basis(i + 1, order - 1, u)) / order

    u = r / STEP
    return sum(table[s] * basis(s - 3, 3, u) for s in range(len(table)))


class Convolved:
    """A small graph of three atoms for an emitted convolution: numba source over Q."""

    def __init__(self, name, seed=0):
        rng = random.Random(seed)
        facts = KERNELS[name]
        self.name, self.facts = name, facts
        self.left = [tuple(i) for i in facts["left"]]
        self.sender, self.receiver = np.array([1, 2, 0]), np.array([0, 0, 1])
        self.row_ptr, self.col_ptr, self.col_edge = np.array([0, 2, 3, 3]), np.array([0, 1, 2, 3]), np.array([2, 0, 1])
        size = sum(2 * rank + 1 for rank, _ in self.left)
        self.rows = sum(2 * p["out"][0] + 1 for p in facts["paths"])
        #: lengths 3/4, 5/4 and 1/8, within a table that ends at 3/2
        directions = [(Fraction(1, 3), Fraction(2, 3), Fraction(-2, 3)), (Fraction(3, 5), 0, Fraction(4, 5))]
        directions.append((Fraction(-2, 7), Fraction(3, 7), Fraction(6, 7)))
        self.lengths = [Fraction(3, 4), Fraction(5, 4), Fraction(1, 8)]
        vectors = [[r * n for n in d] for r, d in zip(self.lengths, directions, strict=True)]
        self.theta = {
            "x": exact.fractions(rng, 3, size),
            "vectors": np.array(vectors, dtype=object),
            "table": exact.fractions(rng, 6, len(facts["paths"]), 1),
        }

    def shape(self, theta):
        return [t.reshape(-1, 1) if s == "x" else t for s, t in theta.items()]

    def forward(self, theta, move=None):
        out = exact.zeros(3 * self.rows, 1)
        stage = functions("numba", self.name)["forward_tangent" if move else "forward"]
        extra = self.shape(move) if move else []
        stage(0, 3, 0, STEP, self.row_ptr, self.sender, *self.shape(theta), *extra, out)
        return out.reshape(3, self.rows)

    def backward(self, theta, g, move=None, table=False):
        """Gradients to x and the vectors, or to x and the table."""
        results = {s: exact.zeros(*t.shape) for s, t in theta.items() if s != ("vectors" if table else "table")}
        arrays = self.shape(results)
        if table:
            arrays[1] = arrays[1].reshape(1, *arrays[1].shape)
        else:
            arrays.append(exact.zeros(self.facts["chunk"], 2 * self.facts["edge_size"]))
        stage = functions("numba", self.name)["backward" + ("_tangent" if move else "") + ("_table" if table else "")]
        extra = self.shape(move) if move else []
        index = (self.col_ptr, self.col_edge, self.receiver)
        stage(0, 3, 0, STEP, *index, *self.shape(theta), g.reshape(-1, 1), *extra, *arrays)
        return results


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_equals_the_closed_form(name):
    case = Convolved(name)
    out, theta = case.forward(case.theta), case.theta
    outputs = [tuple(i) for i in case.facts["outputs"]]
    expected = exact.zeros(3, case.rows)
    starts, seen, row = {}, dict.fromkeys(outputs, 0), 0
    counts = {o: sum(tuple(p["out"]) == o for p in case.facts["paths"]) for o in outputs}
    for o in outputs:
        starts[o] = row
        row += counts[o] * (2 * o[0] + 1)
    offsets, at = {}, 0
    for irrep in case.left:
        offsets[irrep] = at
        at += 2 * irrep[0] + 1
    for p, path in enumerate(case.facts["paths"]):
        (l1, p1), (l2, _), o = tuple(path["left"]), tuple(path["edge"]), tuple(path["out"])
        for e in range(3):
            x = theta["x"][case.sender[e], offsets[l1, p1] : offsets[l1, p1] + 2 * l1 + 1]
            n = theta["vectors"][e] / case.lengths[e]
            y = [evaluate_polynomial(h, n) for h in harmonic_polynomials(l2)]
            weight = spline_value(theta["table"][:, p, 0], case.lengths[e])
            for k, value in enumerate(couple((l1, l2, o[0]), x, y)):
                expected[case.receiver[e], starts[o] + seen[o] + k * counts[o]] += weight * value
        seen[o] += 1
    assert (out == expected).all()


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_derivatives_are_exact(name):
    case, rng = Convolved(name, 3), random.Random(4)
    theta = case.theta
    g = exact.fractions(rng, 3, case.rows)
    move = {s: exact.fractions(rng, *theta[s].shape) for s in ("x", "vectors")}

    def along(moves):
        return {s: exact.along(t, moves[s]) if s in moves else t for s, t in theta.items()}

    assert (case.forward(theta, move) == exact.slopes(case.forward(along(move)))).all()
    for table in (False, True):
        gradient = case.backward(theta, g, table=table)
        moves = {s: exact.fractions(rng, *t.shape) for s, t in gradient.items()}
        change = exact.slopes(case.forward(along(moves)))
        assert sum((gradient[s] * moves[s]).sum() for s in moves) == (g * change).sum()
        second, reference = case.backward(theta, g, move, table), case.backward(along(move), g, table=table)
        for s in second:
            assert (second[s] == exact.slopes(reference[s])).all()


@pytest.mark.parametrize("name", CONVOLUTIONS)
@settings(max_examples=2)
@given(quaternion=quaternions, inversion=st.booleans())
def test_convolution_is_exactly_equivariant(name, quaternion, inversion):
    case = Convolved(name)
    turned = dict(case.theta)
    turned["x"] = np.array([rotate(case.left, x, quaternion, inversion) for x in case.theta["x"]])
    turned["vectors"] = np.array(
        [rotate([(1, -1)], v[[1, 2, 0]], quaternion, inversion)[[2, 0, 1]] for v in turned["vectors"]]
    )
    before, after = case.forward(case.theta), case.forward(turned)
    row = 0
    for o in [tuple(i) for i in case.facts["outputs"]]:
        count = sum(tuple(p["out"]) == o for p in case.facts["paths"])
        size = count * (2 * o[0] + 1)
        for atom in range(3):
            block = before[atom, row : row + size].reshape(2 * o[0] + 1, count)
            assert (
                after[atom, row : row + size].reshape(-1, count) == rotation(*o, quaternion, inversion) @ block
            ).all()
        row += size


def test_a_broken_kernel_is_found():
    name = "coupling_2_1_2"
    folder = KernelSet().folder
    text = (folder / "numba_kernels" / f"{name}.py").read_text()
    broken = text.replace("c2 * a", "-c2 * a", 1) if "c2 * a" in text else text.replace(" + ", " - ", 1)
    assert broken != text
    rng = random.Random(0)
    a, b, out = exact.fractions(rng, 1, 5, 1), exact.fractions(rng, 1, 3, 1), exact.zeros(1, 5, 1)
    exact.load("numba", name, source=broken)["forward"](0, 1, 0, a, b, out)
    assert out.reshape(-1).tolist() != couple((2, 1, 2), a.reshape(-1), b.reshape(-1))


def test_quaternions_give_rotations():
    matrix = rational_rotation((1, 2, -1, 3))
    assert matrix * matrix.T == sp.eye(3)
    assert matrix.det() == 1
    with pytest.raises(ValueError, match="other than zero"):
        rational_rotation((0, 0, 0, 0))


@pytest.mark.parametrize("add", [0, 1])
def test_channel_mixing_is_a_matrix_product_for_each_irrep(add):
    """Two irreps of sizes 1 and 3 with 2 and 1 paths, for more rows than one tile and an odd number of channels."""
    rng, atoms, channels = random.Random(0), 5, 3
    x = exact.fractions(rng, atoms, 5, channels)  # rows: two paths of the scalar, then the vector
    scalar, vector = exact.fractions(rng, 2 * channels, channels), exact.fractions(rng, channels, channels)
    before = exact.fractions(rng, atoms, 4, channels)
    out = before.copy().reshape(-1, channels)
    layout = [[1, 0, 2 * channels, 2 * channels, 0, 0, 4, add]]
    layout += [[3, 2 * channels, channels, channels, 2 * channels, 1, 4, add]]
    weight = np.concatenate([scalar, vector])
    exact.load("numba", "linear")["forward"](0, atoms, 0, np.array(layout), x.reshape(atoms, -1), weight, out)
    for n in range(atoms):
        expected = np.concatenate([x[n, :2].reshape(1, -1) @ scalar, x[n, 2:] @ vector])
        assert (out.reshape(atoms, 4, channels)[n] == expected + add * before[n]).all()
