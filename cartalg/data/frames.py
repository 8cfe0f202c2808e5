"""Labelled frames from extended XYZ (or any format ASE reads): checked, complete, nothing dropped in silence.

What labels there are, their names and shapes are in `cartalg.quantities`. Units: eV, eV/angstrom, eV/angstrom^3 with
ASE's stress sign (tension positive); of tensor properties, the file's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from cartalg.data.errors import DataError as DataError
from cartalg.data.layout import layout
from cartalg.data.lazy import Subset
from cartalg.quantities import QUANTITIES, Quantity

ISOLATED = {"isolatedatom", "isolated_atom", "isolated atom"}
#: So many groups of frames are told apart; a key with more values is a measurement.
MOST_GROUPS = 50
#: What a frame is grouped by: no arrays, no lists.
WORDS = (str, int, float, np.generic)


@dataclass(frozen=True)
class Frame:
    """One configuration with its labels.

    Attributes:
        atoms: Positions in angstrom, cell, periodicity.
        labels: By the quantity's name, float64 [rows, 3, ..]: one row, or one for each atom; only those that are there.
        source: File and frame number, for messages.
        isolated: True for a single atom that gives an element's reference energy.
        weight: Of this frame in a loss.
        info: What else the file says of it in a word or a number, by key: its group, its temperature.
    """

    atoms: Atoms
    labels: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    source: str = "frame"
    isolated: bool = False
    weight: float = 1.0
    info: Mapping[str, str] = field(default_factory=dict)

    @property
    def energy(self) -> float | None:
        """eV, or None: what shifts of elements are made of."""
        return float(self.labels["energy"][0]) if "energy" in self.labels else None


def read_frames(
    path: str | Path, quantities: Sequence[Quantity] = QUANTITIES, numbers: Sequence[int] | None = None
) -> list[Frame]:
    """Read every frame of a file, with labels where there are any.

    Args:
        path: Extended XYZ, gzipped or not, or another format that ASE reads.
        quantities: Labels to look for, each under its own key or the usual ones.
        numbers: Frame numbers to keep, in this order; by default all.
    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file is truncated or malformed, a number is out of range, or a label is not finite or has
            the wrong shape.
    """
    import ase.io  # SciPy comes with it, which a calculator does not need

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        sizes = None
        if {".xyz", ".extxyz"} & {*path.suffixes}:
            with ase.io.formats.open_with_compression(str(path), "rb") as stream:
                sizes = [count for count, _ in layout(stream, path)]
        images = ase.io.read(path, ":", do_not_split_by_at_sign=True)
    except DataError:
        raise
    except Exception as error:  # ASE raises many kinds for a damaged file
        raise DataError(f"{path}: cannot be read, is it truncated or malformed? ASE says: {error}") from error
    if sizes is not None and sizes != [len(atoms) for atoms in images]:
        raise DataError(
            f"{path}: ASE reads {len(images)} frames of other sizes than its {len(sizes)}; is it extended XYZ?"
        )
    if not images:
        raise DataError(f"{path}: holds no frame")
    chosen = range(len(images)) if numbers is None else numbers
    wrong = [n for n in chosen if not 0 <= n < len(images)]
    if wrong:
        raise DataError(f"{path}: frame {wrong[0]} asked for, but the file has frames 0 to {len(images) - 1}")
    return [to_frame(images[n], quantities, f"{path}, frame {n}") for n in chosen]


def read_numbers(path: Path) -> list[int]:
    """Frame numbers, one a line. Raises DataError for a line that is no number, FileNotFoundError for no file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    numbers = []
    for place, line in enumerate(path.read_text().split("\n"), start=1):
        if line.strip():
            if not line.strip().isdigit():
                raise DataError(f"{path}, line {place}: {line.strip()!r} is not a frame number")
            numbers.append(int(line))
    return numbers


def to_frame(atoms: Atoms, quantities: Sequence[Quantity] = QUANTITIES, source: str = "frame") -> Frame:
    """Take the labels of an ASE object and check them. Raises DataError; shapes and units as in `Frame`."""
    if len(atoms) == 0:
        raise DataError(f"{source}: has no atoms")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise DataError(f"{source}: positions or cell are not finite")
    labels = {q.name: label for q in quantities if (label := read_label(atoms, q, source)) is not None}
    kind = str(atoms.info.get("config_type", "")).lower()
    isolated = kind in ISOLATED
    if isolated and len(atoms) != 1:
        raise DataError(f"{source}: config_type={kind} but {len(atoms)} atoms; an isolated atom is one atom")
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    names = {name for q in quantities for name in (q.key, q.name, f"REF_{q.name}")}
    words = {k: str(v) for k, v in atoms.info.items() if k not in names and isinstance(v, WORDS)}
    return Frame(plain, labels, source, isolated, info=words)


