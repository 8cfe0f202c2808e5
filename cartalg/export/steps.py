"""What an exported program is made of: calls of kernels, and loops over numbers that Torch runs in the engine.

A loop does one thing to every number of a box of so many axes. Each operand has its own strides in it: a number that
is the same along an axis has stride 0 there, and so has a result that is summed along it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cartalg_codegen.backends.numba.objects import Job

#: What a loop does to its operands out, a, b with numbers p, q; their codes in the artefact are their places here.
CODES = (
    "fill",  # out = p
    "affine",  # out = p a + q
    "combine",  # out = p a + q b
    "product",  # out = p a b
    "add_product",  # out += p a b
    "add",  # out += p a
    "divide",  # out = a / b
    "power",  # out = a^p
    "least",  # out = min(a, p)
    "exp",
    "sqrt",
    "rsqrt",
    "sigmoid",
    "silu",
    "gather",  # out[n, k] = a[b[n], k]
    "scatter",  # out[b[n], k] += a[n, k]
    "to_ghosts",  # rows of atoms are to be copied to those of their ghosts, wherever these are
    "from_ghosts",  # rows of ghosts are to be added to those of their owners, in a
)
#: Types of numbers; their codes are their places.
DTYPES = (torch.float32, torch.float64, torch.int64)


class View(NamedTuple):
    """Numbers of an array: its storage, where they start in it, in bytes, and the strides of a loop's axes."""

    storage: int
    offset: int
    strides: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Loop:
    """One of `CODES` on views, the result first."""

    section: str
    code: str
    shape: tuple[int, ...]
    views: tuple[View, ...]
    numbers: tuple[float, ...] = ()


class Group(NamedTuple):
    """A type whose atoms alone a kernel treats: they lie together in its first array and in its last.

    Attributes:
        number: The type.
        words: Which words are the addresses of these arrays.
        bytes: Of an atom in each.
    """

    number: int
    words: tuple[int, int]
    bytes: tuple[int, int]


@dataclass(frozen=True)
class Kernel:
    """A kernel and its words; an address is a view."""

    section: str
    job: Job
    words: tuple[int | View, ...]
    group: Group | None = None


class Storages:
    """Memory that a trace has seen, by number; it is kept, so that no address is given twice."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.tensors: list[Tensor] = []
        #: Those whose content depends on the input.
        self.moving: set[int] = set()

    def number(self, tensor: Tensor) -> int:
        """Of the memory that a tensor lies in."""
        address = tensor.untyped_storage().data_ptr()
        if address not in self.numbers:
            self.numbers[address] = len(self.tensors)
            self.tensors.append(tensor)
        return self.numbers[address]

    def view(self, tensor: Tensor, strides: Sequence[int] | None = None) -> View:
        """A tensor's numbers."""
        offset = tensor.data_ptr() - tensor.untyped_storage().data_ptr()
        return View(self.number(tensor), offset, tuple(tensor.stride() if strides is None else strides), tensor.dtype)

    def whole(self, number: int) -> Tensor:
        """The content of a storage, as a flat tensor."""
        tensor = self.tensors[number]
        return torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())  # type: ignore[call-overload]
