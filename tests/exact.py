"""Emitted source over the rationals, for tests."""

import numpy as np
from flint import fmpq

from cartalg.files import shipped_folder
from cartalg_codegen.proofs.arrays import INDEX, LANE, REAL, Array
from cartalg_codegen.proofs.exact import Sources, folder_reader


def load(backend, spec):
    """The functions of an emitted file of the shipped set as plain Python over Q."""
    return Sources(backend, folder_reader(shipped_folder() / f"{backend}_kernels")).load(f"{spec.kind}/{spec.name}")


def rationals(rng, *shape):
    """Small random rationals."""
    array = np.empty(shape, dtype=object)
    for at in np.ndindex(shape):
        array[at] = fmpq(rng.randint(-12, 12), rng.randint(1, 5))
    return array


def real(cells):
    """An array that is read."""
    return Array("array", cells, REAL, False)


def lanes(cells):
    """An array with channels that is read."""
    return Array("array", cells, LANE, False)


def index(values):
    """Whole numbers that are read."""
    return Array("index", np.array(values, dtype=object), INDEX, False)


def result(*shape):
    """An array to be written."""
    cells = np.empty(shape, dtype=object)
    cells.fill(fmpq(0))
    return Array("result", cells, LANE)
