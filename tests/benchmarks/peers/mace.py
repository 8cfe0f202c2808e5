"""MACE under the benchmark, eager as users run it on a CPU."""

import numpy as np
import torch
from ase.data import atomic_numbers
from e3nn import o3
from mace import data, modules, tools
from mace.calculators import MACECalculator
from mace.tools import torch_geometric


def potential(frames, setting, elements, cutoff):
    """Callables of one potential on one batch of frames."""
    torch.manual_seed(0)
    numbers = sorted(atomic_numbers[e] for e in elements)
    channels = setting["channels"]
    parity = ["e", "o", "e", "o"]
    hidden = " + ".join(f"{channels}x{rank}{parity[rank]}" for rank in range(setting["hidden"] + 1))
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
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
    table = tools.AtomicNumberTable(numbers)
    graphs = [data.AtomicData.from_config(data.config_from_atoms(a), z_table=table, cutoff=cutoff) for a in frames]
    batch = next(iter(torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False))).to_dict()

    def train():
        for p in model.parameters():
            p.grad = None
        out = model(batch, training=True)
        (out["forces"].square().mean() + out["energy"].square().mean()).backward()

    calculator = MACECalculator(models=[model], device="cpu", default_dtype="float32")
    # the calculator freezes the parameters; the training step needs them
    for p in model.parameters():
        p.requires_grad_(True)
    return {
        "energy and forces": lambda: model(batch, training=False),
        "training step": train,
        "calculator": calculator,
    }
