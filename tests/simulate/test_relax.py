import re

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.simulate.relax import OPTIMIZERS


def call(*words):
    return CliRunner().invoke(app, ["relax", *map(str, words)])


def rattled(seed):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * np.eye(3, k=1)), scale_atoms=True)
    return atoms


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_frame_is_relaxed(run, tmp_path, optimizer):
    write(tmp_path / "in.xyz", [rattled(0), rattled(1)])
    result = call(
        run, tmp_path / "in.xyz", "--output", tmp_path / "out.xyz", "--optimizer", optimizer, "--fmax", "0.005"
    )
    assert result.exit_code == 0, result.output
    before, after = (ase.io.read(tmp_path / name, ":") for name in ("in.xyz", "out.xyz"))
    assert len(after) == 2
    calculator = CartalgCalculator(run)
    for old, new in zip(before, after, strict=True):
        new.calc, old.calc = calculator, CartalgCalculator(run)
        assert np.linalg.norm(new.get_forces(), axis=1).max() < 0.0051
        assert new.get_potential_energy() < old.get_potential_energy()
        np.testing.assert_allclose(new.cell, old.cell)
        assert new.info["converged"]


def test_the_cell_goes_to_its_pressure(run, tmp_path):
    write(tmp_path / "in.xyz", rattled(2))
    words = (run, tmp_path / "in.xyz", "--output", tmp_path / "out.xyz", "--cell", "--fmax", 1e-3)
    for pressure in (0.0, 2.0):
        result = call(*words, "--pressure", pressure)
        assert result.exit_code == 0, result.output
        atoms = ase.io.read(tmp_path / "out.xyz")
        atoms.calc = CartalgCalculator(run)
        stress = atoms.get_stress(voigt=False) + pressure * units.GPa * np.eye(3)
        assert abs(stress).max() < 2e-3 / atoms.get_volume() * len(atoms)


def test_what_does_not_converge_is_said(run, tmp_path):
    write(tmp_path / "in.xyz", rattled(3))
    result = call(run, tmp_path / "in.xyz", "--output", tmp_path / "out.xyz", "--steps", 2, "--fmax", 1e-6)
    assert result.exit_code == 3
    assert "1 of 1 frames did not converge in 2 steps" in result.stderr
    assert not ase.io.read(tmp_path / "out.xyz").info["converged"]


def test_bad_input_is_one_line_and_writes_nothing(run, structures, tmp_path):
    crash = bulk("Cu", cubic=True)
    crash.positions[1] = crash.positions[0] + 0.01
    write(tmp_path / "crash.xyz", [rattled(0), crash])
    for file, words, says in [
        (tmp_path / "crash.xyz", (), "crash.xyz, frame 1: .* apart"),
        (structures / "molecule.xyz", ("--cell",), "frame 0: a cell is relaxed if it is periodic"),
        (structures / "crystal.xyz", ("--optimizer", "newton"), "optimizer must be one of bfgs, .*, got 'newton'"),
        (structures / "crystal.xyz", ("--pressure", 1), "give --cell"),
        (tmp_path / "none.xyz", (), "no file"),
    ]:
        result = call(run, file, "--output", tmp_path / "out.xyz", *words)
        assert result.exit_code == 2
        assert re.search(says, " ".join(result.stderr.split())), result.stderr
        assert not (tmp_path / "out.xyz").exists()
