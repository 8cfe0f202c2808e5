"""The search for pairs: vesin's cell lists, and what they cannot do.

vesin divides a system into at most 100,000 cells. Where that makes them wider than the system is along some axis, it
divides by zero and the process dies: thin slabs of some 0.2 micrometres, or one atom far away in an open direction.
Somewhat nearer it takes minutes. Such systems are searched by a tree. In a strongly skewed cell it would look through
millions of images: the same lattice has shorter vectors.
"""

from itertools import product
from typing import Any

import numpy as np
from ase.geometry import minkowski_reduce
from vesin import NeighborList

Array = np.ndarray[Any, Any]
#: Half of vesin's number of cells; and how many there may be for each atom.
CELLS, CELLS_OF_ATOM = 50_000, 1000
#: More images than this of a cell are looked through only if no shorter vectors span its lattice.
IMAGES = 500


def search(positions: Array, cell: Array, periodic: Array, cutoff: float) -> tuple[Array, Array, Array]:
    """Ordered pairs closer than the cutoff, in no order: i, j [pairs], and cell vectors to add to r_j - r_i [pairs, 3].

    Args:
        positions: Angstrom, [atoms, 3].
        cell: Angstrom, [3, 3], of full rank; vectors of open axes stand upright on the others.
        periodic: Of each axis, bool [3].
        cutoff: Angstrom.
    """
    turn = np.eye(3, dtype=np.int64)
    if np.prod(2 * _reach(cell, periodic, cutoff) + 1.0) > IMAGES:
        cell, turn = minkowski_reduce(cell, periodic)
    if _thin(positions, cell, periodic, cutoff):
        i, j, shifts = _by_tree(positions, cell, periodic, cutoff)
    else:
        finder = NeighborList(cutoff=cutoff, full_list=True, sorted=False, n_threads=1)
        i, j, shifts = finder.compute(positions, cell, periodic, "ijS")
    return i.astype(np.int64), j.astype(np.int64), shifts.astype(np.int64) @ turn.astype(np.int64)


def _reach(cell: Array, periodic: Array, cutoff: float) -> Array:
    """Cells to look through along each axis, on either side, [3]."""
    return np.where(periodic, np.ceil(cutoff * np.linalg.norm(np.linalg.inv(cell), axis=0)), 0)


def _thin(positions: Array, cell: Array, periodic: Array, cutoff: float) -> bool:
    """Whether 100,000 cells would be wider than the system along some axis, or nearly all of them be empty."""
    inverse = np.linalg.inv(cell)
    extent = np.where(periodic, 1.0, np.ptp(positions @ inverse, axis=0)) / np.linalg.norm(inverse, axis=0)
    extent = np.maximum(extent, cutoff)
    cells = np.prod(extent / cutoff)
    empty, wide = cells > CELLS_OF_ATOM * len(positions), extent.min() < 2 * np.cbrt(np.prod(extent) / CELLS)
    return bool(empty or (cells > CELLS and wide))


def _by_tree(positions: Array, cell: Array, periodic: Array, cutoff: float) -> tuple[Array, Array, Array]:
    """As `search`: atoms wrapped into the cell, and their images near it."""
    from scipy.spatial import KDTree  # which few systems need, and no one else

    count, reach = len(positions), _reach(cell, periodic, cutoff).astype(int)
    wraps = np.where(periodic, np.floor(positions @ np.linalg.inv(cell)), 0).astype(np.int64)
    home = positions - wraps @ cell
    shifts = np.array([*product(*(range(-r, r + 1) for r in reach))])
    images = (home + (shifts @ cell)[:, None]).reshape(-1, 3)
    inside = (images > home.min(0) - cutoff) & (images < home.max(0) + cutoff)
    near = np.flatnonzero(inside.all(1))
    found = KDTree(home).sparse_distance_matrix(KDTree(images[near]), cutoff, output_type="ndarray")
    i, j, shift = found["i"], near[found["j"]] % count, shifts[near[found["j"]] // count]
    itself = (i == j) & ~shift.any(1)
    i, j, shift = i[~itself], j[~itself], shift[~itself]
    return i, j, shift - wraps[j] + wraps[i]
