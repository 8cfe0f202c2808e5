import re

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.io import write
from ase.optimize import BFGS
from ase.vibrations import Vibrations
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.simulate.thermal import harmonic
from cartalg.train.records import read_metrics


def call(*words):
    result = CliRunner().invoke(app, ["phonons", *map(str, words)])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


@pytest.fixture(scope="module")
def crystal(run, tmp_path_factory):
    """At the minimum of the cell's volume, so that long waves are sound."""
    atoms = bulk("Cu")
    atoms.calc = CartalgCalculator(run)
    sizes = np.linspace(0.85, 1.25, 41)
    energies = []
    for size in sizes:
        atoms.set_cell(bulk("Cu").cell * size, scale_atoms=True)
        energies.append(atoms.get_potential_energy())
    atoms.set_cell(bulk("Cu").cell * sizes[np.argmin(energies)], scale_atoms=True)
    path = tmp_path_factory.mktemp("crystal") / "crystal.xyz"
    write(path, atoms)
    return path


def test_a_crystal_has_bands_density_and_heat(run, crystal, tmp_path):
    """The frequencies at the centre and on the zone's edge are those of the dynamical matrix from the exact Hessian."""
    said = call(run, crystal, "--output", tmp_path / "ph", "--supercell", 2, 2, 2, "--temperatures", 0, 3000, 1500)
    for name in ("phonons.png", "phonopy.yaml", "thermal.csv"):
        assert (tmp_path / "ph" / name).stat().st_size > 500 or name == "thermal.csv"
    assert "primitive cell of 1 atoms, supercell 2 x 2 x 2" in said
    atoms = ase.io.read(crystal) * (2, 2, 2)
    atoms.calc = CartalgCalculator(run)
    squares = np.linalg.eigvalsh(atoms.calc.get_hessian(atoms) / atoms.get_masses()[0])
    exact = np.sort(np.sign(squares) * np.sqrt(abs(squares))) * units.fs * 1e3 / (2 * np.pi)
    from phonopy import load

    phonon = load(tmp_path / "ph" / "phonopy.yaml", log_level=0)
    points = [[i / 2, j / 2, k / 2] for i in range(2) for j in range(2) for k in range(2)]
    found = np.sort(phonon.run_qpoints(points).frequencies.ravel())
    np.testing.assert_allclose(found, exact, atol=0.02 * abs(exact).max())
    cold, _, hot = read_metrics(tmp_path / "ph" / "thermal.csv")
    assert cold["entropy_J_per_K_mol"] == pytest.approx(0, abs=1e-3)
    if "no imaginary" in said:
        assert hot["heat_capacity_J_per_K_mol"] == pytest.approx(3 * 8.314, rel=0.02)


def test_vibrations_of_a_molecule_are_those_of_finite_differences(run, structures, tmp_path):
    atoms = ase.io.read(structures / "molecule.xyz")
    atoms.calc = CartalgCalculator(run)
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=500)
    write(tmp_path / "relaxed.xyz", atoms)
    said = call(run, tmp_path / "relaxed.xyz", "--output", tmp_path / "vib")
    numeric = Vibrations(atoms, delta=5e-3, nfree=4, name=str(tmp_path / "cache"))
    numeric.run()
    waves = numeric.get_frequencies()
    waves = np.where(abs(waves.imag) > abs(waves.real), -abs(waves.imag), waves.real)
    rows = read_metrics(tmp_path / "vib" / "vibrations.csv")
    found = [row["frequency_per_cm"] for row in rows]
    free = 9 - len(rows)
    assert f"{free} translations and rotations set aside" in said
    np.testing.assert_allclose(found, np.sort(waves[np.argsort(abs(waves))[free:]]), rtol=0.02, atol=2)
    imaginary = sum(wave < 0 for wave in found)
    assert ("no imaginary" in said) == (imaginary == 0)
    positive = sum(row["energy_meV"] for row in rows if row["energy_meV"] > 0) / 2e3
    assert float(re.search(r"zero-point energy ([\d.]+) eV", said)[1]) == pytest.approx(positive, abs=1e-4)


def test_a_structure_that_is_no_minimum_is_reported(run, structures, tmp_path):
    atoms = ase.io.read(structures / "molecule.xyz")
    atoms.rattle(0.2, seed=1)
    write(tmp_path / "odd.xyz", atoms)
    assert "relax first" in call(run, tmp_path / "odd.xyz", "--output", tmp_path / "vib")


def test_thermodynamics_of_one_oscillator():
    """Free energy, entropy and heat from the partition function, by differences; of a cold one, the zero point."""
    energy, step = np.array([0.05]), 1e-3

    def free(kelvin):
        levels = energy[0] * (0.5 + np.arange(4000))
        thermal = units.kB * kelvin
        return levels[0] - thermal * np.log(np.exp(-(levels - levels[0]) / thermal).sum())

    _, ((_, cold, none, nothing), (_, warm, entropy, heat)) = harmonic(energy, np.array([0.0, 400.0]))
    molar = units.kJ / units.mol
    assert (cold * molar, none, nothing) == pytest.approx((0.025, 0, 0))
    assert warm * molar == pytest.approx(free(400.0))
    slope = (free(400 + step) - free(400 - step)) / (2 * step)
    assert entropy * molar / 1e3 == pytest.approx(-slope, rel=1e-6)
    curvature = (free(401.0) - 2 * free(400.0) + free(399.0)) / 1.0
    assert heat * molar / 1e3 == pytest.approx(-400 * curvature, rel=1e-3)


def test_slabs_are_refused(run, structures, tmp_path):
    atoms = ase.io.read(structures / "crystal.xyz")
    atoms.pbc = (True, True, False)
    write(tmp_path / "slab.xyz", atoms)
    result = CliRunner().invoke(app, ["phonons", str(run), str(tmp_path / "slab.xyz"), "--output", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert "of crystals, or of molecules" in result.stderr
    assert not (tmp_path / "x").exists()
