"""Edges of a neighbour graph in the orders that the kernels read them in."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Exchange(Protocol):
    """What brings values of atoms to their copies: ghosts of a domain, which another process owns, or images.

    Attributes:
        owned: Number of atoms. Rows from there on are of copies, rows before are of the atoms themselves.
    """

    owned: int

    def fill(self, rows: Tensor) -> None:
        """Write the rows of copies in `rows` [senders, ..], from the rows of what they are copies of."""
        ...

    def collect(self, rows: Tensor, into: Tensor) -> None:
        """Add the rows of all copies, in `rows` [senders, ..], to what they are copies of, in `into` [atoms, ..]."""
        ...


@dataclass(frozen=True)
class Edges:
    """Directed edges i <- j, sorted by receiver, with the order by sender beside it.

    Senders and receivers are counted apart, so atoms that only send (ghosts of a domain-decomposed engine) are allowed:
    rows from the number of receivers on. What is computed of receivers alone gets there by an exchange.

    Attributes:
        sender, receiver: Atom indices j and i of each edge, int64 [edges].
        row_ptr: Edges of receiver i are row_ptr[i]:row_ptr[i+1], int64 [receivers + 1].
        col_ptr, col_edge: Edges of sender j are col_edge[col_ptr[j]:col_ptr[j+1]], int64.
        exchange: Brings values of receivers to the other senders; None if there are no others.
    """

    sender: Tensor
    receiver: Tensor
    row_ptr: Tensor
    col_ptr: Tensor
    col_edge: Tensor
    exchange: Exchange | None = None

    @property
    def index(self) -> dict[str, Tensor]:
        """The arrays by the names that kernels give them, in the order of an operator's arguments."""
        names = ("row_ptr", "sender", "receiver", "col_ptr", "col_edge")
        return {name: getattr(self, name) for name in names}

    @property
    def receivers(self) -> int:
        """Number of atoms that receive."""
        return len(self.row_ptr) - 1

    @property
    def senders(self) -> int:
        """Number of atoms that may send."""
        return len(self.col_ptr) - 1

    @classmethod
    def build(
        cls, sender: Tensor, receiver: Tensor, n_senders: int, n_receivers: int, exchange: Exchange | None = None
    ) -> "Edges":
        """Index edges that are already sorted by receiver.

        Args:
            sender, receiver: int64 [edges].
            n_senders, n_receivers: Number of atoms that may send and that receive.
            exchange: As the attribute.
        Raises:
            ValueError: If the edges are not sorted by receiver, or an index is out of range.
        """
        if sender.shape != receiver.shape or sender.ndim != 1:
            raise ValueError(f"sender {tuple(sender.shape)} and receiver {tuple(receiver.shape)} must be equal [edges]")
        if len(sender):
            if bool((receiver[1:] < receiver[:-1]).any()):
                raise ValueError("edges must be sorted by receiver")
            if int(sender.min()) < 0 or int(sender.max()) >= n_senders:
                raise ValueError(f"a sender index lies outside 0..{n_senders - 1}")
            if int(receiver[0]) < 0 or int(receiver[-1]) >= n_receivers:
                raise ValueError(f"a receiver index lies outside 0..{n_receivers - 1}")
        col_edge = torch.argsort(sender, stable=True)
        return cls(sender, receiver, _pointers(receiver, n_receivers), _pointers(sender, n_senders), col_edge, exchange)


def _pointers(index: Tensor, size: int) -> Tensor:
    counts = torch.bincount(index, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
