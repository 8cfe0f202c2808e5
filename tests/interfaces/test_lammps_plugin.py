"""The exported model as a plugin, in LAMMPS's own program, which has no Python: on one process and on two."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.interfaces.lammps.write import data_file
from cartalg.train.checkpoint import save_model
from interfaces.test_lammps import BAR, ELEMENTS, ENVIRONMENT, MPIEXEC, make_potential, structures

LMP = Path(sys.executable).parent / "lmp"
PERIODIC = {"orthogonal": "p p p", "triclinic": "p p p", "slab": "p p s", "molecule": "s s s"}
SCRIPT = """
units metal
atom_modify map yes
boundary {boundary}
read_data {case}.data
plugin load library/cartalgplugin.so
pair_style cartalg library/model.cartalg
pair_coeff * * Cu Au
neighbor 0.5 bin
neigh_modify every 1 delay 0 check yes
velocity all create 900 1 mom yes
compute energies all pe/atom
fix integrate all nve
timestep 0.001
compute virial all pressure NULL virial
thermo_style custom step pe etotal c_virial[*]
thermo_modify format float %.14g
thermo 40
run 40
print "box $(xlo:%.15g) $(xhi:%.15g) $(ylo:%.15g) $(yhi:%.15g) $(zlo:%.15g) $(zhi:%.15g)"
print "tilt $(xy:%.15g) $(xz:%.15g) $(yz:%.15g)"
write_dump all custom {case}.{processes} id type x y z fx fy fz c_energies modify sort id format float %.15g
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("plugin")
    save_model(place / "model.safetensors", make_potential())
    asked = ["export", str(place / "model.safetensors"), "--output", str(place / "library"), "--lammps"]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    assert "cartalgplugin.so" in said.output
    return place


def run(folder, name, text, processes=1):
    (folder / name).write_text(text)
    command = [MPIEXEC, "-n", processes, LMP, "-in", name, "-log", "none"]
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    ("case", "processes"), [("orthogonal", 1), ("orthogonal", 2), ("triclinic", 2), ("slab", 1), ("molecule", 2)]
)
def test_energy_forces_and_virial_are_those_of_ase(folder, case, processes):
    """At the end of a hot run with new neighbours."""
    (folder / f"{case}.data").write_text(data_file(structures()[case], ELEMENTS))
    script = SCRIPT.format(case=case, processes=processes, boundary=PERIODIC[case])
    done = run(folder, f"{case}.in", script, processes)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^ +(?:0|40) +(.*\d) *$", done.stdout, re.MULTILINE)
    (_, before, *_), (energy, after, *pressure) = (list(map(float, row.split())) for row in rows)
    assert after == pytest.approx(before, abs=1e-3 * len(structures()[case]))
    xlo, xhi, ylo, yhi, zlo, zhi = map(float, re.search(r"^box (.*)$", done.stdout, re.M)[1].split())
    xy, xz, yz = map(float, re.search(r"^tilt (.*)$", done.stdout, re.M)[1].split())
    found = np.loadtxt(folder / f"{case}.{processes}", skiprows=9)
    cell = [[xhi - xlo, 0, 0], [xy, yhi - ylo, 0], [xz, yz, zhi - zlo]]
    symbols = np.array(ELEMENTS)[found[:, 1].astype(int) - 1]
    pbc = [axis == "p" for axis in PERIODIC[case].split()]
    atoms = Atoms(symbols, found[:, 2:5], cell=cell, pbc=pbc, calculator=CartalgCalculator(make_potential()))
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found[:, 5:8], atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found[:, 8], atoms.get_potential_energies(), atol=1e-9)
    if all(pbc):
        xx, yy, zz, yz, xz, xy = -atoms.get_stress() / BAR
        np.testing.assert_allclose(pressure, [xx, yy, zz, xy, xz, yz], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("pair_style cartalg", "pair_style cartalg: wants `pair_style cartalg FILE`"),
        ("pair_style cartalg nothing", "pair_style cartalg: .*nothing"),
        ("pair_style cartalg library/model.cartalg\npair_coeff * * Cu", "the element of each of the 2 atom types"),
        ("pair_style cartalg library/model.cartalg\npair_coeff * * Cu Xe", "the model does not know Xe"),
        ("newton off\npair_style cartalg library/model.cartalg\npair_coeff * * Cu Au\nrun 0", "needs `newton on`"),
        (
            "pair_style cartalg library/model.cartalg\npair_coeff * * Cu Au\ncompute s all stress/atom NULL\n"
            "compute all all reduce sum c_s[1]\nthermo_style custom step c_all\nrun 0",
            "has no virials of atoms; `python -m cartalg.interfaces.lammps` has them",
        ),
        (
            "create_atoms 1 single 0.01 0.01 0.01 units box\npair_style cartalg library/model.cartalg\n"
            "pair_coeff * * Cu Au\nrun 0",
            r"pair_style cartalg: .* closer than 0\.05|pair_style cartalg: atoms",
        ),
    ],
)
def test_what_is_wrong_is_said(folder, lines, says):
    head, lines = ("newton off\n", lines.removeprefix("newton off\n")) if lines.startswith("newton") else ("", lines)
    box = "region box block 0 8 0 8 0 8\ncreate_box 2 box\nmass * 60\ncreate_atoms 1 single 0 0 0\n"
    text = f"{head}units metal\n{box}plugin load library/cartalgplugin.so\n{lines}\n"
    done = run(folder, "mistake.in", text)
    assert done.returncode != 0, done.stdout
    assert re.search(says, done.stdout + done.stderr), done.stdout + done.stderr
