"""NequIP and Allegro under the benchmark, random weights, compiled ahead of time by `nequip-compile --target ase`."""

import tempfile
from pathlib import Path

from allegro.model import AllegroModel
from nequip.integrations.ase import NequIPCalculator
from nequip.integrations.utils import basic_transforms
from nequip.model import NequIPGNNModel
from nequip.model.nequip_models import PresetNequIPGNNModel
from nequip.scripts import compile as compiler
from nequip.utils.global_state import set_global_state

ALLEGRO = {
    "l_max": 2,
    "num_layers": 2,
    "num_scalar_features": 64,
    "num_tensor_features": 32,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 8},
}


def _own(builder, **sizes):
    def build(frames, elements, cutoff):
        set_global_state()
        common = {
            "seed": 0,
            "model_dtype": "float32",
            "r_max": cutoff,
            "type_names": elements,
            "avg_num_neighbors": 20.0,
        }
        model = builder(**common, **sizes).eval()
        transforms = basic_transforms(model.metadata, cutoff, elements, {e: e for e in elements})
        data = NequIPCalculator(model, "cpu", transforms=transforms).atoms_to_data(frames[0])
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "model.nequip.pt2")
            compiler.load_saved_model = lambda *_, **__: (model, data)  # a model with random weights, not a checkpoint
            compiler.main(["in memory", path, "--mode", "aotinductor", "--device", "cpu", "--target", "ase"])
            return NequIPCalculator.from_compiled_model(path, "cpu", {e: e for e in elements})

    return build


OWN = {
    "NequIP, 2 layers, l 1, 32 features": _own(NequIPGNNModel, num_layers=2, l_max=1, num_features=32, parity=False),
    "NequIP, preset S": _own(PresetNequIPGNNModel, preset="S"),
    "Allegro, 2 layers, l 2, 64 and 32 features": _own(AllegroModel, **ALLEGRO),
}
