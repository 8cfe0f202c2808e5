"""Equivariance under O(3) of a function of packed or Cartesian tensors, as an assertion.

    assert_equivariant(layer, Irreps("0e + 1o + 2e"), Irreps("0e + 1o"))
    assert_equivariant(lambda a, v: ..., ["0e + 1o", 1], "1o")     # packed features and Cartesian vectors
    assert_invariant(energy, ["0e + 1o", None])                    # None: numbers that do not turn

Rotations are rational, so that the same assertion holds *exactly* of functions that compute with fractions.
Source: docs/theory.md, eqs. 12, 13.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg.symbolic.rotation import packed_rotation, rational_rotation
from cartalg.testing.tolerances import DOUBLE, SINGLE

Array = Any
#: How a tensor turns: irreps of its packed components, the number of its Cartesian indices, or not at all.
Kind = Irreps | str | int | None
Kinds = Kind | Sequence[Kind]


@dataclass(frozen=True)
class Turn:
    """A rational rotation by an integer quaternion (w, x, y, z), followed by the inversion if so."""

    quaternion: tuple[int, int, int, int]
    inversion: bool = False

    def matrix(self) -> Array:
        """Orthogonal 3x3 matrix of fractions. Raises ValueError for the quaternion zero."""
        return _fractions(rational_rotation(self.quaternion, self.inversion))

    def packed(self, irrep: Irrep) -> Array:
        """The matrix of fractions that turns an irrep's packed components, [2l+1, 2l+1]."""
        return _packed(self, irrep)

    def __str__(self) -> str:
        return f"the rotation {self.quaternion}" + (" with the inversion" if self.inversion else "")


#: The inversion alone; a rotation about no axis of symmetry, a large one, and both with the inversion.
TURNS = (
    Turn((1, 0, 0, 0), True),
    Turn((1, 2, -1, 3)),
    Turn((0, 3, 1, -2)),
    Turn((1, 2, -1, 3), True),
    Turn((2, -1, 1, 0), True),
)


def _fractions(matrix: Any) -> Array:
    rows = [[Fraction(int(e.p), int(e.q)) for e in matrix.row(i)] for i in range(matrix.rows)]
    return np.array(rows, dtype=object)


@cache
def _packed(turn: Turn, irrep: Irrep) -> Array:
    return _fractions(packed_rotation(irrep.l, rational_rotation(turn.quaternion, turn.inversion), irrep.p))


def rotate(values: Array, kind: Kind, turn: Turn) -> Array:
    """Turn tensors, one a row.

    Args:
        values: Torch tensor or NumPy array (of floats, or of exact numbers as objects). Packed: shape
            [rows, components, ..], several copies of an irrep as [component, copy]. Cartesian: [rows, 3, .., 3, ..].
        kind: Irreps of the packed components; or the number of Cartesian indices, of a tensor made of vectors; or None
            for numbers that do not turn.
        turn: The rotation.
    Returns:
        The same shape and type.
    Raises:
        ValueError: If the shape does not fit.
    """
    if kind is None:
        return values
    if isinstance(kind, int):
        if tuple(values.shape[1 : kind + 1]) != (3,) * kind:
            raise ValueError(
                f"a tensor of {kind} Cartesian indices has shape [rows{', 3' * kind}, ..], got {list(values.shape)}"
            )
        for axis in range(1, kind + 1):
            values = _apply(turn.matrix(), values, axis)
        return values
    irreps = _irreps(kind)
    if len(values.shape) < 2 or values.shape[1] != irreps.dim:
        raise ValueError(f"{irreps} has {irreps.dim} components, in axis 1; got shape {list(values.shape)}")
    parts = []
    for (mul, irrep), place in zip(irreps, irreps.slices, strict=True):
        block = values[:, place]
        copies = block.reshape(block.shape[0], irrep.dim, mul, *block.shape[2:])
        parts.append(_apply(turn.packed(irrep), copies, 1).reshape(block.shape))
    return torch.cat(parts, 1) if isinstance(values, Tensor) else np.concatenate(parts, 1)


def _irreps(kind: Irreps | str) -> Irreps:
    return Irreps(kind) if isinstance(kind, str) else kind


def _apply(matrix: Array, values: Array, axis: int) -> Array:
    if isinstance(values, Tensor):
        own = torch.tensor(matrix.astype(float), dtype=values.dtype, device=values.device)
        return torch.tensordot(own, values, dims=([1], [axis])).movedim(0, axis)
    own = matrix if values.dtype == object else matrix.astype(values.dtype)
    return np.moveaxis(np.tensordot(own, values, (1, axis)), 0, axis)


