"""Official files as they are published -> frames in eV and angstrom. One reader a form; nothing is unpickled."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units

from cartalg.data.frames import DataError
from cartalg.quantities import find

KCAL = units.kcal / units.mol
Files = Iterator[tuple[str, Iterator[Atoms]]]


def labelled(atoms: Atoms, **labels: Any) -> Atoms:
    """A frame with its labels under the plain keys: eV, eV/angstrom, eV/angstrom^3 as [3, 3] with ASE's sign.

    Those that are None are left out. Raises LookupError for a name that is not in the table of quantities.
    """
    for name, value in labels.items():
        if value is not None:
            quantity, array = find(name), np.asarray(value, dtype=float)
            (atoms.arrays if quantity.atomic else atoms.info)[name] = array if quantity.order else float(array)
    return atoms


def symmetric(xx: float, yy: float, zz: float, xy: float, yz: float, xz: float) -> np.ndarray:
    """A symmetric matrix from its components."""
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def read_rmd17(path: Path, members: Sequence[str], split: int) -> Files:
    """rMD17's archive: arrays of each molecule, and the numbers of the frames of each split."""
    with tarfile.open(path) as archive:
        names = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()}

        def content(name: str) -> bytes:
            if name not in names:
                raise DataError(f"{path}: holds no {name}; is it the archive of rMD17?")
            stream = archive.extractfile(names[name])
            assert stream is not None
            return stream.read()

        numbers = {
            part: np.loadtxt(io.BytesIO(content(f"index_{part}_{split:02d}.csv")), dtype=int)
            for part in ("train", "test")
        }
        for molecule in members:
            arrays = np.load(io.BytesIO(content(f"rmd17_{molecule}.npz")), allow_pickle=False)
            z, positions, energies, forces = (arrays[k] for k in ("nuclear_charges", "coords", "energies", "forces"))
            for part, chosen in numbers.items():
                frames = (
                    labelled(Atoms(z, positions[n]), energy=energies[n] * KCAL, forces=forces[n] * KCAL) for n in chosen
                )
                yield f"{molecule}_{part}.xyz", frames


