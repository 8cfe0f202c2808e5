"""TACE under the benchmark: random weights, its defaults beside the sizes of S, eager."""

import torch
from ase.data import atomic_numbers
from tace.interface.ase import TACEAseCalc
from tace.models import TensorModel, e3nnTACE

#: Parts of its configuration that stay at their defaults.
PARTS = (
    *("fidelity", "node_embedding", "edge_embedding", "edge_update", "radial_basis", "atomic_basis", "product_basis"),
    *("readout_emlp", "scale_shift", "short_range", "long_range", "universal_embedding"),
)


def _own(channels, hidden, edge):
    def build(frames, elements, cutoff):
        torch.manual_seed(0)
        numbers = sorted(atomic_numbers[e] for e in elements)
        flat = dict.fromkeys(numbers, 0.0)
        statistics = {"atomic_numbers": numbers, "atomic_energy": flat, "avg_num_neighbors": 20.0}
        statistics |= {"rms_forces": dict.fromkeys(numbers, 1.0), "mean_energy": flat}
        inner = e3nnTACE(
            Lmax=hidden,
            lmax=edge,
            num_layers=2,
            num_channel=channels,
            cutoff=cutoff,
            statistics=[statistics],
            target_property=["energy", "forces"],
            max_neighbors=None,
            atomic_numbers=numbers,
            **{part: {} for part in PARTS},
        )
        return TACEAseCalc(TensorModel(inner), dtype="float32", device="cpu")

    return build


OWN = {"32 channels, Lmax 1, lmax 2": _own(32, 1, 2)}
