"""Which weights of a potential are which of a MACE model, and by what factor: read in one direction or the other.

Features are the same tensors in another basis: v_l = S_l t_l, with S_l of `cartalg.symbolic.spherical` over orthonormal
components. Couplings of e3nn are then ours up to a known factor, and every linear map acts on channels alone, so that
weights correspond one by one: none is fitted. Source: docs/theory.md, eqs. 9, 11, 18, 35, 40.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from cartalg.interfaces.mace.contraction import ContractionMap, contraction_map
from cartalg.interfaces.mace.products import signs
from cartalg.interfaces.mace.source import BLOCKS, contractions, expect, gain_of, head_names
from cartalg.model import Potential
from cartalg.nn.interaction import EdgeConvolution, Interaction, ProductBasis
from cartalg.nn.radial import GAIN
from cartalg_codegen.specs import ConvolutionSpec


class Pair(Protocol):
    """Weights here and there that determine each other."""

    def to_ours(self) -> None:
        """Set the potential's."""

    def to_theirs(self) -> None:
        """Set MACE's."""


@dataclass(frozen=True)
class Same:
    """ours = factor * theirs, views of one shape."""

    ours: Tensor
    theirs: Tensor
    factor: float

    def to_ours(self) -> None:
        """Set the potential's."""
        self.ours.copy_(self.theirs.double() * self.factor)

    def to_theirs(self) -> None:
        """Set MACE's."""
        self.theirs.copy_(self.ours.double() / self.factor)


@dataclass(frozen=True)
class OfElements:
    """Matrices of elements, which MACE applies after one that all share: ours[z] = factor * shared @ each[z].

    Attributes:
        ours: [elements, rows, columns].
        shared: Parts of the shared matrix one below the other, [rows of the part, columns].
        each: [elements, columns, columns].
        factors: Of each part.
    """

    ours: Tensor
    shared: list[Tensor]
    each: Tensor
    factors: list[float]

    def to_ours(self) -> None:
        """Set the potential's."""
        joined = torch.cat([f * part.double() for f, part in zip(self.factors, self.shared, strict=True)])
        self.ours.copy_(joined @ self.each.double())

    def to_theirs(self) -> None:
        """Set MACE's: the shared matrix has orthogonal columns.

        Raises:
            NotConvertible: If matrices of several paths have been trained apart.
        """
        wanted = self.ours.double()
        left, values, _ = torch.linalg.svd(torch.cat([*wanted], 1), full_matrices=False)
        columns = self.each.shape[1]
        expect(
            float(values[columns:].sum()) <= 1e-9 * float(values[0]),
            "matrices of elements over several paths (element_messages) that are not products of a shared one",
        )
        shared = left[:, :columns]
        self.each.copy_(shared.t() @ wanted)
        for part, rows, f in zip(self.shared, shared.split([len(p) for p in self.shared]), self.factors, strict=True):
            part.copy_(rows / f)


@dataclass(frozen=True)
class Contracted:
    """Weights of the product basis and of MACE's trees, of one order and output, by the exact map.

    Attributes:
        known: The map.
        signs: Of the trees.
        ours: [elements, weights, channels], of which `places` belong to the map's terms.
        scales: Of those.
        theirs: [elements, trees, channels].
    """

    known: ContractionMap
    signs: list[int]
    ours: Tensor
    places: list[int]
    scales: Tensor
    theirs: Tensor

    @property
    def _factors(self) -> Tensor:
        squares = torch.tensor([float(q) for q in self.known.squares], dtype=torch.float64)
        return torch.tensor(self.signs, dtype=torch.float64) * squares.sqrt()

    def to_ours(self) -> None:
        """Set the potential's."""
        weights = (self._factors[:, None] * _matrix(self.known.matrix)).t() @ self.theirs.double()
        self.ours[:, self.places] = (weights / self.scales[:, None]).to(self.ours.dtype)

    def to_theirs(self) -> None:
        """Set MACE's: the smallest that there are."""
        weights = self.ours[:, self.places].double() * self.scales[:, None]
        self.theirs.copy_((self._factors[:, None] * _matrix(self.known.back)) @ weights)


