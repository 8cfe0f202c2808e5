"""What LAMMPS holds, as arrays: positions and IDs by address, and its full neighbour list as it is."""

import ctypes
from contextlib import suppress
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: Bits of an entry of a neighbour list that are the atom; those above say how it is bonded.
ATOM = 0x1FFFFFFF
#: Of each atom, for dumps: how far a committee's forces on it deviate.
DEVIATION = "d_deviation"


def at(pointer: Any, count: int, columns: int | None = None) -> Array:
    """Numbers of a C array, not copied: [count] at a pointer to them, [count, columns] at one to pointers to rows."""
    if not count:
        return np.zeros((0,) if columns is None else (0, columns))
    if columns is None:
        return np.ctypeslib.as_array(pointer, (count,))
    return np.ctypeslib.as_array(pointer[0], (count, columns))  # rows lie one after the other


def full_list(lammps: Any, style: str, atoms: int) -> tuple[Array, Array]:
    """The neighbour list of a pair style.

    Args:
        lammps: A `lammps.lammps`.
        style: Its pair style.
        atoms: Number of the process's atoms.
    Returns:
        Number of neighbours of each atom [atoms], and these one atom after the other: numbers of atoms and ghosts.
    Raises:
        RuntimeError: If there is no such list, or it is not of all atoms in their order.
    """
    index = lammps.find_pair_neighlist(style)
    if index < 0 or lammps.get_neighlist_size(index) != atoms:
        raise RuntimeError(
            f"pair style {style} has no neighbour list of all atoms: define no other pair style after it"
        )
    neighbours = lammps.lib.lammps_neighlist_element_neighbors
    atom, count, first = ctypes.c_int(), ctypes.c_int(), ctypes.POINTER(ctypes.c_int)()
    address = ctypes.c_void_p.from_buffer(first)
    handle, out = lammps.lmp, (ctypes.byref(atom), ctypes.byref(count), ctypes.byref(first))
    counts, starts = np.zeros(atoms, dtype=np.int64), np.zeros(atoms, dtype=np.int64)
    for n in range(atoms):
        neighbours(handle, index, n, *out)
        if atom.value != n:
            raise RuntimeError("the neighbour list is not in the order of the atoms")
        counts[n], starts[n] = count.value, address.value or 0
    # lists of atoms lie one after the other, on a few pages
    (filled,) = np.nonzero(counts)
    begins, ends = starts[filled], starts[filled] + 4 * counts[filled]
    breaks = np.flatnonzero(begins[1:] != ends[:-1]) + 1
    found = [np.zeros(0, dtype=np.int32)]
    if len(filled):
        for begin, end in zip(begins[np.r_[0, breaks]].tolist(), ends[np.r_[breaks - 1, -1]].tolist(), strict=True):
            found.append(np.ctypeslib.as_array((ctypes.c_int * ((end - begin) // 4)).from_address(begin)))
    return counts, np.concatenate(found).astype(np.int64) & ATOM


def wants_stresses(lammps: Any) -> bool:
    """Whether a compute has six numbers an atom, as ``stress/atom`` has: what a fix is asked for cannot be seen."""
    of_atoms, columns, found = 1, 5, False  # LMP_STYLE_ATOM, LMP_SIZE_COLS
    shown = lammps.lib.lammps_set_show_error(lammps.lmp, 0)
    for name in lammps.available_ids("compute"):
        with suppress(Exception):  # the class of all that LAMMPS raises: it has nothing of atoms
            found = found or lammps.extract_compute(name, of_atoms, columns) == 6
    lammps.set_show_error(shown)
    return found
