"""A MACE model with random weights, of the sizes of a case."""

from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from mace import modules  # isort: skip  (before e3nn, which it lets read its tables)
from e3nn import o3  # isort: skip


def model_of(setting, elements, cutoff):
    """Two layers, correlation 3, natural parity: the architecture that the other peers stand beside."""
    torch.manual_seed(0)
    numbers = sorted(atomic_numbers[e] for e in elements)
    hidden = " + ".join(f"{setting['channels']}x{rank}{'eo'[rank % 2]}" for rank in range(setting["hidden"] + 1))
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    return modules.ScaleShiftMACE(
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        r_max=cutoff,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=setting["edge"],
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(hidden),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=20.0,
        atomic_numbers=numbers,
        correlation=3,
        gate=torch.nn.functional.silu,
    )


def write_foundation(path: Path) -> None:
    """A file of the sizes of a foundation model, 89 elements, unless it is there."""
    if not path.exists():
        setting = {"channels": 128, "hidden": 1, "edge": 3}
        torch.save(model_of(setting, [chemical_symbols[z] for z in range(1, 90)], 5.0), path)
