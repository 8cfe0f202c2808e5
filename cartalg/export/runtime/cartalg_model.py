"""An exported model from Python with NumPy alone: neither Torch nor cartalg is needed, this file and the library are.

from cartalg_model import Model
model = Model()  # model.cartalg and libcartalg.so beside this file
found = model.compute(positions, types, first, neighbours, owners)
"""

import ctypes
import json
from collections.abc import Callable, Sequence
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
        images = np.ascontiguousarray(owners, dtype=np.int32)
        given = _Given(positions, types, first, neighbours)
        if given.ghosts != len(images):
            raise ValueError(f"{given.ghosts} positions beyond those of the atoms, and {len(images)} owners")
        found = _Found(given.atoms, given.atoms, gradient)
        before, after = given.arguments
        self._check(self._library.cartalg_compute(self._model, *before, _at(images, SHORT), *after, *found.arguments))
        return found.results() | self._tensors(given.atoms)

    def compute_domain(
        self,
        positions: Any,
        types: Any,
        first: Any,
        neighbours: Any,
        to_ghosts: Callable[[Array], None],
        from_ghosts: Callable[[Array, Array], None],
        gradient: bool = True,
    ) -> dict[str, Any]:
        """The same for a domain whose ghosts other processes own.

        Args:
            positions, types, first, neighbours, gradient: As in `compute`; what is beyond the atoms are ghosts.
            to_ghosts: Called with rows [atoms + ghosts, numbers]: writes those of ghosts, copies of their owners'.
            from_ghosts: Called with such rows and others [atoms, numbers]: adds the rows of ghosts, of all domains, to
                those of their owners. Both are called in all domains as often, in one order.
        Returns:
            As `compute`, of this domain; ``forces`` are [atoms + ghosts, 3], and those on ghosts are to be added to
            their owners'.
        """
        given = _Given(positions, types, first, neighbours)
        before, after = given.arguments
        self._check(self._library.cartalg_begin(self._model, *before, *after, int(gradient)))
        exchange = _Exchange()
        while True:
            self._check(self._library.cartalg_next(self._model, ctypes.byref(exchange)))
            if exchange.direction == 0:
                break
            rows = exchange.array(exchange.rows, given.atoms + given.ghosts)
            if exchange.direction == 1:
                to_ghosts(rows)
            else:
                from_ghosts(rows, exchange.array(exchange.into, given.atoms))
        found = _Found(given.atoms, given.atoms + given.ghosts, gradient)
        self._check(self._library.cartalg_end(self._model, *found.arguments))
        return found.results() | self._tensors(given.atoms)

    def _tensors(self, atoms: int) -> dict[str, Any]:
        found = {}
        for n in range(self._library.cartalg_tensors(self._model)):
            values = np.empty((atoms, self._library.cartalg_tensor_size(self._model, n)))
            self._check(self._library.cartalg_tensor(self._model, n, _at(values, REAL)))
            found[self._library.cartalg_tensor_name(self._model, n).decode()] = values
        return found

    def _check(self, code: int) -> None:
        if code:
            raise CartalgError(code, self._library.cartalg_message(self._model).decode())


class _Given:
    """Input as the library takes it."""

    def __init__(self, positions: Any, types: Any, first: Any, neighbours: Any) -> None:
        self._positions = np.ascontiguousarray(positions, dtype=np.float64)
        self._types, self._neighbours = (np.ascontiguousarray(a, dtype=np.int32) for a in (types, neighbours))
        self._first = np.ascontiguousarray(first, dtype=np.int64)
        self.atoms = len(self._first) - 1
        self.ghosts = len(self._types) - self.atoms
        if self.atoms < 0 or self.ghosts < 0 or self._positions.shape != (len(self._types), 3):
            raise ValueError(
                f"positions {self._positions.shape}, types {self._types.shape} and first {self._first.shape} do not fit"
            )
        if self._first[-1] > len(self._neighbours):
            raise ValueError(f"first names {self._first[-1]} neighbours, and there are {len(self._neighbours)}")

    @property
    def arguments(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Before the owners, and after."""
        before = (self.atoms, self.ghosts, _at(self._positions, REAL), _at(self._types, SHORT))
        return before, (_at(self._first, LONG), _at(self._neighbours, SHORT))


class _Found:
    """Where the library writes."""

    def __init__(self, atoms: int, rows: int, gradient: bool) -> None:
        self._energy, self._energies = ctypes.c_double(), np.empty(atoms)
        self._forces: Array | None = np.empty((rows, 3)) if gradient else None
        self._virial: Array | None = np.empty((3, 3)) if gradient else None

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (ctypes.byref(self._energy), *(_at(a, REAL) for a in (self._energies, self._forces, self._virial)))

    def results(self) -> dict[str, Any]:
        values = (self._energy.value, self._energies, self._forces, self._virial)
        return dict(zip(("energy", "energies", "forces", "virial"), values, strict=True))


class _Exchange(ctypes.Structure):
    """cartalg_exchange."""

    _fields_ = (
        ("direction", ctypes.c_int),
        ("bytes", ctypes.c_int),
        ("width", ctypes.c_int64),
        ("rows", ctypes.c_void_p),
        ("into", ctypes.c_void_p),
    )

    def array(self, address: int, count: int) -> Array:
        """Rows in the library's memory."""
        kind = ctypes.c_float if self.bytes == 4 else ctypes.c_double
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(kind)), (count, self.width))


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
        "begin": (ctypes.c_int, [MODEL, whole, whole, REAL, SHORT, LONG, SHORT, ctypes.c_int]),
        "next": (ctypes.c_int, [MODEL, ctypes.POINTER(_Exchange)]),
        "end": (ctypes.c_int, [MODEL, *[REAL] * 4]),
        "tensors": (ctypes.c_int, [MODEL]),
        "tensor_name": (ctypes.c_char_p, [MODEL, ctypes.c_int]),
        "tensor_size": (ctypes.c_int, [MODEL, ctypes.c_int]),
        "tensor": (ctypes.c_int, [MODEL, ctypes.c_int, REAL]),
    }
    for name, (result, arguments) in types.items():
        function = getattr(library, f"cartalg_{name}")
        function.restype, function.argtypes = result, arguments
    return library
