"""Symmetrix-XL under the benchmark: a MACE model of the same sizes, converted by its own tool; code generated for it.

Its default (direct execution, profile "capacity") is its fastest on a CPU; the generated code is compiled with
`-O3 -ffast-math -march=native` and kept in its cache, so minutes go by at the first call only.
"""

import json
import tempfile
from pathlib import Path

import torch
from mace_model import model_of, write_foundation
from symmetrix import Symmetrix
from symmetrix.extract_mace_data import extract_mace_data


def potential(frames, setting, elements, cutoff):
    """Its calculator, for one frame; it cannot train."""
    if len(frames) > 1:
        raise NotImplementedError("evaluates one structure at a time")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, converted = Path(folder) / "mace.model", Path(folder) / "mace.json"
        torch.save(model_of(setting, elements, cutoff), checkpoint)
        converted.write_text(json.dumps(extract_mace_data(str(checkpoint)), separators=(",", ":")))
        return {"calculator": Symmetrix(str(converted), dtype="float32")}


def converted(path):
    """The calculator of a file of mace-torch; its elements are all in its table."""
    write_foundation(path)
    found = path.with_suffix(".json")
    found.write_text(json.dumps(extract_mace_data(str(path)), separators=(",", ":")))
    return Symmetrix(str(found), dtype="float32")
