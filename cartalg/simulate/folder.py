"""The folder of a simulation: its identity, its state in one file, and records that a state says how much of counts.

Frames and log lines are appended; the state, written whole, holds the lengths of both files at its instant. After a
kill they are cut to these lengths: what follows is done again, from the same numbers, and is the same bytes.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from ase import Atoms

from cartalg.simulate.ensembles import SCALARS
from cartalg.simulate.structures import as_xyz
from cartalg.train.checkpoint import CheckpointError, members, model_file, read_tensors, write_tensors
from cartalg.train.config import differing_keys
from cartalg.train.records import write_json

RUN_FILE, STATE_FILE = "simulation.json", "state.safetensors"
TRAJECTORY_FILE, LOG_FILE = "trajectory.xyz", "log.csv"
STATE = 1


def identity(run: Path, atoms: Atoms, options: dict[str, Any]) -> dict[str, Any]:
    """What makes a simulation this one: the model's and the structure's hashes, and options."""
    model = hashlib.sha256()
    for member in members(run):
        model.update(model_file(member).read_bytes())
    structure = hashlib.sha256()
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_momenta()):
        structure.update(np.ascontiguousarray(array).tobytes())
    structure.update(repr([c.todict() for c in atoms.constraints]).encode())
    return {"model": model.hexdigest(), "structure": structure.hexdigest(), "options": options}


@contextmanager
def opened(folder: Path, own: dict[str, Any]) -> Iterator[bool]:
    """Take a folder for a simulation; the block runs with it locked. Yields whether it has a state to go on from.

    Raises:
        CheckpointError: If it holds something else or another simulation, or a process is at work in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{folder}: another process is running this simulation") from None
        for left in folder.glob(".writing-*"):  # of a process that was killed
            left.unlink()
        if (folder / RUN_FILE).is_file():
            differing = differing_keys(json.loads((folder / RUN_FILE).read_text()), json.loads(json.dumps(own)))
            if differing:
                names = ", ".join(name.removeprefix("options.") for name in differing)
                raise CheckpointError(f"{folder}: holds a simulation with another {names}; choose another --output")
        elif any(folder.iterdir()):
            raise CheckpointError(f"{folder}: is not empty and holds no simulation; choose another --output")
        else:
            write_json(folder / RUN_FILE, own)
        yield (folder / STATE_FILE).is_file()
    finally:
        os.close(handle)


@dataclass
class State:
    """All that a simulation goes on from.

    Attributes:
        arrays: Of atoms, integrator and neighbour list, float64, by name.
        scalars: Numbers of the integrator, by path.
        random: State of the generator.
        lengths: Bytes of each record that belong to it, by file name.
    """

    arrays: dict[str, np.ndarray[Any, Any]]
    scalars: dict[str, Any]
    random: dict[str, Any]
    lengths: dict[str, int]

    def write(self, folder: Path) -> None:
        """Write it whole, to stay. The records that it counts must be there before: `Records.settled`."""
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in self.arrays.items()}
        scalars = {
            name: [type(value).__name__, value.item() if isinstance(value, np.generic) else value]
            for name, value in self.scalars.items()
        }
        write_tensors(
            folder / STATE_FILE,
            tensors,
            {"state": STATE, "scalars": scalars, "random": self.random, "lengths": self.lengths},
            lasting=True,
        )

    @classmethod
    def read(cls, folder: Path) -> "State":
        """Read it. Raises CheckpointError if it is damaged or of another version."""
        tensors, description = read_tensors(folder / STATE_FILE)
        if description.get("state") != STATE:
            raise CheckpointError(f"{folder / STATE_FILE}: of another version of cartalg; choose another --output")
        scalars = {name: SCALARS[kind](value) for name, (kind, value) in description["scalars"].items()}
        arrays = {name: value.numpy().copy() for name, value in tensors.items()}
        return cls(arrays, scalars, description["random"], description["lengths"])


class Records:
    """Trajectory and log of a simulation, appended to.

    Args:
        folder: Where they are.
        columns: Of the log.
        lengths: How many bytes of each count, by file name; what follows is cut off.
    Raises:
        CheckpointError: If a file is shorter: it was changed, or the machine went down.
    """

    def __init__(self, folder: Path, columns: Sequence[str], lengths: dict[str, int]) -> None:
        self._files: dict[str, BinaryIO] = {}
        for name in (TRAJECTORY_FILE, LOG_FILE):
            stream, length = (folder / name).open("ab"), lengths.get(name, 0)
            lost = length - stream.tell()
            if lost > 0:
                stream.close()
                raise CheckpointError(f"{folder / name}: has lost {lost} bytes; choose another --output")
            stream.truncate(length)
            stream.seek(0, io.SEEK_END)
            self._files[name] = stream
        if not lengths.get(LOG_FILE):
            self._line(columns)

    def frame(self, atoms: Atoms) -> None:
        """Append a frame, with what its calculator has found."""
        self._files[TRAJECTORY_FILE].write(as_xyz(atoms).encode())

    def log(self, values: Sequence[float]) -> None:
        """Append a line; twelve digits."""
        self._line([f"{value:.12g}" for value in values])

    def _line(self, words: Sequence[str]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(words)
        self._files[LOG_FILE].write(text.getvalue().encode())

    def settled(self) -> dict[str, int]:
        """Put what was appended on the disk: bytes of each file, by name."""
        for stream in self._files.values():
            stream.flush()
            os.fsync(stream.fileno())
        return {name: stream.tell() for name, stream in self._files.items()}

    def close(self) -> None:
        """Close both files."""
        for stream in self._files.values():
            stream.close()
