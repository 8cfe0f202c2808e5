"""Structures from files and to them, for simulations."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_xyz

from cartalg.data.frames import DataError, to_frame


def read_structures(path: Path, index: Any = ":") -> list[Atoms]:
    """Structures of a file that ASE reads, with momenta and constraints, without calculators.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it cannot be read, has no such frame, or positions or cell are not finite.
    """
    import ase.io

    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        found = ase.io.read(path, index)
    except (IndexError, StopIteration):  # as the format's reader says it
        raise DataError(f"{path}: has no frame {index}") from None
    except Exception as error:  # ASE raises many kinds for a damaged file
        raise DataError(f"{path}: cannot be read, is it truncated or malformed? ASE says: {error}") from error
    images = found if isinstance(found, list) else [found]
    if not images:
        raise DataError(f"{path}: holds no frame")
    for number, atoms in enumerate(images):
        to_frame(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell), (), f"{path}, frame {number}")
        atoms.calc = None
    return images


def read_structure(path: Path, index: int) -> Atoms:
    """One structure of a file, by number. Raises as `read_structures`."""
    return read_structures(path, index)[0]


def with_results(atoms: Atoms) -> Atoms:
    """A copy for a file, with what the calculator has found for these very positions."""
    frame, calculator = atoms.copy(), atoms.calc
    results = {} if calculator.check_state(atoms) else dict(calculator.results)
    for name in ("free_energy", "energies", "stresses"):
        results.pop(name, None)
    own = {name: results.pop(name) for name in all_properties if name in results}
    frame.calc = SinglePointCalculator(frame, **own)
    for name, value in sorted(results.items()):  # deviations of a committee, tensors
        if np.shape(value)[:1] == (len(frame),):
            frame.arrays[name] = np.reshape(value, (len(frame), -1))
        else:
            frame.info[name] = value
    return frame


def as_xyz(atoms: Atoms) -> str:
    """One frame of extended XYZ."""
    text = io.StringIO()
    write_xyz(text, atoms)
    return text.getvalue()
