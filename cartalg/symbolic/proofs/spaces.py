"""Proofs about spaces: bases, projectors, full tensors, and tensors with an index symmetry."""

from itertools import product as cartesian

import numpy as np
import sympy as sp

from cartalg.symbolic.basis import basis_polynomials, full_tensor_matrix, packing_matrix, squared_norms, to_sympy
from cartalg.symbolic.irreps import Irrep
from cartalg.symbolic.polynomials import RADIUS_SQUARED, RING, contraction, laplacian
from cartalg.symbolic.projector import detrace
from cartalg.symbolic.proofs import actions
from cartalg.symbolic.proofs.error import require
from cartalg.symbolic.ranks import multi_indices
from cartalg.symbolic.reducible import decompose, integers, parse_formula


def prove_generators(rank: int) -> None:
    """The generators are those of rank l and no others: [J_x, J_y] = J_z and so on, J^2 = -l(l+1), antisymmetric.

    The commutators make them a representation of so(3); J^2 and the dimension 2l+1 make it the irreducible one. So
    generators that are zero, scaled or of another rank fail.
    """
    j, size = actions.generators(rank), range(2 * rank + 1)
    norms = squared_norms(rank)
    for axis in range(3):
        first, second, third = j[axis], j[(axis + 1) % 3], j[(axis + 2) % 3]
        forth, back = actions.product(first, second), actions.product(second, first)
        require(
            all(forth[i][k] - back[i][k] == third[i][k] for i, k in cartesian(size, size)),
            f"rank {rank}: the generators do not commute as those of so(3)",
        )
        require(
            all(
                actions.to_field(first[i][k]) * norms[i] == -actions.to_field(first[k][i]) * norms[k]
                for i in size
                for k in size
            ),
            f"rank {rank}: a generator is not antisymmetric in the metric of the norms",
        )
    squares = [actions.product(m, m) for m in j]
    require(
        all(sum(s[i][k] for s in squares) == (-rank * (rank + 1) if i == k else 0) for i, k in cartesian(size, size)),
        f"rank {rank}: J^2 is not -l(l+1)",
    )


def prove_basis(rank: int) -> None:
    """Basis tensors are traceless, orthogonal, with squared norms in [1/2, 2), and turn by matrices of O(3).

    Generators and the reflection, applied to a basis polynomial, give exactly the combination of basis polynomials that
    `generator` and `packed_rotation` name.
    """
    basis = basis_polynomials(rank)
    require(len(basis) == 2 * rank + 1, f"rank {rank}: {len(basis)} basis tensors")
    for m, p in enumerate(basis):
        require(laplacian(p) == 0, f"rank {rank}, m = {m - rank}: not traceless")
        require(all(sum(e) == rank for e in p), f"rank {rank}, m = {m - rank}: wrong degree or parity")
        require(1 <= 2 * squared_norms(rank)[m] < 4, f"rank {rank}, m = {m - rank}: norm out of range")
        for n, q in enumerate(basis[:m]):
            require(contraction(p, q) == 0, f"rank {rank}: m = {m - rank} and {n - rank} are not orthogonal")
    prove_generators(rank)
    matrices = [*actions.generators(rank), actions.packed_mirror(Irrep.of_natural(rank))]
    for m, p in enumerate(basis):
        images = [*(actions.moved(p, axis) for axis in range(3)), actions.mirrored(p)]
        for image, matrix in zip(images, matrices, strict=True):
            column = [row[m] for row in matrix]
            require(image == actions.combined(rank, column), f"rank {rank}, m = {m - rank}: turns by another matrix")


def prove_projector(rank: int) -> None:
    """The projector is idempotent, leaves traceless tensors alone, removes multiples of r^2, and is equivariant."""
    for p in basis_polynomials(rank):
        require(detrace(p, rank) == p, f"rank {rank}: the projector changes a traceless tensor")
    if rank >= 2:
        for p in basis_polynomials(rank - 2):
            require(detrace(RADIUS_SQUARED * p, rank) == 0, f"rank {rank}: the projector leaves a trace")
    for exponents in multi_indices(rank):
        monomial = RING({exponents: RING.domain(1)})
        projected = detrace(monomial, rank)
        require(laplacian(projected) == 0, f"rank {rank}: the projector leaves a trace")
        for axis in range(3):
            turned = detrace(actions.moved(monomial, axis), rank)
            require(turned == actions.moved(projected, axis), f"rank {rank}: the projector is not equivariant")
        reflected = detrace(actions.mirrored(monomial), rank)
        require(reflected == actions.mirrored(projected), f"rank {rank}: the projector has no parity")


