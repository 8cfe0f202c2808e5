"""A MACE model as its own library gives it: read, and looked over for what cannot be converted."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import silu

#: Blocks that layers may be, and whether each maps messages by matrices of the receiver's element.
BLOCKS = {
    "RealAgnosticInteractionBlock": True,
    "RealAgnosticResidualInteractionBlock": False,
    "RealAgnosticDensityInteractionBlock": True,
    "RealAgnosticDensityResidualInteractionBlock": False,
}
MODELS = ("MACE", "ScaleShiftMACE")


class NotConvertible(ValueError):
    """A model holds what there is nothing equal to here; the message names it."""


def load_mace(path: Path, trust: bool) -> Any:
    """Read a model file of mace-torch, in double precision, by its own library.

    Args:
        path: Written by `torch.save`: it is a pickle, and reading it runs the code that it names.
        trust: Whether the file may do so.
    Raises:
        FileNotFoundError: If there is no file.
        NotConvertible: If it is not trusted, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if not trust:
        raise NotConvertible(
            f"{path}: reading a MACE file runs code that the file itself names; if you trust where it comes from, "
            "give --trust"
        )
    with warnings.catch_warnings():  # of e3nn, about how it reads its own tables
        warnings.simplefilter("ignore")
        import mace  # noqa: F401  (its classes must be there)

        model = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(model, nn.Module) or type(model).__name__ not in MODELS:
        raise NotConvertible(f"{path}: holds {type(model).__name__}; what can be converted is {' and '.join(MODELS)}")
    return model


def expect(holds: bool, what: str) -> None:
    """Raise NotConvertible, naming what there is nothing equal to, unless a condition holds."""
    if not holds:
        raise NotConvertible(f"the model cannot be converted: {what}")


def check(model: Any) -> None:
    """Raise NotConvertible for anything that has no equal here."""
    for name, about in (
        ("joint_embedding", "embeddings of further inputs"),
        ("embedding_readout", "a readout of the embedding"),
    ):
        expect(not hasattr(model, name), about)
    expect(not getattr(model, "use_so3", False), "harmonics without parity (use_so3)")
    for block in model.interactions:
        kind = type(block).__name__
        expect(kind in BLOCKS, f"the interaction {kind}")
        expect(str(block.edge_irreps) == str(block.node_feats_irreps), f"edge irreps of their own, {block.edge_irreps}")
        for name in ("cueq_config", "oeq_config"):
            expect(getattr(block, name, None) is None, f"modules of another library ({name}); save it without them")
    if hasattr(model, "pair_repulsion_fn"):
        repulsion = model.pair_repulsion_fn
        expect(int(repulsion.p) == int(model.radial_embedding.cutoff_fn.p), "a repulsion with a cutoff of its own")
        for name, value in (("a_exp", 0.3), ("a_prefactor", 0.4543)):
            expect(abs(float(getattr(repulsion, name)) - value) < 1e-6, f"a repulsion with another {name}")
    kinds = [BLOCKS[type(block).__name__] for block in model.interactions]
    expect(kinds == sorted(kinds, reverse=True), "a block without a residual map behind a residual one")
    expect(len({has_density(block) for block in model.interactions}) == 1, "a density in some of the layers")
    orders = [{contraction.correlation for contraction in contractions(product)} for product in model.products]
    expect(all(len(of_layer) == 1 for of_layer in orders), "correlations that differ between irreps")
    highest = max(max(of_layer) for of_layer in orders)
    expect(highest <= 4, f"correlation {highest}; 1 to 4 can be")


def has_density(block: Any) -> bool:
    """Whether its messages are divided by a learned density."""
    return "Density" in type(block).__name__


def head_names(model: Any) -> list[str]:
    """Names of its heads."""
    return list(getattr(model, "heads", None) or ["Default"])


def contractions(product: Any) -> list[Any]:
    """The symmetric contractions of a product block, one for each output irrep."""
    return list(product.symmetric_contractions.contractions)


def gain_of(activation: Any) -> float:
    """The factor of a normalised silu.

    Raises:
        NotConvertible: If it is another function.
    """
    x = torch.tensor([-2.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    ratio = activation(x.to(torch.get_default_dtype())).double() / silu(x)
    expect(torch.allclose(ratio, ratio[:1], rtol=1e-5), "a gate that is not silu")
    return float(getattr(activation, "cst", ratio[2]))