def read_label(atoms: Atoms, quantity: Quantity, source: str = "frame") -> np.ndarray[Any, Any] | None:
    """One label of an ASE object, float64 with its full shape, or None if there is none. Raises DataError."""
    raw, name, shape = _raw(atoms, quantity, source), quantity.name, quantity.shape(len(atoms))
    if raw is None:
        return None
    value = np.array(raw, dtype=float)
    if quantity.symmetric:
        value = _from_voigt(value, name, source)
    if value.size != math.prod(shape) or (quantity.atomic and value.shape[:1] != shape[:1]):
        raise DataError(
            f"{source}: {name} must have {math.prod(shape)} numbers, shape {shape}, got shape {value.shape}"
        )
    if not np.isfinite(value).all():
        raise DataError(f"{source}: {name} is not finite; remove the frame or the label")
    return value.reshape(shape)


def _raw(atoms: Atoms, quantity: Quantity, source: str) -> Any:
    """The label as it is stored, or None if there is none under any of the usual names."""
    name, key = quantity.name, quantity.key
    store = atoms.arrays if quantity.atomic else atoms.info
    results = getattr(atoms.calc, "results", {}) if atoms.calc is not None else {}
    if key is not None:
        if key not in store and key not in results:
            known = sorted({*atoms.info, *atoms.arrays, *results} - {"numbers", "positions"})
            labels = ", ".join(known) or "no labels"
            raise DataError(f"{source}: no {name} under the key {key!r}; the frame has {labels}")
        return store[key] if key in store else results[key]
    return store.get(f"REF_{name}", store.get(name, results.get(name)))


def _from_voigt(value: np.ndarray[Any, Any], name: str, source: str) -> np.ndarray[Any, Any]:
    """A symmetric tensor as [3, 3] from six components in ASE's order xx yy zz yz xz xy, nine numbers or a matrix."""
    if value.shape == (6,):
        return np.asarray(voigt_6_to_full_3x3_stress(value))
    if value.size == 9:
        full = value.reshape(3, 3)
        if not np.allclose(full, full.T, atol=1e-4 + 1e-3 * float(np.abs(full).max()), equal_nan=True):
            raise DataError(f"{source}: {name} is not symmetric")
        return (full + full.T) / 2
    raise DataError(f"{source}: {name} must have 6 or 9 components, got shape {value.shape}")


def require_labels(frames: Iterable[Frame], quantities: Iterable[Quantity]) -> None:
    """Make sure that labels which a loss needs are there: in every frame, or in one, as the quantity says.

    Raises:
        DataError: Naming the quantity, the first frame without it, and what to do. A missing label is never taken
            for zero.
    """
    missing, first = {q.name: q for q in quantities}, None
    for frame in frames:
        first = first or frame
        for quantity in [q for q in missing.values() if q.every_frame and q.name not in frame.labels]:
            raise DataError(f"{frame.source}: no {quantity.name}; {_looked_for(quantity)}")
        missing = {name: q for name, q in missing.items() if q.every_frame or name not in frame.labels}
    for quantity in missing.values():
        if first is not None and not quantity.every_frame:
            raise DataError(f"{first.source}: no {quantity.name} in this or any other frame; {_looked_for(quantity)}")


def groups_by(frames: Sequence[Frame], key: str) -> dict[str, list[int]]:
    """Numbers of the frames with each value of a key, the values in the order of the alphabet.

    Raises:
        DataError: If a frame has no such key, or there are more than `MOST_GROUPS` values.
    """
    found: dict[str, list[int]] = {}
    for number, frame in enumerate(frames):
        if key not in frame.info:
            known = ", ".join(sorted(frame.info)) or "none"
            raise DataError(f"{frame.source}: has no key {key!r} to group by; its keys are {known}")
        found.setdefault(frame.info[key], []).append(number)
    if len(found) > MOST_GROUPS:
        raise DataError(
            f"{frames[0].source}: {key!r} has {len(found)} values in {len(frames)} frames, more than {MOST_GROUPS}: "
            "group by a key that names kinds of frames"
        )
    return dict(sorted(found.items()))


def _looked_for(quantity: Quantity) -> str:
    usual = f"REF_{quantity.name}, {quantity.name} and the attached calculator"
    return f"looked under {quantity.key or usual}; {quantity.remedy}"


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
    return Subset(frames, others), energies