def prove_full_tensor(rank: int) -> None:
    """The full tensor is symmetric, packing undoes unpacking, and both commute with O(3)."""
    unpack, pack = full_tensor_matrix(rank), packing_matrix(rank)
    require(pack * unpack == sp.eye(2 * rank + 1), f"rank {rank}: packing does not undo unpacking")
    for flat in range(3**rank):
        digits = sp.ntheory.digits(flat, 3)[1:]
        digits = [0] * (rank - len(digits)) + digits if rank else []
        ordered = sum(d * 3**i for i, d in enumerate(sorted(digits, reverse=True)))
        require(unpack[flat, :] == unpack[ordered, :], f"rank {rank}: the full tensor is not symmetric")
    prove_generators(rank)
    _prove_maps(f"rank {rank}", rank, unpack, pack, [Irrep.of_natural(rank)])


def _prove_maps(what: str, order: int, unpack: sp.Matrix, pack: sp.Matrix, irreps: list[Irrep]) -> None:
    """Unpacking and packing between full tensors and a sum of irreps commute with generators and reflection."""
    embedded, _ = integers(np.array(unpack.tolist(), dtype=object))
    extracted, _ = integers(np.array(pack.T.tolist(), dtype=object))
    start = 0
    for irrep in irreps:
        place = slice(start, start + irrep.dim)
        start += irrep.dim
        shape = (3,) * order + (irrep.dim,)
        outward, inward = embedded[:, place].reshape(shape), extracted[:, place].reshape(shape)
        for axis, j in enumerate(actions.generators(irrep.l)):
            require(
                actions.is_image(actions.turned_tensor(outward, axis), outward, j),
                f"{what}: unpacking {irrep} does not commute with the generator about axis {axis}",
            )
            # packing J_full = J packing, transposed: the full generator is antisymmetric
            minus = [[-row[k] for row in j] for k in range(irrep.dim)]
            require(
                actions.is_image(actions.turned_tensor(inward, axis), inward, minus),
                f"{what}: packing {irrep} does not commute with the generator about axis {axis}",
            )
        mirror = actions.packed_mirror(irrep)
        across = [list(row) for row in zip(*mirror, strict=True)]
        for name, tensor, matrix in (("unpacking", outward, mirror), ("packing", inward, across)):
            require(
                actions.is_image(actions.mirrored_tensor(tensor), tensor, matrix),
                f"{what}: {name} {irrep} does not have its parity",
            )


def prove_decomposition(formula: str) -> None:
    """Parts of a tensor with an index symmetry: orthogonal, symmetric, complete, and equivariant under O(3)."""
    found = decompose(formula)
    require(found.packing * found.unpacking == sp.eye(found.dimension), f"{formula}: packing is not the inverse")
    require(trace_of_symmetriser(formula) == found.dimension, f"{formula}: the parts do not fill the space")
    _, group = parse_formula(formula)
    for number, part in enumerate(found.parts):
        for permutation, sign in group:
            moved = part.embedding.transpose((*permutation, found.order))
            require(bool((moved == sign * part.embedding).all()), f"{formula}: part {number} breaks the symmetry")
        squares = (part.embedding.reshape(-1, 2 * part.rank + 1) ** 2).sum(0)
        wanted = [part.squared_norm * to_sympy(n) * part.denominator**2 for n in squared_norms(part.rank)]
        require(list(squares) == wanted, f"{formula}: part {number} has the wrong norm")
    for rank in {part.rank for part in found.parts}:
        prove_generators(rank)
    _prove_maps(formula, found.order, found.unpacking, found.packing, list(found.irreps))


def trace_of_symmetriser(formula: str) -> int:
    """The dimension of the space of tensors with an index symmetry, by counting cycles: the trace of its projector."""
    order, group = parse_formula(formula)
    total = 0
    for permutation, sign in group:
        seen: set[int] = set()
        cycles = 0
        for start in range(order):
            cycles += start not in seen
            place = start
            while place not in seen:
                seen.add(place)
                place = permutation[place]
        total += sign * 3**cycles
    return total // len(group)
