"""DeePMD-kit under the benchmark: random weights in descriptors of its examples' sizes, frozen by its Torch backend.

The tables that replace the embedding network (`dp compress`), which its documentation names for speed, are made for
the smooth edition. Neighbour lists are built at each step by its calculator.
"""

import tempfile
from pathlib import Path

import torch
from deepmd.calculator import DP
from deepmd.pt.model.model import get_model

#: The frozen models must outlive their calculators.
FOLDERS = []
FITTING = {"neuron": [240, 240, 240], "resnet_dt": True, "precision": "float32", "seed": 1}
SMOOTH = {"type": "se_e2_a", "neuron": [25, 50, 100], "axis_neuron": 16, "precision": "float32", "seed": 1}
DPA1 = {
    "type": "se_atten_v2",
    "neuron": [25, 50, 100],
    "axis_neuron": 16,
    "attn_layer": 0,
    "precision": "float32",
    "seed": 1,
}


def _own(descriptor, compress=False):
    def build(frames, elements, cutoff):
        torch.manual_seed(0)
        sel = [40] * len(elements) if descriptor["type"] == "se_e2_a" else 60
        described = {**descriptor, "rcut": cutoff, "rcut_smth": 0.1 * cutoff, "sel": sel}
        model = get_model({"type_map": list(elements), "descriptor": described, "fitting_net": FITTING}).eval()
        if compress:
            model.min_nbor_dist = torch.tensor(0.9)
            model.enable_compression(5, 0.01, 0.1, -1)
        FOLDERS.append(tempfile.TemporaryDirectory())
        path = str(Path(FOLDERS[-1].name) / "frozen.pth")
        torch.jit.script(model).save(path)
        return DP(path)

    return build


OWN = {
    "se_e2_a": _own(SMOOTH),
    "se_e2_a, compressed": _own(SMOOTH, compress=True),
    "DPA-1 without attention": _own(DPA1),
    "DPA-1 without attention, compressed": _own(DPA1, compress=True),
}
