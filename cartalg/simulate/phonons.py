"""Phonons of crystals by phonopy, vibrations of molecules from the exact Hessian: bands, densities, thermodynamics."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.vibrations import VibrationsData
from rich.progress import Progress

from cartalg.extras import require
from cartalg.files import whole
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.simulate.relax import largest
from cartalg.simulate.structures import read_structure
from cartalg.simulate.thermal import harmonic, write_table
from cartalg.train.plots import phonon_plot, spectrum_plot

BANDS_FILE, SPECTRUM_FILE, THERMAL_FILE = "phonons.png", "vibrations.png", "thermal.csv"
MODES_FILE, PHONOPY_FILE = "vibrations.csv", "phonopy.yaml"
#: Frequencies below this are imaginary, in THz; noise of float32 about the acoustic ones at zero is not.
IMAGINARY = -0.1
#: Frequencies below this are the acoustic ones at the centre, which heat does not see, in THz.
ACOUSTIC = 1e-3
#: Length that a supercell has at least, in angstrom, unless it is given.
REACH = 12.0
#: Largest force of a structure that counts as relaxed, in eV/angstrom.
RELAXED = 0.01


@dataclass(frozen=True)
class Spectrum:
    """Vibrations of a structure.

    Attributes:
        unit: Of frequencies: ``"THz"`` of a crystal, ``"cm-1"`` of a molecule.
        lowest, highest: Frequencies; an imaginary one is negative.
        imaginary: How many modes have an imaginary frequency: of a molecule, or of a crystal's mesh.
        modes: How many modes there are of that kind.
        zero_point: Energy in eV, of the molecule or of the primitive cell, without imaginary modes.
        force: Largest force on an atom in eV/angstrom: frequencies are those of a minimum only if it is small.
        what: In words.
    """

    unit: str
    lowest: float
    highest: float
    imaginary: int
    modes: int
    zero_point: float
    force: float
    what: str


def phonons_file(
    run: Path,
    structure: Path,
    output: Path,
    frame: int,
    supercell: tuple[int, int, int] | None,
    displacement: float,
    temperatures: tuple[float, float, float],
    backend: str,
    bar: Progress,
) -> Spectrum:
    """Vibrations of a structure, written to a folder: pictures, tables and, of a crystal, phonopy's file.

    Args:
        run: Model file, or folder of a training run.
        structure: File that ASE reads: a relaxed structure.
        output: Folder.
        frame: Number of the structure in the file.
        supercell: Copies along each cell vector; by default as many as reach `REACH`. Of a crystal alone.
        displacement: Of atoms in the supercell, in angstrom.
        temperatures: Of the table, in K: first, last, step.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        bar: Progress.
    Raises:
        MissingExtra: If a crystal is asked for without cartalg[phonons].
        ValueError: If the structure is periodic along some axes, but not all, or the temperatures are no grid.
        FileNotFoundError, DataError: For bad input.
    """
    first, last, step = temperatures
    if not 0 <= first <= last or step <= 0:
        raise ValueError(f"--temperatures must be first, last and a step above 0, got {first:g} {last:g} {step:g}")
    grid, atoms = np.arange(first, last + step / 2, step), read_structure(structure, frame)
    if atoms.pbc.any() and not atoms.pbc.all():
        raise ValueError(f"{structure}: phonons are of crystals, or of molecules; pbc is {atoms.pbc.tolist()}")
    if atoms.pbc.all():
        require("phonons", "cartalg phonons of a crystal")
    atoms.calc = CartalgCalculator(run, backend=backend)
    if atoms.pbc.all():
        return crystal(atoms, output, supercell, displacement, grid, bar)
    return molecule(atoms, output, grid, bar)


def molecule(atoms: Atoms, output: Path, temperatures: np.ndarray[Any, Any], bar: Progress) -> Spectrum:
    """Vibrations of a molecule with a calculator; arguments as of `phonons_file`. Translations and rotations are set
    aside: the modes with the smallest frequencies, as many as the molecule has of them.
    """
    task = bar.add_task("Hessian", total=None, note=f"{3 * len(atoms)} rows")
    force = largest(atoms.get_forces())
    data = VibrationsData.from_2d(atoms, atoms.calc.get_hessian(atoms))
    bar.remove_task(task)
    energies = data.get_energies()
    energies = np.where(abs(energies.imag) > abs(energies.real), -abs(energies.imag), energies.real)
    moments = atoms.get_moments_of_inertia()
    free = 3 if len(atoms) == 1 else 5 if moments.min() < 1e-3 * moments.max() else 6
    modes = np.sort(energies[np.argsort(abs(energies))[free:]])
    waves, real = modes / units.invcm, modes[modes > 0]
    rows = [(n, wave, 1e3 * energy) for n, (wave, energy) in enumerate(zip(waves, modes, strict=True))]
    write_table(output / MODES_FILE, ("mode", "frequency_per_cm", "energy_meV"), rows)
    write_table(output / THERMAL_FILE, *harmonic(real, temperatures))
    spectrum_plot(waves, output / SPECTRUM_FILE)
    what = f"molecule of {len(atoms)} atoms, {free} translations and rotations set aside"
    low, high = (float(waves.min()), float(waves.max())) if len(waves) else (0.0, 0.0)
    return Spectrum("cm-1", low, high, int((modes < 0).sum()), len(modes), float(real.sum()) / 2, force, what)


def crystal(
    atoms: Atoms,
    output: Path,
    supercell: tuple[int, int, int] | None,
    displacement: float,
    temperatures: np.ndarray[Any, Any],
    bar: Progress,
) -> Spectrum:
    """Phonons of a crystal with a calculator, from as few displacements as symmetry asks for; arguments as of
    `phonons_file`.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.cells import guess_primitive_matrix

    force = largest(atoms.get_forces())
    unit = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
    repeats = supercell or tuple(int(np.ceil(REACH / length)) for length in atoms.cell.lengths())
    phonon = Phonopy(unit, np.diag(repeats), primitive_matrix=guess_primitive_matrix(unit))
    phonon.generate_displacements(distance=displacement)
    displaced = phonon.supercells_with_displacements
    task, found = bar.add_task("displacements", total=len(displaced), note=""), []
    for image in displaced:
        moved = Atoms(image.numbers, cell=image.cell, scaled_positions=image.scaled_positions, pbc=True)
        moved.calc = atoms.calc
        forces = moved.get_forces()
        found.append(forces - forces.mean(0))
        bar.advance(task)
    phonon.forces = found
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants(show_drift=False)
    with whole(output / PHONOPY_FILE) as temporary:
        phonon.save(temporary, settings={"force_constants": True})
    primitive = phonon.primitive
    path = Atoms(primitive.numbers, cell=primitive.cell, scaled_positions=primitive.scaled_positions, pbc=True)
    bands = _bands(phonon, path)
    phonon.run_mesh(mesh=60.0, is_gamma_center=True)
    frequencies, weights = phonon.mesh.frequencies, phonon.mesh.weights
    phonon.run_total_dos()
    dos = phonon.total_dos
    phonon.run_thermal_properties(temperatures=temperatures, cutoff_frequency=ACOUSTIC)
    thermal = phonon.thermal_properties
    columns = ("temperature_K", "free_energy_kJ_per_mol", "entropy_J_per_K_mol", "heat_capacity_J_per_K_mol")
    values = (thermal.temperatures, thermal.free_energy, thermal.entropy, thermal.heat_capacity)
    write_table(output / THERMAL_FILE, columns, list(zip(*values, strict=True)))
    phonon_plot(*bands, (dos.frequency_points, dos.dos), output / BANDS_FILE)
    every = np.concatenate([frequencies.ravel(), *(f.ravel() for f in bands[1])])
    positive = np.where(frequencies > 0, frequencies, 0).sum(1)
    zero_point = float(weights @ positive / weights.sum()) / 2 * 1e12 * units._hplanck / units._e
    imaginary = int((weights[:, None] * (frequencies < IMAGINARY)).sum())
    copies = " x ".join(map(str, repeats))
    what = f"primitive cell of {len(primitive)} atoms, supercell {copies}, {len(displaced)} displacements"
    number = int(weights.sum()) * frequencies.shape[1]
    return Spectrum("THz", float(every.min()), float(every.max()), imaginary, number, zero_point, force, what)


def _bands(phonon: Any, primitive: Atoms) -> tuple[list[Any], list[Any], list[tuple[float, str]]]:
    """Distances and frequencies of each piece of the standard path, and where its special points are."""
    special = primitive.cell.bandpath(eps=1e-3)
    pieces, labels = [], []
    for part in special.path.split(","):
        names = _split(part)
        for first, last in pairwise(names):
            ends = special.special_points[first], special.special_points[last]
            pieces.append(np.linspace(*ends, 51))
            labels.append((first, last))
    phonon.run_band_structure(pieces)
    distances, frequencies = phonon.band_structure.distances, phonon.band_structure.frequencies
    ticks: dict[float, str] = {}
    for piece, between in zip(distances, labels, strict=True):
        for place, name in zip((piece[0], piece[-1]), between, strict=True):
            at, said = round(float(place), 9), name.replace("G", "Γ")
            known = ticks.get(at)
            ticks[at] = said if known in (None, said) else f"{known}|{said}"
    return list(distances), list(frequencies), list(ticks.items())


def _split(part: str) -> list[str]:
    """Names of special points: a capital letter, digits after it."""
    names: list[str] = []
    for letter in part:
        if letter.isupper():
            names.append(letter)
        else:
            names[-1] += letter
    return names
