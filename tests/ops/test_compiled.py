"""The compiled path against exact results: what compiler, lanes, threads and calling interface add is nothing.

Inputs are dyadic rationals, which floats hold exactly. Where a kernel's constants are dyadic too, every number on the
way is held exactly, and results must be equal to the last bit; elsewhere they may differ by roundings of their terms.
"""

import random
import re
from functools import cache

import numpy as np
import pytest
import torch
from flint import fmpq

from cartalg.files import shipped_folder
from cartalg.ops import KernelSet, bind
from cartalg_codegen.proofs.convolutions import STAGES, Convolution, Reference
from cartalg_codegen.proofs.exact import folder_reader
from cartalg_codegen.proofs.graphs import Graph, Jet, symbolic
from cartalg_codegen.proofs.identities import Sparse, number
from cartalg_codegen.proofs.rows import RowKernel
from cartalg_codegen.specs import ConvolutionSpec, parse

KERNELS = KernelSet()
CHANNELS = (1, 3, 5, 8, 12, 16, 17, 24, 33)
THREADS = (1, 2, 3, 4)
ROW_KERNELS = (
    "harmonics_l3", "coupling_1_1_1", "coupling_1_1_2", "coupling_2_1_1", "coupling_3_2_3", "pack_ij_ji",
    "unpack_ij_ji", "product_natural_limited_a1_o1_n3",
)  # fmt: skip


def constants(spec):
    """Denominators of the constants in the emitted file."""
    text = (shipped_folder() / "numba_kernels" / spec.kind / f"{spec.name}.py").read_text()
    return {int(bottom) for bottom in re.findall(r"real\(\d+ / (\d+)\)", text)}


def dyadic(spec):
    return all(d & (d - 1) == 0 for d in constants(spec))


def test_kernels_with_dyadic_constants_are_among_those_tested():
    exactly = [name for name in ROW_KERNELS if dyadic(parse(name))]
    assert {"harmonics_l3", "coupling_1_1_1", "coupling_1_1_2"} <= set(exactly)
    assert len(exactly) < len(ROW_KERNELS)


@cache
def rule(name):
    return RowKernel(parse(name), folder_reader(shipped_folder() / "numba_kernels"), name, "numba")


def halves(rng, *shape):
    """Multiples of 1/2 between -3/2 and 3/2."""
    array = np.empty(shape, dtype=object)
    for at in np.ndindex(shape):
        array[at] = fmpq(rng.randint(-3, 3), 2)
    return array


def floats(cells, dtype):
    flat = [int(v.p) / int(v.q) for v in cells.reshape(-1)]
    return torch.tensor(flat, dtype=dtype).reshape(cells.shape)


def at(polynomial, values, absolute=False):
    """A polynomial at arrays of numbers, element by element; or the sum of the absolute values of its terms."""
    total = values["zero"]
    for monomial, c in Sparse.of(polynomial).terms.items():
        term = abs(c) if absolute else c
        for variable in monomial:
            term = term * (abs(values[variable]) if absolute else values[variable])
        total = total + term
    return total


def row_case(name, rows, channels, threads, dtype, stage):
    """(what the compiled stage gives, what is exact, the terms' sizes), by output."""
    kernel, rng = rule(name), random.Random(f"{name} {stage} {channels}")
    spec, lanes = kernel.spec, kernel.rule.lanes
    species = [rng.randrange(3) for _ in range(rows)]
    arrays = {}
    for slot, variables in kernel.variables.items():
        head = 3 if slot == "w" else rows
        arrays[slot] = halves(rng, head, len(variables), *((channels,) if lanes else ()))
    values = {"zero": arrays[kernel.features[0]][:, 0] * fmpq(0)}
    for slot in kernel.reads(stage):
        of_rows = arrays[slot][species] if slot == "w" else arrays[slot]
        values.update({number(v): of_rows[:, i] for i, v in enumerate(kernel.variables[slot])})
    about = spec.stages()[stage]
    tensors = {slot: floats(arrays[slot], dtype).contiguous() for slot in about.reads}
    exact, sizes = {}, {}
    for write, (slot, polynomials) in zip(about.writes, _in_order(kernel, stage), strict=True):
        exact[write], sizes[write] = (
            np.stack([at(p, values, absolute) for p in polynomials], 1) for absolute in (False, True)
        )
        shape = exact[write].shape
        tensors[write] = torch.full(shape, 7.0, dtype=dtype)
        if slot == "w":
            tensors[write] = torch.zeros(threads, 3, *shape[1:], dtype=dtype)
            exact[write], sizes[write] = (_by_species(a, species) for a in (exact[write], sizes[write]))
    index = {"species": torch.tensor(species)} if "w" in kernel.theta else {}
    call = bind(KERNELS, spec, stage, index, tensors, threads, backend="numba")
    for _ in range(2):  # a call that is repeated sets what it set before
        for write in about.writes:
            if write.endswith("_w"):
                tensors[write].zero_()
        call()
    ours = {w: tensors[w].sum(0) if w.endswith("_w") else tensors[w] for w in about.writes}
    return ours, exact, sizes


