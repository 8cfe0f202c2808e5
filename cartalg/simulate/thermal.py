"""Harmonic thermodynamics, and tables of it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from cartalg.files import write_file

COLUMNS = ("temperature_K", "free_energy_kJ_per_mol", "entropy_J_per_K_mol", "heat_capacity_J_per_K_mol")


def harmonic(
    energies: np.ndarray[Any, Any], temperatures: np.ndarray[Any, Any]
) -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
    """Thermodynamics of harmonic oscillators: (columns, rows), zero-point energy included in the free energy.

    Args:
        energies: Of one quantum of each, in eV, above 0.
        temperatures: In K.
    """
    molar, rows = units.kJ / units.mol, list[tuple[float, ...]]()
    for kelvin in temperatures:
        thermal = units.kB * max(float(kelvin), 1e-9)
        x = energies / thermal  # of a large one, nothing is excited: exp(-x) is 0
        occupied = np.exp(-x) / -np.expm1(-x)
        free = float((energies / 2 + thermal * np.log(-np.expm1(-x))).sum())
        entropy = units.kB * float((x * occupied - np.log(-np.expm1(-x))).sum())
        heat = units.kB * float((x**2 * occupied * (1 + occupied)).sum())
        rows.append((float(kelvin), free / molar, 1e3 * entropy / molar, 1e3 * heat / molar))
    return COLUMNS, rows


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Write a CSV whole, eight digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[f"{value:.8g}" for value in row] for row in rows])
    write_file(path, text.getvalue())
