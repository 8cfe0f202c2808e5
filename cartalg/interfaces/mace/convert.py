"""From a MACE model to a potential that is the same function of the atoms."""

from __future__ import annotations

from typing import Any

import torch
from ase.data import chemical_symbols

from cartalg.architecture import ModelConfig
from cartalg.interfaces.mace.correspondence import correspondence
from cartalg.interfaces.mace.radial import options_here
from cartalg.interfaces.mace.source import BLOCKS, NotConvertible, check, contractions, expect, has_density, head_names
from cartalg.model import Potential

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
        for parameter in found.parameters():
            parameter.fill_(torch.nan)
        for pair in correspondence(found, model, place):
            pair.to_ours()
    assert not any(p.isnan().any() for p in found.parameters()), "every weight has a counterpart"
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
    width = last.hidden_irreps.dim // len(head_names(model)) if hasattr(last, "hidden_irreps") else 1
    kinds = [BLOCKS[type(block).__name__] for block in inner]
    orders = [contractions(product)[0].correlation for product in model.products]
    readouts = "inner" if len(model.readouts) > 1 else "last"
    if len(inner) == 1:
        readouts = "linear"
        expect(len(model.readouts) == 1, "a model of one layer without a readout")
    own = model.products[0].symmetric_contractions.contractions[0].weights_max.shape[0]
    return ModelConfig(
        cutoff=float(model.r_max),
        channels=channels,
        layers=len(inner),
        hidden_rank=hidden,
        edge_rank=edge,
        correlation=orders[0] if len(set(orders)) == 1 else tuple(orders),
        product="independent",
        element_weights=own > 1 or len(model.atomic_numbers) == 1,
        residual="scales" if all(kinds) else "matrices",
        element_messages=sum(kinds),
        zbl=hasattr(model, "pair_repulsion_fn"),
        zbl_form="mace" if hasattr(model, "pair_repulsion_fn") else "universal",
        **options_here(model),
        density=has_density(inner[0]),
        radial_hidden=networks.pop(),
        envelope="basis" if getattr(radial, "apply_cutoff", True) else "weights",
        envelope_power=int(radial.cutoff_fn.p),
        knots=knots,
        radial_mode=radial_mode,
        readouts=readouts,
        readout_hidden=width,
        dtype="float64",
    )


def _natural(irreps: Any, what: str) -> tuple[int, int]:
    """(multiplicity, highest rank) of irreps of natural parity, each rank from 0 once."""
    listed = [(ir.l, ir.p) for _, ir in irreps]
    plain = listed == [(n, (-1) ** n) for n in range(len(listed))] and len({mul for mul, _ in irreps}) == 1
    expect(plain, f"{what} {irreps}; those of natural parity, as many channels of each rank from 0, can be")
    return int(irreps[0].mul), len(listed) - 1


def head_number(model: Any, wanted: str | None) -> int:
    """The number of a head, by its name. Raises NotConvertible for none, or one of several that is not named."""
    names = head_names(model)
    if wanted is None and len(names) > 1:
        raise NotConvertible(f"the model has the heads {', '.join(names)}: choose one with --head")
    if wanted is not None and wanted not in names:
        raise NotConvertible(f"the model has no head {wanted!r}; it has {', '.join(names)}")
    return names.index(wanted) if wanted is not None else 0
