"""Labelled frames from extended XYZ (or any format ASE reads): checked, complete, nothing dropped in silence.

Labels are looked for under the keys given, then ``REF_energy``/``REF_forces``/``REF_stress``, then plain names and the
calculator that ASE attaches. Units: eV, eV/angstrom, eV/angstrom^3 with ASE's stress sign (tension positive).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from cartalg.data.sequences import Chosen

ISOLATED = {"isolatedatom", "isolated_atom", "isolated atom"}


class DataError(ValueError):
    """Something wrong in a user's data; the message names the file, the frame, the key and what to do."""


@dataclass(frozen=True)
class TensorLabel:
    """A tensor among the labels: its name, number of indices, whether each atom has one, and its name in the file."""

    name: str
    order: int
    atomic: bool = False
    key: str | None = None


@dataclass(frozen=True)
class Keys:
    """Names of the labels in the file; None means the usual names."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    tensors: tuple[TensorLabel, ...] = ()


@dataclass(frozen=True)
class Frame:
    """One configuration with its labels.

    Attributes:
        atoms: Positions in angstrom, cell, periodicity.
        energy: eV, or None.
        forces: eV/angstrom, shape [atoms, 3], or None.
        stress: eV/angstrom^3, shape [3, 3], tension positive, or None.
        source: File and frame number, for messages.
        isolated: True for a single atom that gives an element's reference energy.
        weight: Of this frame in a loss.
        tensors: Tensor labels by name, shape [1, 3, ..] or, if atomic, [atoms, 3, ..], in the file's units.
    """

    atoms: Atoms
    energy: float | None
    forces: np.ndarray[Any, Any] | None
    stress: np.ndarray[Any, Any] | None
    source: str
    isolated: bool = False
    weight: float = 1.0
    tensors: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def read_frames(path: str | Path, keys: Keys | None = None, numbers: Sequence[int] | None = None) -> list[Frame]:
    """Read every frame of a file, with labels where there are any.

    Args:
        path: Extended XYZ, gzipped or not, or another format that ASE reads.
        keys: Names of the labels; by default the usual ones.
        numbers: Frame numbers to keep, in this order; by default all.
    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file is truncated or malformed, a number is out of range, or a label is not finite or has
            the wrong shape.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        images = ase.io.read(path, ":")
    except Exception as error:  # ASE raises many kinds for a damaged file
        raise DataError(f"{path}: cannot be read, is it truncated or malformed? ASE says: {error}") from error
    if not images:
        raise DataError(f"{path}: holds no frame")
    chosen = range(len(images)) if numbers is None else numbers
    wrong = [n for n in chosen if not 0 <= n < len(images)]
    if wrong:
        raise DataError(f"{path}: frame {wrong[0]} asked for, but the file has frames 0 to {len(images) - 1}")
    return [to_frame(images[n], keys or Keys(), f"{path}, frame {n}") for n in chosen]


def to_frame(atoms: Atoms, keys: Keys | None = None, source: str = "frame") -> Frame:
    """Take the labels of an ASE object and check them. Raises DataError; shapes and units as in `Frame`."""
    keys = keys or Keys()
    if len(atoms) == 0:
        raise DataError(f"{source}: has no atoms")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise DataError(f"{source}: positions or cell are not finite")
    energy = _label(atoms, "energy", keys.energy, source)
    forces = _label(atoms, "forces", keys.forces, source)
    stress = _label(atoms, "stress", keys.stress, source)
    if energy is not None:
        if np.size(energy) != 1:
            raise DataError(f"{source}: energy must be one number, got shape {np.shape(energy)}")
        energy = float(np.reshape(energy, ()))
    if forces is not None:
        forces = np.array(forces, dtype=float)
        if forces.shape != (len(atoms), 3):
            raise DataError(f"{source}: forces must have shape ({len(atoms)}, 3), got {forces.shape}")
    if stress is not None:
        stress = _full_stress(np.array(stress, dtype=float), source)
    for name, value in (("energy", energy), ("forces", forces), ("stress", stress)):
        if value is not None and not np.isfinite(value).all():
            raise DataError(f"{source}: {name} is not finite; remove the frame or the label")
    kind = str(atoms.info.get("config_type", "")).lower()
    isolated = kind in ISOLATED
    if isolated and len(atoms) != 1:
        raise DataError(f"{source}: config_type={kind} but {len(atoms)} atoms; an isolated atom is one atom")
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    tensors = {label.name: value for label in keys.tensors if (value := _tensor(atoms, label, source)) is not None}
    return Frame(plain, energy, forces, stress, source, isolated, tensors=tensors)


