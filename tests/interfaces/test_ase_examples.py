"""The examples for ASE, run as they stand, on a crystal at its minimum."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.io import read, write

from cartalg.interfaces.ase import CartalgCalculator
from simulate.conftest import make_run

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "ase"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def example(monkeypatch, capsys):
    def start(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return start


@pytest.fixture
def relaxed(run, example, tmp_path):
    write(tmp_path / "cube.xyz", bulk("Cu", a=3.5, cubic=True))
    said = example("relax.py", run, tmp_path / "cube.xyz", tmp_path / "relaxed.xyz")
    assert re.search(r"-?\d+\.\d{6} eV, \d", said)
    return tmp_path / "relaxed.xyz"


def test_relaxed_has_no_stress(run, relaxed):
    atoms = read(relaxed)
    atoms.calc = CartalgCalculator(run)
    assert abs(atoms.get_stress()).max() * atoms.get_volume() < 0.005 * len(atoms)


def test_elastic_constants_are_those_of_energies(run, relaxed, example):
    """Cubic, and C11 is the curvature of the energy along x."""
    said = example("elastic.py", run, relaxed)
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d*", said.split("Voigt")[0])]
    found = np.array(numbers).reshape(6, 6)
    np.testing.assert_allclose(np.diag(found)[:3], found[0, 0], rtol=0.03)
    np.testing.assert_allclose(np.diag(found)[3:], found[3, 3], rtol=0.03)
    assert abs(found[:3, 3:]).max() < 0.02 * found[0, 0]
    atoms, energies = read(relaxed), []
    volume = atoms.get_volume()
    for strain in (-0.01, 0, 0.01):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * [1 + strain, 1, 1], scale_atoms=True)
        strained.calc = CartalgCalculator(run)
        energies.append(strained.get_potential_energy())
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / 0.01**2 / volume / units.GPa
    assert found[0, 0] == pytest.approx(curvature, rel=0.05)


def test_a_vacancy_hops_over_a_barrier(run, relaxed, example, tmp_path):
    """Both ends are the same crystal, so the path is symmetric, and its middle is the saddle."""
    write(tmp_path / "super.xyz", read(relaxed) * (2, 2, 2))
    said = example("neb.py", run, tmp_path / "super.xyz", tmp_path / "path.xyz")
    barrier = float(re.search(r"barrier ([\d.]+) eV", said)[1])
    images = read(tmp_path / "path.xyz", ":")
    energies = np.array([image.get_potential_energy() for image in images])
    assert energies[2] - energies[0] == pytest.approx(barrier, abs=1e-4)
    assert barrier > 0.005
    np.testing.assert_allclose(energies, energies[::-1], atol=0.1 * barrier)
    assert abs(images[2].get_forces()).max() < 0.05


def test_dynamics_heat_and_press(run, relaxed, example, tmp_path):
    write(tmp_path / "super.xyz", read(relaxed) * (2, 1, 1))
    said = example("dynamics.py", run, tmp_path / "super.xyz", 200, 40)
    lines = re.findall(r"(\w[\w ]+): (\d+) K, (-?[\d.]+) GPa, ([\d.]+) A\^3/atom", said)
    assert [name for name, *_ in lines] == ["Langevin"] * 5 + ["constant pressure"] * 5
    volumes = [float(line[3]) for line in lines]
    assert len(set(volumes[:5])) == 1
    assert len(set(volumes[5:])) > 2


def test_phonons_are_those_of_the_exact_hessian(run, relaxed, example, tmp_path):
    atoms = read(relaxed)
    primitive = bulk("Cu", a=atoms.cell[0, 0])
    write(tmp_path / "primitive.xyz", primitive)
    said = example("phonons.py", run, tmp_path / "primitive.xyz")
    centre, edge = ([float(f) for f in re.findall(r"-?\d+\.\d{3}", line)] for line in said.splitlines())
    np.testing.assert_allclose(centre, 0, atol=0.01)
    pair = primitive * (2, 1, 1)  # in which that wave is periodic: neighbours move against each other
    pair.calc = CartalgCalculator(run)
    hessian = pair.calc.get_hessian(pair)
    squares = np.linalg.eigvalsh((hessian[:3, :3] - hessian[:3, 3:]) / pair.get_masses()[0])
    np.testing.assert_allclose(edge, np.sqrt(squares) * units.fs * 1e3 / (2 * np.pi), rtol=0.01)