def _in_order(kernel, stage):
    expected = kernel.expected[stage]
    return [(slot, expected[slot]) for slot in kernel.writes(stage)]


def _by_species(array, species):
    total = np.full((3, *array.shape[1:]), fmpq(0), dtype=object)
    for n, kind in enumerate(species):
        total[kind] = total[kind] + array[n]
    return total


def error(ours, exact):
    """The exact difference of floats and rationals, element by element."""
    pairs = zip(ours.double().numpy().reshape(-1).tolist(), exact.reshape(-1), strict=True)
    found = np.empty(exact.size, dtype=object)
    found[:] = [fmpq(*value.as_integer_ratio()) - wanted for value, wanted in pairs]
    return found.reshape(exact.shape)


@pytest.mark.parametrize("name", ROW_KERNELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_row_kernels_are_exact(name, dtype):
    bits = {torch.float64: 53, torch.float32: 24}[dtype]
    # without channels lanes are rows
    sizes_of = {"harmonics": [(5, 0), (37, 0), (16, 0)], "product": [(9, 3), (5, 12), (6, 17)]}
    for n, (rows, channels) in enumerate(sizes_of.get(parse(name).kind, [(2 * (c % 4) + 3, c) for c in CHANNELS])):
        threads = THREADS[n % len(THREADS)]
        for stage in parse(name).stages():
            ours, exact, sizes = row_case(name, rows, channels, threads, dtype, stage)
            for write in exact:
                wrong = error(ours[write], exact[write])
                if dyadic(parse(name)) and all(s * 2**12 < 2**bits for s in sizes[write].reshape(-1)):
                    assert not any(wrong.reshape(-1)), (stage, write, channels, threads)
                else:
                    # each term takes part in fewer operations than the constant says
                    allowed = sizes[write] * fmpq(300, 2**bits)
                    assert (abs(wrong) <= allowed).all(), (stage, write, channels, threads)


SENDERS, RECEIVERS, INTERVALS, BLOCKS, STEP = 11, 9, 6, 3, fmpq(1, 2)
CONVOLUTION = ConvolutionSpec("natural", 1, 2)


def dyadic_graph():
    """Vectors are dyadic; edges within the cutoff, beyond it and of no length; an atom of many, an atom of none."""
    rng, pairs = random.Random(5), []
    for receiver in range(RECEIVERS):
        for _ in range({0: 37, 4: 0}.get(receiver, 4)):
            pairs.append((receiver, rng.choice([1, 1, 1, *range(2, SENDERS)])))
    vectors = np.empty((len(pairs), 3), dtype=object)
    for e in range(len(pairs)):
        vectors[e] = [fmpq(rng.randint(-100, 100), 64) for _ in range(3)]
    vectors[3] = vectors[40] = [fmpq(0)] * 3
    vectors[5] = [fmpq(9), fmpq(0), fmpq(1)]
    lengths = [_root(sum((c * c for c in v), fmpq(0))) / STEP for v in vectors]
    sender, receiver = tuple(p[1] for p in pairs), tuple(p[0] for p in pairs)
    by_sender = tuple(sorted(range(len(pairs)), key=lambda e: (sender[e], rng.random())))
    block = tuple(rng.randrange(BLOCKS) for _ in pairs)
    ends = (SENDERS, RECEIVERS, sender, receiver)
    return Graph(*ends, tuple(lengths), vectors, STEP, INTERVALS, BLOCKS, block, by_sender)


def _root(value):
    """A square root to 40 digits."""
    return fmpq(int(np.sqrt(0)), 1) if not value else fmpq(_isqrt(value), 10**40)


def _isqrt(value):
    from math import isqrt

    return isqrt(int(value.p) * 10**80 // int(value.q))


class Near(Reference):
    """The reference with roots to 40 digits; or the sum of the absolute values of its terms."""

    def __init__(self, absolute, *arguments):
        super().__init__(*arguments)
        self.absolute, self._known = absolute, {}

    def entries(self, path):
        return [(*at, abs(c) if self.absolute else c) for *at, c in super().entries(path)]

    def _jets(self, e):
        if e not in self._known:
            graph = self.graph
            values = [*graph.vectors[e], 1 / (graph.lengths[e] * graph.step), fmpq(graph.knot(e)), 1 / graph.step]
            values = [abs(v) for v in values] if self.absolute else values
            here = dict(enumerate(values))

            def size(f):
                terms = {m: abs(c) for m, c in f.terms.items()} if self.absolute else f.terms
                return Sparse(terms).at(here)

            self._known[e] = tuple(
                [
                    Jet(size(j.value), tuple(map(size, j.first)), tuple(tuple(map(size, row)) for row in j.second))
                    for j in group
                ]
                for group in symbolic(self.rule.harmonics_rank)
            )
        return self._known[e]


SCALES = {"x": (0, 1, 3), "table": (0, 2, 1), "g": (1, 0, 5)}


@cache
def convolution_case(column, absolute):
    """Every stage of one channel: exact, or the size of its terms. Names of values as for the kernels."""
    values = base_values(column)
    graph = dyadic_graph()
    if absolute:
        values = {name: abs(array) for name, array in values.items()}
    reference = Near(absolute, Convolution("natural", 1, 2), graph, values)
    return {s: reference(s, 0, RECEIVERS if s.startswith("forward") else SENDERS) for s in STAGES}


@cache
def base_values(column):
    rng = random.Random(column)
    shapes = {
        "x": (SENDERS, CONVOLUTION.left.dim, 1),
        "t_x": (SENDERS, CONVOLUTION.left.dim, 1),
        "table": (BLOCKS * (INTERVALS + 3), len(CONVOLUTION.paths), 1),
        "g": (RECEIVERS, CONVOLUTION.outputs.dim, 1),
        "t_g": (RECEIVERS, CONVOLUTION.outputs.dim, 1),
    }
    found = {name: halves(rng, *shape) for name, shape in shapes.items()}
    found["t_vectors"] = halves(random.Random("moves"), len(dyadic_graph().sender), 3)
    return found


def powers(name, channel):
    """The power of two by which a channel's values are scaled: channels that share a column differ."""
    by = {"x": channel % 4, "t_x": channel % 4, "table": channel // 4 % 3, "g": channel // 12 % 3}
    return 2 ** by.get(name.removeprefix("d_").removeprefix("t_"), 0)


def factor(stage, write, channel):
    """How a channel's result scales: with all its values but the one that it is a gradient to."""
    base = write.removeprefix("t_").removeprefix("d_")
    read = {"x", "table", *(["g"] if stage.startswith("backward") else [])} - {base}
    return np.prod([powers(name, channel) for name in read], dtype=object)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_convolutions_are_exact_but_for_roundings(stage, dtype):
    bits, graph, about = {torch.float64: 53, torch.float32: 24}[dtype], dyadic_graph(), CONVOLUTION.stages()[stage]
    names = ("block", "row_ptr", "sender", "receiver", "col_ptr", "col_edge")
    index = {n: torch.tensor(getattr(graph, n)) for n in names}
    index |= {"step": float(STEP.p) / float(STEP.q), "intervals": float(INTERVALS)}
    # float32 has other widths of its own; two of them are enough to see that they work
    for n, channels in enumerate(CHANNELS if dtype is torch.float64 else (17, 24)):
        by_threads = []
        for threads in (THREADS[n % 4], THREADS[(n + 1) % 4]):
            tensors = {"vectors": floats(graph.vectors, dtype)}
            for name in about.reads:
                if name == "t_vectors":
                    tensors[name] = floats(base_values(0)[name], dtype)
                elif name != "vectors":
                    cells = [base_values(c % 3)[name][..., 0] * powers(name, c) for c in range(channels)]
                    tensors[name] = floats(np.stack(cells, -1), dtype)
            for write in about.writes:
                shape = convolution_case(0, False)[stage][write].shape
                shape = shape if write.endswith("vectors") else (*shape[:-1], channels)
                tensors[write] = torch.full(shape, 7.0, dtype=dtype)
                if write.endswith("table"):
                    tensors[write] = torch.zeros(threads, *shape, dtype=dtype)
            bind(KERNELS, CONVOLUTION, stage, index, tensors, threads, backend="numba")()
            by_threads.append({w: tensors[w] for w in about.writes})
            for write in about.writes:
                exact, sizes = (expected(stage, write, channels, absolute) for absolute in (False, True))
                ours = tensors[write].sum(0) if write.endswith("table") else tensors[write]
                wrong, allowed = abs(error(ours, exact)), sizes * fmpq(100, 2**bits)
                assert (wrong <= allowed).all(), (write, channels, threads)
        for write in about.writes:  # each row belongs to one thread, whatever their number
            if not write.endswith("table"):
                assert torch.equal(by_threads[0][write], by_threads[1][write]), (write, channels)


def expected(stage, write, channels, absolute):
    """The result for all channels."""
    parts = [convolution_case(c % 3, absolute)[stage][write] * factor(stage, write, c) for c in range(channels)]
    if write.endswith("vectors"):
        return sum(parts[1:], parts[0])
    return np.concatenate(parts, axis=-1)