@dataclass(frozen=True)
class Unused:
    """Weights that nothing depends on."""

    theirs: Tensor

    def to_ours(self) -> None:
        """There are none."""

    def to_theirs(self) -> None:
        """Set MACE's to zero."""
        self.theirs.zero_()


def correspondence(ours: Potential, theirs: Any, head: int = 0) -> Iterator[Pair]:
    """Every weight of the two but those that make energies of atoms.

    Args:
        ours: Of the architecture that `theirs` has here.
        theirs: A MACE model, in double precision.
        head: Number of its head.
    Raises:
        NotConvertible: If it holds what there is nothing equal to.
    """
    ((_, embedding, factor),) = blocks(theirs.node_embedding.linear)
    yield Same(ours.embedding, embedding, factor)
    for layer, block, product in zip(ours.interactions, theirs.interactions, theirs.products, strict=True):
        assert isinstance(layer, Interaction)
        yield from _convolution(layer.convolution, block)
        yield from _product(layer.product, product)
        yield from _residual(layer.residual, block, product)
    yield from _readouts(ours, theirs, head)


def blocks(linear: Any) -> list[tuple[tuple[int, int], Tensor, float]]:
    """Matrices of a linear map of e3nn: numbers of input and output irreps, view, normalisation."""
    return [
        ((ins.i_in, ins.i_out), view.detach(), float(ins.path_weight))
        for _, ins, view in linear.weight_views(yield_instruction=True)
    ]


def element_blocks(product: Any) -> dict[tuple[int, int], tuple[Tensor, float]]:
    """Matrices [elements, rows, columns] of a tensor product with one-hot elements, and their normalisation."""
    found = {}
    for _, ins, view in product.weight_views(yield_instruction=True):
        size = product.irreps_out[ins.i_out].ir.dim  # its Clebsch-Gordan coefficients are ones over its root
        found[ins.i_in1, ins.i_out] = view.detach().transpose(0, 1), float(ins.path_weight) / size**0.5
    return found


def _convolution(ours: EdgeConvolution, block: Any) -> Iterator[Pair]:
    """Maps before and after the sum over neighbours, and the radial network between them."""
    up = {n: (view, factor) for (n, _), view, factor in blocks(block.linear_up)}
    for n, weight in enumerate(ours.up.weight.values()):
        view, factor = up[n]
        yield Same(weight, view, factor / ours.up.scale)
    yield from _radial(ours, block)
    if ours.density is not None:
        yield Same(ours.density.weight, block.density_fn.layer0.weight.detach(), 1.0)
    neighbours = 1.0 if ours.density is not None else float(block.avg_num_neighbors)
    skip, mid = element_blocks(block.skip_tp), block.linear.irreps_in
    ordered = sorted(blocks(block.linear), key=_places)
    for goal, (name, weight) in enumerate(ours.mix.weight.items()):
        parts = [(view, factor) for (source, out), view, factor in ordered if out == goal]
        assert all(mid[source].ir == block.irreps_out[goal].ir for (source, out), *_ in ordered if out == goal)
        factors = [factor / neighbours / ours.mix.scales[name] for _, factor in parts]
        if ours.own:
            each, factor = skip[goal, goal]
            yield OfElements(weight, [view for view, _ in parts], each, [f * factor for f in factors])
            continue
        rows = weight.split([len(view) for view, _ in parts])
        for part, (view, _), factor in zip(rows, parts, factors, strict=True):
            yield Same(part, view, factor)


def _places(block: tuple[tuple[int, int], Tensor, float]) -> tuple[int, int]:
    return block[0]


