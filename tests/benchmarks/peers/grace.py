"""GRACE (tensorpotential) under the benchmark: its presets of least size, random weights, compiled by XLA, float32.

A saved model and the calculator's "uniform" mode are what its documentation recommends for molecular dynamics.
"""

import tempfile

import tensorflow as tf
from tensorpotential.calculator import TPCalculator
from tensorpotential.potentials import get_preset, get_preset_settings
from tensorpotential.tpmodel import TPModel

#: The saved models must outlive their calculators.
FOLDERS = []


def _own(preset, size):
    def build(frames, elements, cutoff):
        tf.keras.utils.set_random_seed(0)
        settings = {**get_preset_settings(preset)[size], "rcut": cutoff}
        instructions = get_preset(preset)(element_map={e: n for n, e in enumerate(elements)}, **settings)
        model = TPModel(getattr(instructions, "get_instructions", lambda: instructions)())
        model.build(tf.float32)
        FOLDERS.append(tempfile.TemporaryDirectory())
        model.save_model(FOLDERS[-1].name)
        return TPCalculator(FOLDERS[-1].name, mode="uniform")

    return build


OWN = {
    f"{name}, {size}": _own(name, size)
    for name, size in (("FS", "small"), ("GRACE_1LAYER_latest", "small"), ("GRACE_2LAYER_latest", "small"))
}
