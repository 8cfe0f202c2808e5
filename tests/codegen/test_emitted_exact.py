"""Emitted source, executed over Q: exactly equivariant under rotations and reflections, not only under generators.

That it is the closed form and that derivatives are derivatives is proved in test_proofs.py.
"""

import random
from functools import cache

import numpy as np
import pytest
import sympy as sp
from flint import fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

import exact
from cartalg.ops import KernelSet
from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.rotation import packed_rotation, rational_rotation
from cartalg_codegen.proofs.closed import components
from cartalg_codegen.proofs.exact import Rational
from cartalg_codegen.proofs.graphs import sparse
from cartalg_codegen.proofs.tensors import Torch

SPECS = [listed.spec for listed in KernelSet().manifest.kernels.values()]
ROWS = [spec for spec in SPECS if spec.kind in ("harmonics", "coupling", "product")]
CONVOLUTIONS = [spec for spec in SPECS if spec.kind == "convolution"]

quaternions = st.tuples(*[st.integers(-3, 3)] * 4).filter(any)


@cache
def functions(backend, spec):
    return exact.load(backend, spec)


def forward(backend, spec, *arrays):
    """A row kernel on one row (and one channel): arrays of components in, the output's components out."""
    with_lanes, species = spec.kind != "harmonics", spec.kind == "product"
    shaped = [a.reshape(1, -1, 1) if with_lanes else a.reshape(1, -1) for a in arrays]
    if backend == "torch":
        torch = Torch(Rational())
        found = functions(backend, spec)["forward"](
            *[torch.tensor(np.array([0]))] * species, *map(torch.tensor, shaped)
        )
        return found.values.reshape(-1)
    size = components(spec.transforms("out"))
    out = exact.result(*((1, size, 1) if with_lanes else (1, size)))
    functions(backend, spec)["forward"](0, 1, 0, *[exact.index([0])] * species, *map(exact.lanes, shaped), out)
    return out.cells.reshape(-1)


@cache
def rotation(rank, parity, quaternion, inversion):
    matrix = packed_rotation(rank, rational_rotation(quaternion, inversion), parity)
    return np.array([[fmpq(int(e.p), int(e.q)) for e in matrix.row(i)] for i in range(matrix.rows)], dtype=object)


def rotate(irreps, packed, quaternion, inversion):
    """A packed direct sum, turned; copies of an irrep are [component, copy]."""
    parts = []
    for term, place in zip(irreps, irreps.slices, strict=True):
        block = packed[place].reshape(term.irrep.dim, -1)
        parts.append((rotation(*term.irrep, quaternion, inversion) @ block).reshape(-1))
    return np.concatenate(parts)


def turned_vector(v, quaternion, inversion):
    matrix = rational_rotation(quaternion, inversion)
    exact_matrix = [[fmpq(int(e.p), int(e.q)) for e in matrix.row(i)] for i in range(3)]
    return np.array([sum((m * c for m, c in zip(row, v, strict=True)), fmpq(0)) for row in exact_matrix], dtype=object)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.name)
@settings(max_examples=3)
@given(quaternion=quaternions, inversion=st.booleans())
def test_row_kernels_are_exactly_equivariant(backend, spec, quaternion, inversion):
    rng, turn = random.Random(0), (quaternion, inversion)
    inputs, turned = [], []
    for name in spec.stages()["forward"].reads:
        how = spec.transforms(name)
        values = exact.rationals(rng, spec.components[name])
        inputs.append(values)
        if how == 1:
            turned.append(turned_vector(values, *turn))
        else:
            turned.append(rotate(how, values, *turn) if isinstance(how, Irreps) else values)
    wanted = rotate(spec.transforms("out"), forward(backend, spec, *inputs), *turn)
    assert (forward(backend, spec, *turned) == wanted).all()


@pytest.mark.parametrize("spec", CONVOLUTIONS, ids=lambda spec: spec.name)
@settings(max_examples=2)
@given(quaternion=quaternions, inversion=st.booleans())
def test_convolutions_are_exactly_equivariant(spec, quaternion, inversion):
    rng, turn = random.Random(0), (quaternion, inversion)
    graph = sparse()
    x = exact.rationals(rng, graph.senders, spec.left.dim)
    table = exact.rationals(rng, graph.rows, len(spec.paths), 1)

    def run(x, vectors):
        out = exact.result(graph.receivers * spec.outputs.dim, 1)
        index = (graph.intervals, *map(exact.index, (graph.block, graph.row_ptr, graph.sender)))
        theta = (exact.lanes(x.reshape(-1, 1)), exact.real(vectors), exact.lanes(table))
        functions("numba", spec)["forward"](0, graph.receivers, 0, graph.step, *index, *theta, out)
        return out.cells.reshape(graph.receivers, -1)

    before = run(x, graph.vectors)
    vectors = np.array([turned_vector(v, *turn) for v in graph.vectors])
    after = run(np.array([rotate(spec.left, row, *turn) for row in x]), vectors)
    assert (after == np.array([rotate(spec.outputs, row, *turn) for row in before])).all()
    assert any(value for value in before.reshape(-1))


def test_quaternions_give_rotations():
    matrix = rational_rotation((1, 2, -1, 3))
    assert matrix * matrix.T == sp.eye(3)
    assert matrix.det() == 1
    with pytest.raises(ValueError, match="other than zero"):
        rational_rotation((0, 0, 0, 0))
