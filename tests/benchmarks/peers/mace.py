"""MACE under the benchmark, eager as users run it on a CPU."""

from ase.data import atomic_numbers
from mace import data, tools
from mace.calculators import MACECalculator
from mace.tools import torch_geometric
from mace_model import model_of, write_foundation


def potential(frames, setting, elements, cutoff):
    """Callables of one potential on one batch of frames."""
    model = model_of(setting, elements, cutoff)
    table = tools.AtomicNumberTable(sorted(atomic_numbers[e] for e in elements))
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


def converted(path):
    """The calculator of a file of mace-torch."""
    write_foundation(path)
    return MACECalculator(model_paths=[str(path)], device="cpu", default_dtype="float32")


def _own(**options):
    def build(frames, elements, cutoff):
        model = model_of({"channels": 32, "hidden": 1, "edge": 2}, elements, cutoff)
        return MACECalculator(models=[model], device="cpu", default_dtype="float32", **options)

    return build


OWN = {"32 channels, hidden 1, edge 2": _own(), "the same, torch.compile": _own(compile_mode="default")}
