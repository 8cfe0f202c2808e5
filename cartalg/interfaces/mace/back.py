"""From a potential whose architecture is one of MACE's to a model of mace-torch that is the same function."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import nn
from torch.nn.functional import silu

from cartalg.interfaces.mace.correspondence import correspondence
from cartalg.interfaces.mace.radial import options_there, set_constants
from cartalg.interfaces.mace.source import NotConvertible
from cartalg.model import Potential

#: Options of an architecture, and the values of them that MACE has.
NEEDED: dict[str, tuple[Any, ...]] = {
    "parity": ("natural",),
    "product": ("independent",),
    "messages": ("paths",),
    "latent_channels": (None,),
    "gate": (False,),
    "norm": (False,),
    "properties": ((),),
    "readouts": ("inner", "last", "linear"),
}


def to_mace(potential: Potential) -> nn.Module:
    """The ScaleShiftMACE that is a potential, in double precision, made by mace's own classes.

    Where MACE has more weights than functions, in its contractions, they are the smallest that there are.

    Raises:
        NotConvertible: Naming the option that MACE has no equal of.
    """
    given = options(potential)
    with double(), warnings.catch_warnings():  # of e3nn, about how it reads its own tables
        warnings.simplefilter("ignore")
        from mace import modules  # isort: skip  (before e3nn, which it lets read its tables)
        from e3nn import o3  # isort: skip

        for name in ("interaction_cls", "interaction_cls_first"):
            given[name] = modules.interaction_classes[given[name]]
        for name in ("hidden_irreps", "MLP_irreps"):
            given[name] = o3.Irreps(given[name])
        found: nn.Module = modules.ScaleShiftMACE(**given, gate=silu)
        with torch.no_grad():
            set_constants(found, potential.config)
            fixed = {name for name, p in found.named_parameters() if not p.requires_grad or "radial_embedding" in name}
            for name, parameter in found.named_parameters():
                if name not in fixed:
                    parameter.fill_(torch.nan)
            for pair in correspondence(potential, found):
                pair.to_theirs()
    unset = [name for name, p in found.named_parameters() if p.isnan().any()]
    assert not unset, f"MACE's {unset} have no counterpart"
    return found


def options(potential: Potential) -> dict[str, Any]:
    """What MACE's class is made with, names in place of its own classes.

    Raises:
        NotConvertible: As `to_mace` does.
    """
    config = potential.config
    for name, allowed in NEEDED.items():
        value = getattr(config, name)
        if value not in allowed:
            wanted = " or ".join(str(v) for v in allowed)
            raise NotConvertible(f"MACE has no equal of model.{name}: {value}; it needs {wanted}")
    _require(config.residual == "matrices" or config.element_messages >= config.layers, "model.residual: scales")
    _require(config.zbl_form == "mace" or not config.zbl, "model.zbl_form: universal")
    _require(not potential.shortest, "radial functions that stay as they are below the distances of the training data")
    _require(config.layers > 1 or config.readouts == "linear", "a network that reads a single layer; model.readouts")
    _require(config.layers == 1 or config.readouts != "linear", "model.readouts: linear in several layers")
    plain, residual = (f"RealAgnostic{'Density' * config.density}{kind}InteractionBlock" for kind in ("", "Residual"))
    _require(config.element_messages in (0, 1, config.layers), f"model.element_messages: {config.element_messages}")
    hidden = "+".join(f"{config.channels}x{rank}{'eo'[rank % 2]}" for rank in range(config.hidden_rank + 1))
    return {
        "atomic_inter_scale": potential.scale,
        "atomic_inter_shift": 0.0,
        "r_max": config.cutoff,
        **options_there(config),
        "num_polynomial_cutoff": config.envelope_power,
        "max_ell": config.edge_rank,
        "interaction_cls_first": plain if config.element_messages else residual,
        "interaction_cls": plain if config.element_messages == config.layers > 1 else residual,
        "num_interactions": config.layers,
        "num_elements": len(potential.elements),
        "hidden_irreps": hidden,
        "MLP_irreps": f"{config.readout_hidden}x0e",
        "atomic_energies": potential.shifts.double().numpy()[None],
        "avg_num_neighbors": potential.mean_neighbours,
        "atomic_numbers": [atomic_numbers[e] for e in potential.elements],
        "correlation": [*config.correlations],
        "radial_MLP": [*config.radial_hidden],
        "apply_cutoff": config.envelope == "basis",
        "pair_repulsion": config.zbl,
        "use_agnostic_product": not config.element_weights,
        "use_last_readout_only": config.readouts == "last",
        "use_reduced_cg": False,
        "heads": ["Default"],
    }


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise NotConvertible(f"MACE has no equal of {what}")


@contextmanager
def double() -> Iterator[None]:
    """Double precision as Torch's default, in which MACE makes constants."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