def _radial(ours: EdgeConvolution, block: Any) -> Iterator[Pair]:
    """The radial network; its last matrix by paths."""
    radial, network, spec = ours.radial, block.conv_tp_weights, ours.spec
    assert isinstance(spec, ConvolutionSpec)
    inner = [getattr(network, f"layer{n}") for n in range(len(network.hs) - 1)]
    gain = gain_of(inner[0].act)
    for n, layer in enumerate(radial.layers):
        yield Same(layer, inner[n].weight.detach(), gain / GAIN if n else 1.0)
    places = {(p.left.l, p.edge.l, p.out.l): p for p in spec.paths}
    columns = inner[-1].weight.detach().split([i.path_shape[0] for i in block.conv_tp.instructions], 1)
    for instruction, column in zip(block.conv_tp.instructions, columns, strict=True):
        left, edge, out = (
            irreps[place].ir.l
            for irreps, place in (
                (block.conv_tp.irreps_in1, instruction.i_in1),
                (block.conv_tp.irreps_in2, instruction.i_in2),
                (block.conv_tp.irreps_out, instruction.i_out),
            )
        )
        path = places.pop((left, edge, out))
        # e3nn's harmonics have the norm 2l+1 and its couplings the norm 1; MACE's edges point the other way
        factor = float(instruction.path_weight) / math.sqrt(2 * out + 1) * math.sqrt(path.orthonormal_squared)
        factor *= (-1) ** edge * math.sqrt((2 * edge + 1) / path.edge_squared_norm)
        yield Same(radial.last[:, path.index], column, factor * gain / GAIN / float(radial.path_scale[path.index]))
    expect(not places, "a convolution that lacks paths")


def _product(ours: ProductBasis, product: Any) -> Iterator[Pair]:
    """Weights of symmetric contractions, by the exact map, and the linear map after them."""
    features, inner = ours.spec.features, contractions(product)
    places = {w.label: n for n, w in enumerate(ours.spec.weights)}
    scales = ours.weight_scale.double()
    for rank, contraction in enumerate(inner[: len(ours.outputs.irreps)]):
        listed = [contraction.weights_max, *contraction.weights]
        for order, given in zip(range(contraction.correlation, 0, -1), listed, strict=True):
            known = contraction_map(features, rank, order)
            if not known.trees:  # MACE holds one weight of zero there
                yield Unused(given.detach())
                continue
            reduced = f"a reduced basis of contractions ({given.shape[1]} of {len(known.trees)} trees)"
            expect(given.shape[1] == len(known.trees), reduced)
            signed = signs(known, features, rank, contraction.U_tensors(order))
            chosen = [places[label] for label in known.terms]
            yield Contracted(known, signed, ours.weight, chosen, scales[chosen], given.detach())
    matrices = {n: (view, factor) for (n, _), view, factor in blocks(product.linear)}
    for n, weight in enumerate(ours.linear.weight.values()):
        view, factor = matrices[n]
        yield Same(weight, view, factor / ours.linear.scale)


def _residual(ours: Any, block: Any, product: Any) -> Iterator[Pair]:
    """The residual map."""
    if ours is None:
        return
    expect(not BLOCKS[type(block).__name__] and product.use_sc, "a residual block whose residual is not used")
    matrices = element_blocks(block.skip_tp)
    for n, weight in enumerate(ours.linear.weight.values()):
        view, factor = matrices[n, n]
        yield Same(weight, view, factor / ours.linear.scale)


def _readouts(ours: Potential, theirs: Any, head: int) -> Iterator[Pair]:
    """Linear readouts of the first layers, and the network of the last."""
    heads, linear = len(head_names(theirs)), len(ours.readouts.mixings)
    for n, readout in enumerate(theirs.readouts):
        kind = type(readout).__name__
        if n < linear:
            expect(kind == "LinearReadoutBlock", f"the readout {kind} of layer {n}")
            view, factor = _scalars(readout.linear)
            yield Same(ours.readouts.get_parameter(str(n)), view[:, head], factor * math.sqrt(len(view)))
            continue
        expect(kind == "NonLinearReadoutBlock", f"the readout {kind}")
        expect(len(readout.hidden_irreps) == 1 and readout.hidden_irreps.lmax == 0, "a readout of tensors")
        (first, before), (second, after) = _scalars(readout.linear_1), _scalars(readout.linear_2)
        width, gain = first.shape[1] // heads, gain_of(readout.non_linearity.acts[0])
        mine = slice(head * width, (head + 1) * width)
        assert ours.last_readout is not None
        yield Same(ours.last_readout.get_parameter("0.weight"), first[:, mine].t(), before)
        yield Same(ours.last_readout.get_parameter("2.weight"), second[mine, head][None], gain * after)


def _scalars(linear: Any) -> tuple[Tensor, float]:
    """The matrix of the scalars."""
    return next((view, factor) for places, view, factor in blocks(linear) if places == (0, 0))


def _matrix(rows: Any) -> Tensor:
    return torch.tensor([[float(entry) for entry in row] for row in rows], dtype=torch.float64)
