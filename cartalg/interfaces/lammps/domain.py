"""One process's part of a system: which rows are of its own atoms, and what it gives to others and takes from them.

A ghost is a copy of an atom. If that atom is of the same process, edges from the ghost are edges from the atom: its
features are there. All ghosts of one atom of another process share a row, after those of the process's own atoms and
grouped by owner; its features come once, straight into place, and gradients to them go back as one sum.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mpi4py import MPI
from torch import Tensor

Array = np.ndarray[Any, Any]


class Domain:
    """The exchange (`cartalg.ops.Exchange`) of a process of an MPI communicator.

    Args:
        comm: The processes among which the atoms are divided.

    Attributes:
        owned: Number of its own atoms.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        self.comm, self.owned = comm, 0
        self._gives: list[tuple[int, Tensor]] = []
        self._takes: list[tuple[int, slice]] = []

    def settle(self, tags: Array, owned: int) -> Array:
        """Learn where all atoms are now; all processes must call it together.

        The owner of a ghost is asked of the process that keeps the book of its tag, tag modulo processes, so neither
        work nor memory grows with the whole system.

        Args:
            tags: Of this process's atoms, then of its ghosts.
            owned: Number of its atoms.
        Returns:
            The row of each of these in arrays of senders, int64.
        Raises:
            RuntimeError: If a tag stands for two atoms, or for none.
        """
        self.owned = owned
        rows, order = np.arange(len(tags)), np.argsort(tags[:owned])
        known = tags[:owned][order]
        ghosts = tags[owned:]
        place = np.searchsorted(known, ghosts)
        here = known[np.minimum(place, owned - 1)] == ghosts if owned else np.zeros(len(ghosts), dtype=bool)
        rows[owned:][here] = order[place[here]]
        remote, of = np.unique(ghosts[~here], return_inverse=True)
        if self.comm.size == 1:
            if len(remote):
                raise RuntimeError(f"there is no atom of the ID {remote[0]}, but a ghost of it")
            return rows
        owner, index = self._owners(tags[:owned], remote)
        sort = np.lexsort((index, owner))
        row = np.empty(len(remote), dtype=np.int64)
        row[sort] = owned + np.arange(len(remote))
        rows[owned:][~here] = row[of.ravel()]
        asked = [index[sort][owner[sort] == rank] for rank in range(self.comm.size)]
        ends = owned + np.cumsum([0, *map(len, asked)])
        self._takes = [(r, slice(ends[r], ends[r + 1])) for r in range(self.comm.size) if len(asked[r])]
        given = _deal(self.comm, asked)
        self._gives = [(rank, torch.from_numpy(part)) for rank, part in enumerate(given) if len(part)]
        return rows

    def _owners(self, tags: Array, remote: Array) -> tuple[Array, Array]:
        """Owner of each remote tag, and its number there."""
        size = self.comm.size
        keepers = [np.flatnonzero(tags % size == rank) for rank in range(size)]
        told = _deal(self.comm, [np.column_stack([tags[places], places]) for places in keepers], 2)
        book = np.concatenate([np.insert(part, 1, rank, axis=1) for rank, part in enumerate(told)])
        book = book[np.argsort(book[:, 0], kind="stable")]
        if len(twice := np.flatnonzero(book[1:, 0] == book[:-1, 0])):
            raise RuntimeError(f"two atoms have the ID {book[twice[0], 0]}")
        asked = [np.flatnonzero(remote % size == rank) for rank in range(size)]
        answers = []
        for question in _deal(self.comm, [remote[places] for places in asked]):
            place = np.minimum(np.searchsorted(book[:, 0], question), max(len(book) - 1, 0))
            if len(question) and (not len(book) or (book[place, 0] != question).any()):
                lost = question[book[place, 0] != question] if len(book) else question
                raise RuntimeError(f"there is no atom of the ID {lost[0]}, but a ghost of it")
            answers.append(book[place, 1:])
        found = np.empty((len(remote), 2), dtype=np.int64)
        for places, part in zip(asked, _deal(self.comm, answers, 2), strict=True):
            found[places] = part
        return found[:, 0], found[:, 1]

    def fill(self, rows: Tensor) -> None:
        """Write the rows of copies, from the processes that own the atoms."""
        requests = [self.comm.Irecv(rows[places].numpy(), rank) for rank, places in self._takes]
        parts = [(rank, rows.index_select(0, index).numpy()) for rank, index in self._gives]
        MPI.Request.Waitall(requests + [self.comm.Isend(part, rank) for rank, part in parts])

    def collect(self, rows: Tensor, into: Tensor) -> None:
        """Add the rows of all copies to the atoms that they are of, process by process."""
        parts = [(rank, index, rows.new_empty(len(index), *rows.shape[1:])) for rank, index in self._gives]
        requests = [self.comm.Irecv(part.numpy(), rank) for rank, _, part in parts]
        MPI.Request.Waitall(requests + [self.comm.Isend(rows[places].numpy(), rank) for rank, places in self._takes])
        for _, index, part in parts:
            into.index_add_(0, index, part)


def _deal(comm: MPI.Comm, parts: Sequence[Array], columns: int = 1) -> list[Array]:
    """Give each process its part of integers [.., columns], and return what each has given to this one."""
    counts = np.array([part.size for part in parts], dtype=np.int64)
    back = np.empty_like(counts)
    comm.Alltoall(counts, back)
    sent = np.concatenate([np.asarray(part, dtype=np.int64).ravel() for part in parts])
    found = np.empty(back.sum(), dtype=np.int64)
    comm.Alltoallv([sent, counts], [found, back])
    split = np.split(found, np.cumsum(back)[:-1])
    return [part.reshape(-1, columns) if columns > 1 else part for part in split]
