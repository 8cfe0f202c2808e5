"""From a MACE model to a potential that is the same function of the atoms.

Features are the same tensors in another basis: v_l = S_l t_l, with S_l of `cartalg.symbolic.spherical` over orthonormal
components. Couplings of e3nn are then ours up to a known factor, and every linear map acts on channels alone, so that
what is to be converted are weights: none is fitted. Source: docs/theory.md, eqs. 9, 11, 18, 35, 40.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from cartalg.architecture import ModelConfig
from cartalg.interfaces.mace.contraction import contraction_map
from cartalg.interfaces.mace.products import signs
from cartalg.interfaces.mace.source import (
    BLOCKS,
    NotConvertible,
    blocks,
    check,
    contractions,
    element_blocks,
    expect,
    gain_of,
)
from cartalg.model import Potential
from cartalg.nn.interaction import EdgeConvolution, Interaction, ProductBasis
from cartalg.nn.radial import GAIN
from cartalg_codegen.specs import ConvolutionSpec

#: Intervals of the radial tables of converted models.
KNOTS = 256


def convert(model: Any, head: str | None = None, radial_mode: str = "table", knots: int = KNOTS) -> Potential:
    """The potential that is a MACE model, in double precision.

    Args:
        model: A MACE or ScaleShiftMACE, in double precision.
        head: Which of its heads; it may be left out where there is one.
        radial_mode, knots: As in the configuration of a model. With ``direct`` the two agree to rounding.
    Raises:
        NotConvertible: Naming what has no equal here.
    """
    check(model)
    place = head_number(model, head)
    config = architecture(model, radial_mode, knots)
    elements = tuple(chemical_symbols[int(z)] for z in model.atomic_numbers)
    scale, shift = 1.0, 0.0
    if hasattr(model, "scale_shift"):
        scale, shift = (
            float(torch.atleast_1d(value)[place]) for value in (model.scale_shift.scale, model.scale_shift.shift)
        )
    shifts = torch.atleast_2d(model.atomic_energies_fn.atomic_energies)[place].double() + shift
    found = Potential(config, elements, shifts, scale, float(model.interactions[0].avg_num_neighbors))
    with torch.no_grad():
        (embedding,) = blocks(model.node_embedding.linear).values()
        found.embedding.copy_(embedding)
        for layer, block, product in zip(found.interactions, model.interactions, model.products, strict=True):
            assert isinstance(layer, Interaction)
            _convolution(layer.convolution, block)
            _product(layer.product, product)
            _residual(layer.residual, block, product)
        _readouts(found, model, place)
    return found


def architecture(model: Any, radial_mode: str, knots: int) -> ModelConfig:
    """The configuration that a model has here. Raises NotConvertible if there is none."""
    inner = model.interactions
    channels, hidden = _natural(inner[-1].node_feats_irreps, "hidden irreps")
    _, edge = _natural(inner[0].edge_attrs_irreps, "edge irreps")
    for n, product in enumerate(model.products[:-1]):
        same = _natural(product.linear.irreps_out, "hidden irreps") == (channels, hidden)
        expect(same, f"hidden irreps of layer {n} that differ from the last layer's")
    networks = {tuple(block.conv_tp_weights.hs[1:-1]) for block in inner}
    expect(len(networks) == 1, "radial networks of different widths")
    neighbours = {float(block.avg_num_neighbors) for block in inner}
    expect(len(neighbours) == 1, "numbers of neighbours that differ between layers")
    last, radial = model.readouts[-1], model.radial_embedding
    width = last.hidden_irreps.dim // len(_heads(model)) if hasattr(last, "hidden_irreps") else 1
    kinds = [BLOCKS[type(block).__name__] for block in inner]
    own = model.products[0].symmetric_contractions.contractions[0].weights_max.shape[0]
    return ModelConfig(
        cutoff=float(model.r_max),
        channels=channels,
        layers=len(inner),
        hidden_rank=hidden,
        edge_rank=edge,
        correlation=contractions(model.products[0])[0].correlation,
        product="complete",
        element_weights=own > 1 or len(model.atomic_numbers) == 1,
        residual="scales" if all(kinds) else "matrices",
        element_messages=sum(kinds),
        zbl=hasattr(model, "pair_repulsion_fn"),
        zbl_form="mace" if hasattr(model, "pair_repulsion_fn") else "universal",
        n_bessel=len(radial.bessel_fn.bessel_weights),
        radial_hidden=networks.pop(),
        envelope="basis" if getattr(radial, "apply_cutoff", True) else "weights",
        envelope_power=int(radial.cutoff_fn.p),
        knots=knots,
        radial_mode=radial_mode,
        readout_hidden=width,
        dtype="float64",
    )


def _natural(irreps: Any, what: str) -> tuple[int, int]:
    """(multiplicity, highest rank) of irreps of natural parity, each rank from 0 once."""
    listed = [(ir.l, ir.p) for _, ir in irreps]
    plain = listed == [(n, (-1) ** n) for n in range(len(listed))] and len({mul for mul, _ in irreps}) == 1
    expect(plain, f"{what} {irreps}; those of natural parity, as many channels of each rank from 0, can be")
    return int(irreps[0].mul), len(listed) - 1


def _heads(model: Any) -> list[str]:
    return list(getattr(model, "heads", None) or ["Default"])


def head_number(model: Any, wanted: str | None) -> int:
    """The number of a head, by its name. Raises NotConvertible for none, or one of several that is not named."""
    names = _heads(model)
    if wanted is None and len(names) > 1:
        raise NotConvertible(f"the model has the heads {', '.join(names)}: choose one with --head")
    if wanted is not None and wanted not in names:
        raise NotConvertible(f"the model has no head {wanted!r}; it has {', '.join(names)}")
    return names.index(wanted) if wanted is not None else 0


def _convolution(ours: EdgeConvolution, block: Any) -> None:
    """Maps before and after the sum over neighbours, and the radial network between them."""
    for n, weight in enumerate(ours.up.weight.values()):
        weight.copy_(blocks(block.linear_up)[n, n] / ours.up.scale)
    radial, network, spec = ours.radial, block.conv_tp_weights, ours.spec
    assert isinstance(spec, ConvolutionSpec)
    inner = [getattr(network, f"layer{n}") for n in range(len(network.hs) - 1)]
    gain = gain_of(inner[0].act)
    for n, layer in enumerate(radial.layers):
        layer.copy_(inner[n].weight.double() * (gain / GAIN if n else 1))
    places = {(p.left.l, p.edge.l, p.out.l): p for p in spec.paths}
    columns = inner[-1].weight.double().split([i.path_shape[0] for i in block.conv_tp.instructions], 1)
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
        factor = instruction.path_weight / math.sqrt(2 * out + 1) * math.sqrt(path.orthonormal_squared)
        factor *= (-1) ** edge * math.sqrt((2 * edge + 1) / path.edge_squared_norm)
        radial.last[:, path.index] = column * (factor * gain / GAIN / radial.path_scale[path.index])
    expect(not places, "a convolution that lacks paths")
    found: dict[int, list[Tensor]] = {}
    mid, skip = block.linear.irreps_in, element_blocks(block.skip_tp)
    for (source, goal), matrix in sorted(blocks(block.linear).items()):
        assert mid[source].ir == block.irreps_out[goal].ir
        found.setdefault(goal, []).append(matrix / block.avg_num_neighbors)
    for n, (name, weight) in enumerate(ours.mix.weight.items()):
        matrix = torch.cat(found[n])
        weight.copy_((matrix @ skip[n, n] if ours.own else matrix) / ours.mix.scales[name])


def _product(ours: ProductBasis, product: Any) -> None:
    """Weights of symmetric contractions, by the exact map, and the linear map after them."""
    features, inner = ours.spec.features, contractions(product)
    places = {w.label: n for n, w in enumerate(ours.spec.weights)}
    scales = ours.weight_scale.double()
    ours.weight.zero_()
    for rank, contraction in enumerate(inner[: len(ours.outputs.irreps)]):
        listed = [contraction.weights_max, *contraction.weights]
        for order, given in zip(range(contraction.correlation, 0, -1), listed, strict=True):
            known = contraction_map(features, rank, order)
            if not known.trees:  # MACE holds one weight of zero there
                continue
            reduced = f"a reduced basis of contractions ({given.shape[1]} of {len(known.trees)} trees)"
            expect(given.shape[1] == len(known.trees), reduced)
            signed = signs(known, features, rank, contraction.U_tensors(order))
            factors = torch.tensor([s * math.sqrt(q) for s, q in zip(signed, known.squares, strict=True)])
            matrix = torch.tensor([[float(entry) for entry in row] for row in known.matrix], dtype=torch.float64)
            weights = (factors.double()[:, None] * matrix).t() @ given.double()
            for n, label in enumerate(known.terms):
                ours.weight[:, places[label]] = weights[:, n] / scales[places[label]]
    matrices = blocks(product.linear)
    for n, weight in enumerate(ours.linear.weight.values()):
        weight.copy_(matrices[n, n] / ours.linear.scale)


def _residual(ours: Any, block: Any, product: Any) -> None:
    """The residual map: zero where MACE has none."""
    has = not BLOCKS[type(block).__name__] and product.use_sc
    matrices = element_blocks(block.skip_tp) if has else {}
    for n, weight in enumerate(ours.linear.weight.values()):
        weight.copy_(matrices[n, n] / ours.linear.scale if has else torch.zeros_like(weight))


def _readouts(ours: Any, model: Any, head: int) -> None:
    """Linear readouts, and the last one with its hidden layer: zero where MACE has none."""
    for parameter in (*ours.readouts.parameters(), *ours.last_readout.parameters()):
        parameter.zero_()
    count, layers = len(model.readouts), len(ours.interactions)
    for layer, readout in zip(range(layers)[-count:], model.readouts, strict=True):
        kind = type(readout).__name__
        if kind == "LinearReadoutBlock":
            column = blocks(readout.linear)[0, 0][:, head]
            ours.readouts.get_parameter(str(layer)).copy_(column * math.sqrt(len(column)))
            continue
        expect(kind == "NonLinearReadoutBlock" and layer == layers - 1, f"the readout {kind} of layer {layer}")
        expect(len(readout.hidden_irreps) == 1 and readout.hidden_irreps.lmax == 0, "a readout of tensors")
        first, second = blocks(readout.linear_1)[0, 0], blocks(readout.linear_2)[0, 0]
        width = first.shape[1] // len(_heads(model))
        mine = slice(head * width, (head + 1) * width)
        ours.last_readout[0].weight.copy_(first[:, mine].t())
        ours.last_readout[2].weight.copy_(gain_of(readout.non_linearity.acts[0]) * second[mine, head][None])
