"""Neighbour graphs: pairs from vesin, edge vectors in double precision, batches of frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.geometry import complete_cell
from torch import Tensor

from cartalg.data.frames import DataError
from cartalg.data.search import search
from cartalg.ops import Edges

#: Atoms closer than this, in angstrom, are taken for a mistake in the input.
OVERLAP = 0.05
#: In angstrom: farther from the origin, positions are less exact than 1e-8 angstrom.
FARTHEST = 1e8


@dataclass(frozen=True)
class Pairs:
    """Ordered pairs i <- j within a cutoff, sorted by i.

    Attributes:
        receiver, sender: i and j, int64 [pairs].
        images: The images of the cell that any j is in, in cell vectors, int64 [images, 3].
        image: Which of them each j is in, int64 [pairs].
    """

    receiver: np.ndarray[Any, Any]
    sender: np.ndarray[Any, Any]
    images: np.ndarray[Any, Any]
    image: np.ndarray[Any, Any]

    @property
    def shifts(self) -> np.ndarray[Any, Any]:
        """Cell vectors to add to r_j - r_i, int64 [pairs, 3]."""
        return self.images[self.image]

    def vectors(self, atoms: Atoms) -> np.ndarray[Any, Any]:
        """r_j - r_i + shift, angstrom, float64 [pairs, 3].

        A product of all shifts with the cell would be long enough for NumPy's BLAS to wake threads of its own, which
        then spin beside Torch's.
        """
        vectors = np.take(atoms.positions, self.sender, axis=0)
        vectors -= np.take(atoms.positions, self.receiver, axis=0)
        vectors += np.take(self.images @ complete_cell(atoms.cell), self.image, axis=0)
        return vectors


def find_pairs(atoms: Atoms, cutoff: float, source: str = "frame") -> Pairs:
    """All pairs closer than the cutoff, images of an atom itself included; each axis periodic or not on its own.

    Args:
        atoms: Positions and cell in angstrom. Cell vectors of open axes may be zero.
        cutoff: In angstrom.
        source: Named in messages.
    Raises:
        DataError: If positions are not finite or too far away to be exact, or the cell is singular along a periodic
            axis.
    """
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise DataError(f"{source}: positions or cell are not finite")
    periodic = np.asarray(atoms.pbc, dtype=bool)
    cell = np.where(periodic[:, None], atoms.cell.array, 0.0)
    farthest = max(float(np.abs(of).max(initial=0)) for of in (atoms.positions, cell))
    if farthest > FARTHEST:
        raise DataError(
            f"{source}: positions or cell reach {farthest:.1e} A, where they are not exact; check units, or move them"
        )
    lengths = np.linalg.norm(cell, axis=1)
    short = (lengths[periodic] < OVERLAP).any()
    cell = cell if short else complete_cell(cell)
    if short or abs(np.linalg.det(cell)) < 1e-6 * np.prod(lengths[periodic]):
        raise DataError(f"{source}: the cell is singular, but pbc is {periodic.tolist()}; give it a volume or set pbc")
    i, j, shifts = search(atoms.positions, cell, periodic, cutoff)
    low = shifts.min(axis=0, initial=0)
    spans = shifts.max(axis=0, initial=0) - low + 1
    if len(atoms) ** 2 * np.prod(spans, dtype=float) > 2.0**62:
        raise DataError(f"{source}: atoms are too many cells apart; wrap them into the cell")
    # one number for each pair sorts ten times as fast as its five
    image = np.ravel_multi_index(tuple((shifts - low).T), tuple(spans))
    order = np.argsort((i * len(atoms) + j) * np.prod(spans) + image)
    present, image = np.unique(image[order], return_inverse=True)
    images = np.column_stack(np.unravel_index(present, tuple(spans))) + low
    return Pairs(i[order], j[order], images, image)


@dataclass(frozen=True)
class Graph:
    """One frame, or several side by side.

    Attributes:
        species: Index into the model's elements, int64 [atoms]; of a domain, those of copies after its own atoms'.
        vectors: Edge vectors r_j - r_i in angstrom, float64 [edges, 3].
        edges: Edges sorted by receiver.
        frame: Frame of each atom, int64 [atoms].
        n_frames: Number of frames.
        volume: Cell volumes in angstrom^3, float64 [frames]; NaN where not all three axes are periodic.
    """

    species: Tensor
    vectors: Tensor
    edges: Edges
    frame: Tensor
    n_frames: int
    volume: Tensor

    @property
    def of_atoms(self) -> Tensor:
        """Species of the atoms without copies, int64 [atoms]."""
        return self.species[: self.edges.receivers]

    @property
    def atoms_per_frame(self) -> Tensor:
        """Number of atoms of each frame, int64 [frames]."""
        return torch.bincount(self.frame, minlength=self.n_frames)


def species_index(atoms: Atoms, elements: Sequence[str], source: str = "frame") -> np.ndarray[Any, Any]:
    """Index of each atom's element. Raises DataError for an element the model does not know."""
    index = {symbol: n for n, symbol in enumerate(elements)}
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(index))
    if unknown:
        raise DataError(f"{source}: the model knows {', '.join(elements)}, but the frame holds {', '.join(unknown)}")
    return np.array([index[s] for s in atoms.get_chemical_symbols()], dtype=np.int64)