def read_md22(path: Path, members: Sequence[str], split: int) -> Files:
    """One molecule of MD22: an archive with one extended XYZ file."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            molecule = Path(name).stem.removeprefix("md22_")
            if name.endswith(".xyz") and molecule in members:
                with archive.open(name) as stream:
                    yield f"{molecule}.xyz", _md22_frames(io.TextIOWrapper(stream), f"{path}, {name}")


def _md22_frames(stream: io.TextIOWrapper, source: str) -> Iterator[Atoms]:
    for number, atoms in enumerate(ase.io.iread(stream, ":", format="extxyz")):
        found = dict(getattr(atoms.calc, "results", {})) | atoms.info | atoms.arrays
        energy = found.get("Energy", found.get("energy"))
        if energy is None or "forces" not in found:
            raise DataError(f"{source}, frame {number}: no energy or no forces; is it a file of MD22?")
        plain = Atoms(atoms.numbers, atoms.positions)
        yield labelled(plain, energy=float(energy) * KCAL, forces=found["forces"] * KCAL)


def read_vasp_json(path: Path, members: Sequence[str], split: int) -> Files:
    """The alloy's archive: lists of structures with VASP's stress, in kbar, compression positive, xx yy zz xy yz zx."""
    with zipfile.ZipFile(path) as archive:
        files = [n for n in archive.namelist() if "/NbMoTaW/training/" in n and n.endswith(".json")]
        if not files:
            raise DataError(f"{path}: holds no NbMoTaW/training/*.json")
        for part in ("train", "test"):
            chosen = [n for n in sorted(files) if n.endswith("_Test.json") == (part == "test")]
            yield f"{part}.xyz", (a for name in chosen for a in _vasp_frames(json.loads(archive.read(name))))


def read_mlearn(path: Path, members: Sequence[str], split: int) -> Files:
    """mlearn: one element's frames to train or to test on, as the alloy's, but the stress is called virial_stress.

    Of sheared cells the component of its plane is the sixth for zx: the order is VASP's as well.
    """
    try:
        entries = json.loads(path.read_text())
        frames = list(_vasp_frames(entries, "virial_stress"))
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: not a file of mlearn ({error!r}); get it anew") from error
    yield f"{path.stem}.xyz", iter(frames)


def _vasp_frames(entries: list[dict], stress_key: str = "stress") -> Iterator[Atoms]:  # type: ignore[type-arg]
    for entry in entries:
        sites, outputs = entry["structure"]["sites"], entry["outputs"]
        atoms = Atoms(
            [site["species"][0]["element"] for site in sites],
            [site["xyz"] for site in sites],
            cell=entry["structure"]["lattice"]["matrix"],
            pbc=True,
        )
        atoms.info["group"] = entry["group"]
        stress = -0.1 * units.GPa * symmetric(*outputs[stress_key])
        yield labelled(atoms, energy=outputs["energy"], forces=outputs["forces"], stress=stress)


def read_mtp_cfg(path: Path, members: Sequence[str], split: int) -> Files:
    """Ta-V-Cr-W: MTP's text files. Elements are numbers there; they are taken in the order of the set's name.

    The first of the ten splits is index 0 there and 1 here; the files keep their names.
    """
    with zipfile.ZipFile(path) as archive:
        inside = [n for n in archive.namelist() if not n.endswith("/")]
        chosen = [n for n in inside if Path(n).name.endswith((f"_train_{split - 1}", f"_valid_{split - 1}"))]
        chosen += [n for n in inside if n.endswith(".cfg")]
        if not chosen:
            raise DataError(f"{path}: holds no MTP file of split {split}; it holds {', '.join(inside[:5])} ..")
        for name in sorted(chosen):
            with archive.open(name) as stream:
                frames = mtp_frames(io.TextIOWrapper(stream), ("Ta", "V", "Cr", "W"), f"{path}, {name}")
                yield f"{Path(name).name.removesuffix('.cfg')}.xyz", frames


def mtp_frames(lines: io.TextIOBase, elements: Sequence[str], source: str) -> Iterator[Atoms]:
    """Frames of an MTP .cfg file; PlusStress is minus the stress times the volume, in eV, xx yy zz yz xz xy.

    Raises:
        DataError: If a frame is cut short or lacks its energy or forces.
    """
    words = (line.split() for line in lines)
    number = -1
    for begin in words:
        if begin[:1] != ["BEGIN_CFG"]:
            continue
        number += 1
        size, energy, plus, cell, columns, rows = 0, None, None, [], [], []
        for line in words:
            if line[:1] == ["END_CFG"]:
                break
            if line[:1] == ["Size"]:
                size = int(next(words)[0])
            elif line[:1] == ["Supercell"]:
                cell = [[float(x) for x in next(words)] for _ in range(3)]
            elif line[:1] == ["AtomData:"]:
                columns = line[1:]
                rows = [next(words, []) for _ in range(size)]
            elif line[:1] == ["Energy"]:
                energy = float(next(words)[0])
            elif line[:1] == ["PlusStress:"]:
                plus = dict(zip(line[1:], map(float, next(words)), strict=True))
        else:
            raise DataError(f"{source}, frame {number}: cut short, no END_CFG")
        if energy is None or "fx" not in columns or not size:
            raise DataError(f"{source}, frame {number}: no energy or no forces")
        table = dict(zip(columns, np.array(rows, dtype=float).T, strict=True))
        symbols = [elements[int(t)] for t in table["type"]]
        positions = np.stack([table[f"cartes_{axis}"] for axis in "xyz"], 1)
        atoms = Atoms(symbols, positions, cell=cell or None, pbc=bool(cell))
        stress = None
        if plus is not None and cell:
            stress = -symmetric(*(plus[k] for k in ("xx", "yy", "zz", "xy", "yz", "xz"))) / atoms.get_volume()
        forces = np.stack([table[f"f{axis}"] for axis in "xyz"], 1)
        yield labelled(atoms, energy=energy, forces=forces, stress=stress)


READERS: dict[str, Callable[[Path, Sequence[str], int], Files]] = {
    "rmd17": read_rmd17,
    "md22": read_md22,
    "vasp_json": read_vasp_json,
    "mtp_cfg": read_mtp_cfg,
    "mlearn": read_mlearn,
}