def assert_equivariant(
    function: Callable[..., Any],
    kinds_in: Kinds,
    kinds_out: Kinds,
    *,
    inputs: Sequence[Array] | None = None,
    rows: int = 3,
    channels: int | None = 4,
    dtype: torch.dtype = torch.float64,
    exact: bool = False,
    tolerance: float | None = None,
    turns: Sequence[Turn] = TURNS,
    seed: int = 0,
) -> None:
    """Assert f(D x) = D' f(x) for rotations and reflections.

    Args:
        function: Takes a tensor for each entry of `kinds_in`, returns one for each of `kinds_out`.
        kinds_in, kinds_out: How each turns, as in `rotate`; one that is not in a list stands for one tensor.
        inputs: Tensors to use; by default drawn from the normal distribution.
        rows, channels: Of the inputs that are drawn, shape [rows, components, channels]; None for no channel axis.
        dtype: Of the inputs that are drawn.
        exact: Draw NumPy arrays of fractions, and demand equality.
        tolerance: Largest error, relative to the largest entry of an irrep; by default that of the precision.
        turns: The rotations.
        seed: Of the inputs that are drawn.
    Raises:
        AssertionError: Naming the output, the irrep, the rotation and the error.
        ValueError: If a shape does not fit, or if the assertion would say nothing: an output is all zero, or changes
            from one call to the next.
    """
    many_in, many_out = _many(kinds_in), _many(kinds_out)
    if inputs is None:
        inputs = _draw(many_in, rows, channels, dtype, exact, seed)
    elif len(inputs) != len(many_in):
        raise ValueError(f"{len(inputs)} inputs for {len(many_in)} kinds of inputs")
    plain, again = (_outputs(function(*inputs), many_out) for _ in range(2))
    for n, (value, other) in enumerate(zip(plain, again, strict=True)):
        if not bool((value != 0).any()):
            raise ValueError(f"output {n} is zero for the given inputs: nothing can be said of it")
        if not bool(((value == other) | (value != value)).all()):
            raise ValueError(f"output {n} is another one when the function is called again")
    for turn in turns:
        turned = [rotate(x, kind, turn) for x, kind in zip(inputs, many_in, strict=True)]
        found = _outputs(function(*turned), many_out)
        for n, (value, after, kind) in enumerate(zip(plain, found, many_out, strict=True)):
            _compare(after, rotate(value, kind, turn), kind, f"output {n}", turn, exact, tolerance)


def assert_invariant(function: Callable[..., Any], kinds_in: Kinds, outputs: int = 1, **options: Any) -> None:
    """Assert f(D x) = f(x) for rotations and reflections: `assert_equivariant` with outputs that do not turn.

    Args:
        function, kinds_in, options: As for `assert_equivariant`.
        outputs: How many tensors the function returns.
    Raises:
        AssertionError, ValueError: As `assert_equivariant`.
    """
    assert_equivariant(function, kinds_in, [None] * outputs, **options)


def _many(kinds: Kinds) -> list[Kind]:
    if kinds is None or isinstance(kinds, Irreps | str | int):
        return [kinds]
    return list(kinds)


def _draw(
    kinds: Sequence[Kind], rows: int, channels: int | None, dtype: torch.dtype, exact: bool, seed: int
) -> list[Array]:
    random = np.random.default_rng(seed)
    found: list[Array] = []
    for kind in kinds:
        components = [3] * kind if isinstance(kind, int) else [1] if kind is None else [_irreps(kind).dim]
        shape = (rows, *components, *([] if channels is None else [channels]))
        if exact:
            numbers = zip(random.integers(-9, 10, shape).flat, random.integers(1, 6, shape).flat, strict=True)
            found.append(np.array([Fraction(int(a), int(b)) for a, b in numbers], dtype=object).reshape(shape))
        else:
            found.append(torch.tensor(random.standard_normal(shape), dtype=dtype))
    return found


def _outputs(result: Any, kinds: Sequence[Kind]) -> list[Array]:
    found = list(result) if isinstance(result, tuple | list) else [result]
    if len(found) != len(kinds):
        raise ValueError(f"the function returns {len(found)} tensors; {len(kinds)} kinds of outputs were given")
    return [x.detach() if isinstance(x, Tensor) else x for x in found]


def _compare(
    found: Array, wanted: Array, kind: Kind, what: str, turn: Turn, exact: bool, tolerance: float | None
) -> None:
    if kind is None or isinstance(kind, int):
        blocks = [("", slice(None))]
    else:
        irreps = _irreps(kind)
        blocks = [(f", {term}", place) for term, place in zip(irreps, irreps.slices, strict=True)]
    single = isinstance(found, Tensor) and found.dtype != torch.float64
    limit = 0.0 if exact else tolerance or (SINGLE if single else DOUBLE).identity
    for name, place in blocks:
        ours, theirs = (x if kind is None or isinstance(kind, int) else x[:, place] for x in (found, wanted))
        scale = max(float(abs(theirs).max()), 1e-30)
        error = float(abs(ours - theirs).max()) / scale
        if not error <= limit:  # also if it is not a number
            raise AssertionError(f"{what}{name}: relative error {error:.1e} (at most {limit:.1e}) under {turn}")
