"""Frames and edge-aligned messages over Q, against sums over paths that know no frame."""

from fractions import Fraction
from random import Random

import pytest
import sympy as sp

from cartalg.symbolic.aligned import diagonal
from cartalg.symbolic.ranks import component_norm
from cartalg.symbolic.rotation import packed_rotation
from cartalg_codegen.program import evaluate
from cartalg_codegen.specs import AlignedConvolutionSpec, AlignedMessageSpec, FrameSpec, parse
from cartalg_codegen.specs.harmonics import squared_norm
from cartalg_codegen.specs.rules import orthonormal_squared

#: Vectors of rational length, above and below the plane across z, in it, and along z.
VECTORS = [(3, 4, 12), (2, -3, -6), (-12, 3, 4), (3, -4, 0), (0, 0, 2), (0, 0, -3)]


def edge(vector):
    v = [Fraction(c) for c in vector]
    length = Fraction(int(sp.sqrt(sum(c * c for c in vector))))
    n, side = [c / length for c in v], Fraction(-1 if vector[2] < 0 else 1)
    given = {"v": v, "inverse": [1 / length], "below": [Fraction(1)], "per_knot": [Fraction(2, 3)], "side": [side]}
    return n, {**given, "half": [1 / (1 + side * n[2])]}


@pytest.mark.parametrize("vector", VECTORS)
def test_frames_are_turns_of_their_own_inverse_that_take_z_to_the_edge(vector):
    spec = FrameSpec(4, 4)
    n, given = edge(vector)
    found = evaluate(spec.programs[0], given)
    assert spec.closed_form(given) == found["s"] + found["turn"]
    side, u = given["side"][0], [n[0], n[1], n[2] + given["side"][0]]
    square = sum(c * c for c in u)
    g = sp.Matrix(3, 3, lambda i, j: sp.Rational(str(side * (2 * u[i] * u[j] / square - int(i == j)))))
    assert g * sp.Matrix([0, 0, 1]) == sp.Matrix([sp.Rational(str(c)) for c in n])
    for rank in range(1, 5):
        size = 2 * rank + 1
        ours = sp.Matrix(size, size, lambda k, a, r=rank: sp.Rational(str(found["turn"][spec.places[r, k, a]])))
        assert ours == packed_rotation(rank, g)
        assert ours * ours == sp.eye(size)


@pytest.mark.parametrize(("hidden", "edge_rank"), [(1, 1), (1, 3), (2, 3), (3, 1), (3, 3)])
@pytest.mark.parametrize("vector", VECTORS)
def test_messages_are_sums_over_paths(hidden, edge_rank, vector):
    random, spec = Random(0), AlignedConvolutionSpec(hidden, edge_rank)

    def numbers(count):
        return [Fraction(random.randint(-9, 9), random.randint(1, 5)) for _ in range(count)]

    n, given = edge(vector)
    frame = evaluate(spec.shared.programs[0], given)
    x, table = numbers(spec.left.dim), [numbers(len(spec.message.weights)) for _ in range(4)]
    flat = [knot[p] for p in range(len(spec.message.weights)) for knot in table]
    forward = next(p for p in spec.message.programs if p.name == "forward")
    ours = evaluate(forward, {"x": x, "s": frame["s"], "turn": frame["turn"], "table": flat})
    assert ours["out"] == spec.closed_form({"x": x, "s": frame["s"], "n": n, "table": table})


def test_variances_are_those_of_all_paths_together():
    """Paths of variance 1 each, divided by the number of those of an output."""
    spec = AlignedConvolutionSpec(2, 3)
    for (l1, l3, m), variance in zip(spec.message.weights, spec.variances, strict=True):
        count = sum(min(rank, l3) + 1 for rank in range(3))
        paths = range(abs(l1 - l3), l1 + l3 + 1, 2)
        made = sum(
            orthonormal_squared(l1, l2, l3) * (2 * l2 + 1) / squared_norm(l2) * diagonal(l1, l2, l3)[m] ** 2
            for l2 in paths
        )
        assert variance == made / count
    norms = {(rank, m): component_norm(rank, m) for rank in range(4) for m in range(rank + 1)}
    for l3 in range(4):  # components of variance 1, on average
        listed = zip(spec.message.weights, spec.variances, strict=True)
        parts = [v * (2 if w.m else 1) * norms[l3, w.m] / norms[w.l1, w.m] for w, v in listed if w.l3 == l3]
        assert sum(parts) == 2 * l3 + 1


def test_what_has_no_frame_is_told_so():
    with pytest.raises(ValueError, match="convolution_natural_h0"):
        AlignedConvolutionSpec(0, 3)
    with pytest.raises(ValueError, match="natural parity"):
        parse("aligned_full_h1_e2")
    with pytest.raises(ValueError, match="edge must be"):
        AlignedMessageSpec(1, -1)
