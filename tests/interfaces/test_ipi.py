"""i-PI itself: beads over a socket and without one, killed and restarted, the same numbers as ASE's calculator."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.socketio import SocketIOCalculator

from architectures import SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.frames import DataError
from cartalg.interfaces import ipi_driver
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.interfaces.ipi import NoServer, serve
from cartalg.interfaces.ipi_driver import CartalgDriver
from cartalg.model import Potential
from cartalg.train.checkpoint import save_model

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE, PAGE = DOCS / "examples" / "ipi_pimd.xml", DOCS / "engines.md"
IPI = Path(sys.executable).parent / "i-pi"


def potential(**settings):
    torch.manual_seed(0)
    config = ModelConfig(**{**SMALL, "zbl": True, **settings})
    return Potential(config, ("H", "C", "O", "Cu"), mean_neighbours=15.0, scale=0.1)


@pytest.fixture(scope="module")
def model():
    return potential()


@pytest.fixture
def folder(model, tmp_path):
    """A model, a crystal, and the example's input with a socket of its own and fewer beads."""
    save_model(tmp_path / "model.safetensors", model)
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.02, seed=0)
    atoms.write(tmp_path / "init.xyz", format="extxyz")
    name = f"cartalg-{abs(hash(tmp_path))}"
    text = EXAMPLE.read_text().replace("<address> cartalg", f"<address> {name}").replace("'8'", "'4'")
    assert text.count(name) == 1
    (tmp_path / "input.xml").write_text(text)
    yield tmp_path, name
    Path(f"/tmp/ipi_{name}").unlink(missing_ok=True)


def start(folder, file, steps):
    """i-PI on an input or checkpoint, for so many steps in all."""
    text = re.sub(r"<total_steps>[^<]*", f"<total_steps> {steps} ", (folder / file).read_text())
    (folder / file).write_text(text)
    with open(folder / "i-pi.log", "a") as log:
        return subprocess.Popen([sys.executable, IPI, file], cwd=folder, stdout=log, stderr=log)


def client(folder, name):
    command = [sys.executable, "-m", "cartalg", "ipi", "model.safetensors", "init.xyz", "--unix", name]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder, *processes):
    found = [p.communicate(timeout=300) for p in processes]
    failed = [p.args for p in processes if p.returncode]
    assert not failed, (failed, found, *(log.read_text()[-2000:] for log in folder.glob("*.log")))
    return found[-1][0]


def table(folder):
    return np.loadtxt(folder / "pimd.out")