def _tensor(atoms: Atoms, label: TensorLabel, source: str) -> np.ndarray[Any, Any] | None:
    """A tensor label with its full shape, or None if the frame has none."""
    raw = _label(atoms, label.name, label.key, source, atomic=label.atomic)
    if raw is None:
        return None
    shape = (len(atoms) if label.atomic else 1, *[3] * label.order)
    value = np.array(raw, dtype=float)
    if value.size != int(np.prod(shape)):
        raise DataError(
            f"{source}: {label.name} must have {int(np.prod(shape))} numbers, shape {shape}, got {value.size}"
        )
    if not np.isfinite(value).all():
        raise DataError(f"{source}: {label.name} is not finite; remove the frame or the label")
    return value.reshape(shape)


def _label(atoms: Atoms, name: str, key: str | None, source: str, atomic: bool = False) -> Any:
    """The raw label, or None if there is none under any of the usual names."""
    stores: list[dict[str, Any]] = [atoms.arrays if name == "forces" or atomic else atoms.info]
    results = getattr(atoms.calc, "results", {}) if atoms.calc is not None else {}
    if key is not None:
        for store in (*stores, results):
            if key in store:
                return store[key]
        known = sorted({*atoms.info, *atoms.arrays, *results} - {"numbers", "positions"})
        raise DataError(f"{source}: no {name} under the key {key!r}; the frame has {', '.join(known) or 'no labels'}")
    for candidate in (f"REF_{name}", name):
        for store in stores:
            if candidate in store:
                return store[candidate]
    return results.get(name)


def _full_stress(stress: np.ndarray[Any, Any], source: str) -> np.ndarray[Any, Any]:
    """Stress as [3, 3] from six Voigt components (ASE's order xx yy zz yz xz xy), nine numbers or a matrix."""
    if stress.shape == (6,):
        return np.asarray(voigt_6_to_full_3x3_stress(stress))
    if stress.size == 9:
        full = stress.reshape(3, 3)
        if not np.allclose(full, full.T, atol=1e-4 + 1e-3 * float(np.abs(full).max())):
            raise DataError(f"{source}: stress is not symmetric")
        return (full + full.T) / 2
    raise DataError(f"{source}: stress must have 6 or 9 components, got shape {stress.shape}")


def require_labels(
    frames: Sequence[Frame], energy: bool, forces: bool, stress: bool, tensors: Sequence[str] = ()
) -> None:
    """Make sure that labels which the loss needs are there.

    Raises:
        DataError: Naming the first frame without one. A missing label is never taken for zero.
    """
    found: set[str] = set()
    for frame in frames:
        for name, needed in (("energy", energy), ("forces", forces)):
            if needed and getattr(frame, name) is None:
                raise DataError(
                    f"{frame.source}: no {name}; looked under REF_{name}, {name} and the attached calculator. "
                    f"Name the key with `{name}_key`, or set the loss weight of {name} to 0"
                )
        found |= frame.tensors.keys()
        if frame.stress is not None:
            found.add("stress")
    for name in tensors:
        if name not in found:
            raise DataError(
                f"{frames[0].source}: no {name} in this or any other frame; looked under REF_{name} and {name}. "
                "Name the key with `key` in model.properties, or set its weight in training.property_weights to 0"
            )
    if stress and "stress" not in found:
        raise DataError(f"{frames[0].source}: no stress in this or any other frame; set the loss weight of stress to 0")


def split_isolated(
    frames: Sequence[Frame], sizes: Sequence[int] | None = None, known: dict[str, float] | None = None
) -> tuple[Sequence[Frame], dict[str, float]]:
    """Separate isolated-atom frames from the rest: (other frames, {symbol: energy in eV}).

    Args:
        frames: All frames.
        sizes: Atoms of each frame, where they are known: then only frames of one atom are looked at.
        known: Energies of isolated atoms of other files; they are part of the result.
    Raises:
        DataError: If an isolated atom has no energy, or an element has two different ones.
    """
    others: list[int] = []
    energies = dict(known or {})
    for number in range(len(frames)):
        if sizes is not None and sizes[number] > 1:
            others.append(number)
            continue
        frame = frames[number]
        if not frame.isolated:
            others.append(number)
            continue
        symbol = frame.atoms.get_chemical_symbols()[0]
        if frame.energy is None:
            raise DataError(f"{frame.source}: isolated {symbol} atom without an energy")
        if symbol in energies and not math.isclose(energies[symbol], frame.energy, abs_tol=1e-6):
            raise DataError(f"{frame.source}: a second, different energy for the isolated {symbol} atom")
        energies[symbol] = frame.energy
    return Chosen(frames, others), energies