def build_graph(
    atoms: Atoms, cutoff: float, elements: Sequence[str], source: str = "frame", pairs: Pairs | None = None
) -> Graph:
    """The graph of one frame.

    Args:
        atoms: Positions and cell in angstrom.
        cutoff: In angstrom.
        elements: The model's elements.
        source: Named in messages.
        pairs: Known pairs to use instead of searching.
    Raises:
        DataError: For an unknown element, overlapping atoms, a singular cell or positions that are not finite.
    """
    species = species_index(atoms, elements, source)
    if pairs is None:
        pairs = find_pairs(atoms, cutoff, source)
    count = len(atoms)
    edges = Edges.build(torch.from_numpy(pairs.sender), torch.from_numpy(pairs.receiver), count, count)
    frame, none = torch.zeros(count, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    return move_graph(Graph(torch.from_numpy(species), none, edges, frame, 1, none), atoms, pairs, source)


def move_graph(graph: Graph, atoms: Atoms, pairs: Pairs, source: str = "frame") -> Graph:
    """The graph of the same atoms and pairs at other positions, in another cell.

    Args:
        graph: Built from `pairs`.
        atoms: Positions and cell in angstrom.
        pairs: Pairs of the graph.
        source: Named in messages.
    Raises:
        DataError: For overlapping atoms.
    """
    vectors = pairs.vectors(atoms)
    if (at := overlap(vectors)) is not None:
        a, b, apart = int(pairs.receiver[at]), int(pairs.sender[at]), float(np.linalg.norm(vectors[at]))
        raise DataError(f"{source}: atoms {a} and {b} are {apart:.4f} A apart; check positions, cell and units")
    volume = abs(float(np.linalg.det(atoms.cell.array))) if np.all(atoms.pbc) else float("nan")
    size = torch.tensor([volume], dtype=torch.float64)
    return replace(graph, vectors=torch.from_numpy(vectors), volume=size)


def overlap(vectors: np.ndarray[Any, Any]) -> int | None:
    """The shortest of edge vectors [edges, 3], if it is too short or no number; else None."""
    squares = np.einsum("ei,ei->e", vectors, vectors)
    if not len(squares) or squares.min() >= OVERLAP**2:
        return None
    return int(np.argmin(np.nan_to_num(squares)))


def collate(graphs: Sequence[Graph]) -> Graph:
    """Put graphs side by side; atoms of different frames are never neighbours."""
    if len(graphs) == 1:
        return graphs[0]
    atoms, edges, frames = ([0] for _ in range(3))
    for g in graphs:
        atoms.append(atoms[-1] + len(g.species))
        edges.append(edges[-1] + len(g.vectors))
        frames.append(frames[-1] + g.n_frames)

    def together(arrays: Sequence[Tensor], starts: Sequence[int], first: int = 0) -> Tensor:
        """Arrays one after the other, each with its start added; of all but the first, without so many entries."""
        # NumPy's calls cost a third of Torch's, and a training step makes a batch
        parts = [array.numpy() for array in arrays]
        found = np.concatenate([parts[0], *(part[first:] for part in parts[1:])])
        at = len(parts[0])
        for part, start in zip(parts[1:], starts[1:], strict=False):
            end = at + len(part) - first
            found[at:end] += start
            at = end
        return torch.from_numpy(found)

    def of_edges(name: str, starts: Sequence[int], first: int = 0) -> Tensor:
        return together([getattr(g.edges, name) for g in graphs], starts, first)

    return Graph(
        torch.cat([g.species for g in graphs]),
        torch.cat([g.vectors for g in graphs]),
        Edges(
            of_edges("sender", atoms),
            of_edges("receiver", atoms),
            of_edges("row_ptr", edges, 1),
            of_edges("col_ptr", edges, 1),
            of_edges("col_edge", edges),
        ),
        together([g.frame for g in graphs], frames),
        frames[-1],
        torch.cat([g.volume for g in graphs]),
    )
