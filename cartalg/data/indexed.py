"""Frames that stay on the disk: an index of where each begins. For sets larger than memory."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import ase.io
import numpy as np

from cartalg.data.frames import DataError, Frame, to_frame
from cartalg.data.layout import layout
from cartalg.data.lazy import MapDataset
from cartalg.quantities import QUANTITIES, Quantity

#: Frames read last are kept, for a batch asks for a frame and for its graph.
KEPT = 64


class IndexedFile(MapDataset[Frame]):
    """The frames of an extended XYZ file, each read when asked for; in memory there are 16 bytes a frame.

    Args:
        path: The file, not compressed.
        quantities: Labels to look for.
        weight: Of each frame in a loss.
        progress: Called with the number of bytes indexed and of all bytes.
    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file is compressed, malformed or truncated; and, when a frame is read, as `to_frame`.
    """

    def __init__(
        self,
        path: Path,
        quantities: Sequence[Quantity] = QUANTITIES,
        weight: float = 1.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        if path.suffix not in (".xyz", ".extxyz"):
            raise DataError(f"{path}: only plain extended XYZ (.xyz, .extxyz) can be indexed; convert or unpack it")
        self.path, self.quantities, self.weight = path, quantities, weight
        self.starts, self.atoms = self._index(progress)
        self._cached = lru_cache(maxsize=KEPT)(self._read)

    def _index(self, progress: Callable[[int, int], None] | None) -> tuple[np.ndarray, np.ndarray]:
        """Where each frame begins, and the end of the file [frames + 1]; its number of atoms [frames]."""
        starts, counts, size = [0], list[int](), self.path.stat().st_size
        with self.path.open("rb") as stream:
            for count, end in layout(stream, self.path):
                counts.append(count)
                starts.append(end)
                if progress and len(counts) % 1000 == 0:
                    progress(end, size)
        return np.array(starts, dtype=np.int64), np.array(counts, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.atoms)

    def item(self, number: int) -> Frame:
        """The frame of that number."""
        return self._cached(number)

    def _read(self, number: int) -> Frame:
        source = f"{self.path}, frame {number}"
        with self.path.open("rb") as stream:
            stream.seek(int(self.starts[number]))
            text = stream.read(int(self.starts[number + 1] - self.starts[number]))
        try:
            atoms = ase.io.read(io.StringIO(text.decode()), format="extxyz")
        except Exception as error:  # ASE raises many kinds for a damaged frame
            raise DataError(f"{source}: cannot be read, is it malformed? ASE says: {error}") from error
        return replace(to_frame(atoms, self.quantities, source), weight=self.weight)
