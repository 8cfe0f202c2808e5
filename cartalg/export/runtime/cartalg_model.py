"""An exported model from Python with NumPy alone: neither Torch nor cartalg is needed, this file and the library are.

from cartalg_model import Model
model = Model()  # model.cartalg and libcartalg.so beside this file
found = model.compute(positions, types, first, neighbours, owners)
"""

import ctypes
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MODEL, REAL = ctypes.c_void_p, ctypes.POINTER(ctypes.c_double)
SHORT, LONG = ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_int64)


class CartalgError(RuntimeError):
    """What the library said.

    Attributes:
        code: One of the codes in cartalg.h.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Model:
    """A model, for one thread at a time; make one for each thread.

    Args:
        file: The artefact, by default model.cartalg beside this file.
        library: The library, by default libcartalg.so beside this file.
    Raises:
        CartalgError: If the artefact cannot be used; the message says why.
        OSError: If there is no library.

    Attributes:
        elements: Chemical symbols; a type is a place among them.
        cutoff: In angstrom.
        about: What else the artefact says of itself.
    """

    def __init__(self, file: str | Path | None = None, library: str | Path | None = None) -> None:
        self._model, here = MODEL(), Path(__file__).parent
        self._library = _load(Path(library or here / "libcartalg.so").resolve())
        message = ctypes.create_string_buffer(512)
        name = str(file or here / "model.cartalg").encode()
        code = self._library.cartalg_create(name, ctypes.byref(self._model), message, len(message))
        if code:
            raise CartalgError(code, message.value.decode())
        self.cutoff: float = self._library.cartalg_cutoff(self._model)
        self.about: dict[str, Any] = json.loads(self._library.cartalg_about(self._model))
        self.elements = tuple(self.about["elements"])

    def __del__(self) -> None:
        if self._model:
            self._library.cartalg_free(self._model)

    def compute(
        self, positions: Any, types: Any, first: Any, neighbours: Any, owners: Sequence[int] = (), gradient: bool = True
    ) -> dict[str, Any]:
        """Energy, forces and virial.

        Args:
            positions: Angstrom, [atoms + ghosts, 3], the atoms first.
            types: Place of each in `elements`, [atoms + ghosts].
            first: Where the neighbours of each atom begin, [atoms + 1].
            neighbours: Numbers of atoms and ghosts, [first[-1]]; those beyond the cutoff do not count.
            owners: The atom that each ghost is an image of, [ghosts].
            gradient: Compute forces and virial.
        Returns:
            ``energy`` in eV, ``energies`` [atoms], ``forces`` [atoms, 3] in eV/angstrom, ``virial`` [3, 3] in eV
            (over the volume it is the stress), and tensors of each atom [atoms, numbers] by name.
        Raises:
            ValueError: If the shapes do not fit together.
            CartalgError: If a number cannot be right; the message says which.
        """
        positions = np.ascontiguousarray(positions, dtype=np.float64)
        types, images, neighbours = (np.ascontiguousarray(a, dtype=np.int32) for a in (types, owners, neighbours))
        first = np.ascontiguousarray(first, dtype=np.int64)
        atoms, ghosts = len(first) - 1, len(images)
        if atoms < 0 or positions.shape != (atoms + ghosts, 3) or types.shape != (atoms + ghosts,):
            raise ValueError(f"positions {positions.shape} and types {types.shape} for {atoms} atoms, {ghosts} ghosts")
        if first[-1] > len(neighbours):
            raise ValueError(f"first names {first[-1]} neighbours, and there are {len(neighbours)}")
        energy, energies = ctypes.c_double(), np.empty(atoms)
        forces, virial = (np.empty((atoms, 3)), np.empty((3, 3))) if gradient else (None, None)
        given = (_at(positions, REAL), _at(types, SHORT), _at(images, SHORT), _at(first, LONG), _at(neighbours, SHORT))
        results = (ctypes.byref(energy), _at(energies, REAL), _at(forces, REAL), _at(virial, REAL))
        self._check(self._library.cartalg_compute(self._model, atoms, ghosts, *given, *results))
        found: dict[str, Any] = {"energy": energy.value, "energies": energies, "forces": forces, "virial": virial}
        for n in range(self._library.cartalg_tensors(self._model)):
            values = np.empty((atoms, self._library.cartalg_tensor_size(self._model, n)))
            self._check(self._library.cartalg_tensor(self._model, n, _at(values, REAL)))
            found[self._library.cartalg_tensor_name(self._model, n).decode()] = values
        return found

    def _check(self, code: int) -> None:
        if code:
            raise CartalgError(code, self._library.cartalg_message(self._model).decode())


def _at(array: Array | None, kind: Any) -> Any:
    return None if array is None else array.ctypes.data_as(kind)


def _load(path: Path) -> Any:
    """The library, with the types of its functions."""
    library, whole = ctypes.CDLL(str(path)), ctypes.c_int64
    types: dict[str, tuple[Any, list[Any]]] = {
        "create": (ctypes.c_int, [ctypes.c_char_p, ctypes.POINTER(MODEL), ctypes.c_char_p, ctypes.c_size_t]),
        "free": (None, [MODEL]),
        "message": (ctypes.c_char_p, [MODEL]),
        "about": (ctypes.c_char_p, [MODEL]),
        "cutoff": (ctypes.c_double, [MODEL]),
        "compute": (ctypes.c_int, [MODEL, whole, whole, REAL, SHORT, SHORT, LONG, SHORT, *[REAL] * 4]),
        "tensors": (ctypes.c_int, [MODEL]),
        "tensor_name": (ctypes.c_char_p, [MODEL, ctypes.c_int]),
        "tensor_size": (ctypes.c_int, [MODEL, ctypes.c_int]),
        "tensor": (ctypes.c_int, [MODEL, ctypes.c_int, REAL]),
    }
    for name, (result, arguments) in types.items():
        function = getattr(library, f"cartalg_{name}")
        function.restype, function.argtypes = result, arguments
    return library