def test_path_integrals_over_a_socket_killed_and_restarted(folder, model):
    folder, name = folder
    server = start(folder, "input.xml", 100000)
    driver = client(folder, name)
    until = time.monotonic() + 300
    while len(list(folder.glob("pimd.chk_*"))) < 3:
        assert time.monotonic() < until, (folder / "i-pi.log").read_text()
        assert server.poll() is None, (folder / "i-pi.log").read_text()
        time.sleep(0.02)
    server.kill()
    server.wait()
    assert "evaluations" in finish(folder, driver)  # the client ends with i-PI
    killed = table(folder)
    Path(f"/tmp/ipi_{name}").unlink()
    resume = [line.strip() for line in PAGE.read_text().splitlines() if "last" in line and line.startswith("    ")]
    newest, trim = resume[0], resume[1]
    assert "grep" in newest
    assert "i-pi-trimsim" in trim
    script = f"{newest}; {trim.replace('i-pi-trimsim', f'{sys.executable} {IPI}-trimsim')}; echo $last"
    shown = subprocess.run(["bash", "-ec", script], cwd=folder, check=True, capture_output=True, text=True)
    last = shown.stdout.split()[-1]
    reached = int(re.search(r"<step>\s*(\d+)", (folder / last).read_text())[1])
    finish(folder, start(folder, last, reached + 11), client(folder, name))
    found = table(folder)
    np.testing.assert_array_equal(found[:, 0], np.arange(reached + 12))
    again = min(len(found), len(killed))
    assert again > reached
    np.testing.assert_allclose(found[:again, 5], killed[:again, 5], atol=1e-7)  # goes on as it would have
    assert np.abs(np.diff(found[:, 2])).max() < 0.02 * np.ptp(found[:, 5])
    beads = [ase.io.read(folder / f"pimd.pos_{bead}.extxyz", ":") for bead in range(4)]
    assert {len(b) for b in beads} == {(reached + 13) // 2}
    calculator = CartalgCalculator(model)
    energies = [[calculator.get_potential_energy(atoms) for atoms in bead] for bead in beads]
    np.testing.assert_allclose(np.mean(energies, axis=0), found[::2, 5], atol=1e-6)


def test_without_a_socket_i_pi_finds_the_same(folder):
    folder, name = folder
    finish(folder, start(folder, "input.xml", 6), client(folder, name))
    over_socket = table(folder)
    shown = subprocess.run([sys.executable, "-m", "cartalg.interfaces.ipi_driver"], capture_output=True, text=True)
    path = shown.stdout.strip()
    assert path == ipi_driver.__file__
    parameters = "{template: init.xyz, model: model.safetensors}"
    direct = (
        f"<ffdirect name='cartalg'><pes> custom </pes><pes_path> {path} </pes_path>"
        f"<parameters> {parameters} </parameters></ffdirect>"
    )
    text = re.sub(r"<ffsocket.*</ffsocket>", direct, (folder / "input.xml").read_text(), flags=re.S)
    (folder / "direct.xml").write_text(text.replace("prefix='pimd'", "prefix='direct'"))
    finish(folder, start(folder, "direct.xml", 6))
    # ASE has units of 2014
    np.testing.assert_allclose(np.loadtxt(folder / "direct.out"), over_socket, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize("periodic", [False, True])
def test_the_driver_gives_what_ases_calculator_does(periodic, tmp_path):
    from ipi.utils.units import unit_to_user

    model = potential(properties=[{"name": "dipole", "tensor": "i"}])
    save_model(tmp_path / "model.safetensors", model)
    atoms = bulk("Cu") * (3, 2, 2) if periodic else molecule("CH3COOH")
    atoms.rattle(0.05, seed=0)
    atoms.write(tmp_path / "init.xyz", format="extxyz")
    driver = CartalgDriver(str(tmp_path / "init.xyz"), str(tmp_path / "model.safetensors"), verbosity=1)
    bohr = unit_to_user("length", "angstrom", 1.0)
    energy, forces, virial, extras = driver(atoms.cell.array.T / bohr, atoms.positions / bohr)
    atoms.calc = CartalgCalculator(model)
    assert unit_to_user("energy", "electronvolt", energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(unit_to_user("force", "ev/ang", forces), atoms.get_forces(), atol=1e-8)
    expected = -atoms.get_stress(voigt=False) * atoms.get_volume() if periodic else np.zeros((3, 3))
    np.testing.assert_allclose(unit_to_user("energy", "electronvolt", virial), expected, atol=1e-7)
    np.testing.assert_allclose(json.loads(extras)["dipole"], atoms.get_dipole_moment(), atol=1e-8)


def test_ases_own_server_gets_energies_stresses_and_extras(model):
    """The other end of the protocol, as ASE speaks it: here extras can be looked at."""
    heads = potential(properties=[{"name": "dipole", "tensor": "i"}])
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=0)
    name = f"cartalg-extras-{abs(hash(time.monotonic()))}"
    counts = []
    thread = threading.Thread(target=lambda: counts.append(serve([heads, heads], atoms, unix=name, wait=10)))
    thread.start()
    with SocketIOCalculator(unixsocket=name) as server:
        atoms.calc = server
        energy, stress = atoms.get_potential_energy(), atoms.get_stress()
        protocol = server.server.protocol
        protocol.sendposdata(atoms.cell.array, np.linalg.inv(atoms.cell.array).T, atoms.positions + 0.1)
        *_, more = protocol.sendrecv_force()
    thread.join()
    assert counts == [2]
    atoms.calc = CartalgCalculator(heads)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(stress, atoms.get_stress(), atol=1e-9)
    extras = json.loads(more.tobytes())
    assert set(extras) >= {"dipole", "energy_std", "forces_std"}
    np.testing.assert_allclose(extras["dipole"], atoms.get_dipole_moment(), atol=1e-8)


def test_errors_are_one_line(folder, model):
    folder, _ = folder
    command = [sys.executable, "-m", "cartalg", "ipi", "model.safetensors", "init.xyz", "--port", "1", "--wait", "0"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert shown.returncode != 0
    assert "no i-PI listens at localhost:1" in " ".join(shown.stderr.split())
    with pytest.raises(NoServer, match="/tmp/ipi_nobody"):
        serve(model, Atoms("Cu"), unix="nobody", wait=0)
    with pytest.raises(DataError, match="holds Ni"):
        serve(model, Atoms("Ni"), unix="nobody", wait=0)
    (folder / "other.xyz").write_text("1\n\nNi 0 0 0\n")
    with pytest.raises(DataError, match=r"other.xyz: the model knows"):
        CartalgDriver(str(folder / "other.xyz"), str(folder / "model.safetensors"))
    with socket.create_server(("localhost", 0)) as server:
        told = []

        def compute():
            try:
                serve(model, Atoms("Cu"), port=server.getsockname()[1], wait=5)
            except ValueError as error:
                told.append(str(error))

        thread = threading.Thread(target=compute)
        thread.start()
        connection, _ = server.accept()
        with connection:
            numbers = np.concatenate([np.eye(3).ravel(), np.eye(3).ravel()])
            connection.sendall(b"POSDATA".ljust(12) + numbers.tobytes() + np.int32(2).tobytes() + np.zeros(6).tobytes())
            thread.join(10)
        assert told == ["i-PI simulates 2 atoms, but the structure has 1"]
