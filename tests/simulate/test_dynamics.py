import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase
import ase.io
import ase.units
import numpy as np
import pytest
import torch
from ase.io import write
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.simulate.dynamics import LeftCoverage, simulate
from cartalg.simulate.folder import LOG_FILE, STATE_FILE, TRAJECTORY_FILE, Records, State, opened
from cartalg.simulate.options import Simulation
from cartalg.train.checkpoint import CheckpointError, read_tensors
from cartalg.train.records import read_metrics
from simulate.conftest import WIDE, make_run

ENSEMBLES = {
    "nve": {"ensemble": "nve"},
    "langevin": {"thermostat": "langevin"},
    "nose-hoover": {"thermostat": "nose-hoover"},
    "bussi": {"thermostat": "bussi"},
    "npt": {"ensemble": "npt", "pressure": 0.5, "barostat_time": 200.0},
    "npt, full cell": {"ensemble": "npt", "cell": "full", "barostat_time": 200.0},
}


def go(run, structure, output, **options):
    options = {"temperature": 300.0, "steps": 40, "frame_interval": 5, "log_interval": 3, **options}
    return simulate(run, structure, output, Simulation(**options), "auto", Progress(console=Console(quiet=True)))


def records(folder):
    return {name: (folder / name).read_bytes() for name in (TRAJECTORY_FILE, LOG_FILE)}


def state(folder):
    tensors, description = read_tensors(folder / STATE_FILE)
    return {k: v.numpy().tobytes() for k, v in tensors.items()}, description


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_run_in_pieces_is_the_run_in_one(run, structures, tmp_path, ensemble):
    """Other objects, other processes' memory: everything goes through the state, and every bit is the same."""
    file, options = structures / "crystal.xyz", {**ENSEMBLES[ensemble], "temperature": 900.0, "skin": 0.1}
    go(run, file, tmp_path / "whole", **options)
    for steps in (1, 17, 23, 40):
        go(run, file, tmp_path / "pieces", **options, steps=steps)
    assert records(tmp_path / "pieces") == records(tmp_path / "whole")
    assert state(tmp_path / "pieces") == state(tmp_path / "whole")
    rows = read_metrics(tmp_path / "whole" / LOG_FILE)
    assert [row["step"] for row in rows] == list(range(0, 41, 3))
    assert (np.ptp([row["volume_A3"] for row in rows]) > 0) == (options.get("ensemble") == "npt")
    images = ase.io.read(tmp_path / "whole" / TRAJECTORY_FILE, ":")
    assert [image.info["step"] for image in images] == list(range(0, 41, 5))
    assert images[-1].get_momenta().any()
    assert images[-1].get_potential_energy() == pytest.approx(
        ase.io.read(tmp_path / "whole" / "final.xyz").get_potential_energy()
    )
    if "conserved_eV" in rows[0]:
        kept = np.array([row["conserved_eV"] for row in rows])
        assert np.ptp(kept) < 0.02 * rows[0]["kinetic_eV"]


def test_threads_change_nothing(run, structures, tmp_path):
    before = torch.get_num_threads()
    for threads in (1, 2):
        go(run, structures / "crystal.xyz", tmp_path / str(threads), supercell=(2, 3, 3), threads=threads, steps=10)
    torch.set_num_threads(before)
    assert records(tmp_path / "1") == records(tmp_path / "2")


def killed(run, structures, output, kills, steps, generator):
    """Run the command until it ends by itself; before that it is killed so many times, at instants that are drawn."""
    command = [sys.executable, "-m", "cartalg", "md", run, structures / "crystal.xyz", "--output", output]
    command += ["--temperature", "900", "--steps", str(steps), "--frame-interval", "5", "--log-interval", "3"]
    command += ["--state-seconds", "0.02"]
    done = 0
    while True:
        process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        before = (output / STATE_FILE).stat().st_mtime_ns if (output / STATE_FILE).exists() else 0
        if done < kills and generator.random() < 0.9:
            while process.poll() is None and not (output / STATE_FILE).exists():
                time.sleep(0.002)
            while process.poll() is None and (output / STATE_FILE).stat().st_mtime_ns == before:
                time.sleep(0.002)
        if done < kills:
            time.sleep(generator.uniform(0, 0.15))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, said.decode()
            return done
        done += 1


@pytest.mark.parametrize(
    ("kills", "steps"), [(3, 400), pytest.param(40, 6000, marks=pytest.mark.campaign)], ids=["few", "many"]
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(run, structures, tmp_path, kills, steps):
    done = killed(run, structures, tmp_path / "killed", kills, steps, random.Random(steps))
    assert done == kills, "the run was over before it had been killed so many times"
    go(run, structures / "crystal.xyz", tmp_path / "whole", temperature=900.0, steps=steps)
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob(".writing-*"))


def test_options_that_change_no_frame_may_change(run, structures, tmp_path):
    """More steps, another guard; a finished run has nothing left to do. Anything else is another simulation."""
    file, output = structures / "molecule.xyz", tmp_path / "md"
    assert go(run, file, output, steps=10).steps == 10
    again = go(run, file, output, steps=10)
    assert again.ns_per_day != again.ns_per_day
    assert go(run, file, output, steps=20, guard=False, state_seconds=100).steps == 20
    before = records(output)
    for changed, what in [({"temperature": 310.0}, "temperature"), ({"seed": 1, "timestep": 1.0}, "seed, timestep")]:
        with pytest.raises(CheckpointError, match=f"another {what}; choose another --output"):
            go(run, file, output, **changed)
    with pytest.raises(CheckpointError, match="another structure"):
        go(run, structures / "crystal.xyz", output)
    other = make_run(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="another model"):
        go(other, file, output)
    with pytest.raises(CheckpointError, match="not empty and holds no simulation"):
        go(run, file, tmp_path)
    assert records(output) == before
    os.truncate(output / TRAJECTORY_FILE, 100)
    with pytest.raises(CheckpointError, match=r"trajectory\.xyz: has lost \d+ bytes"):
        go(run, file, output, steps=30)


def test_two_processes_do_not_share_a_folder(run, structures, tmp_path):
    with opened(tmp_path / "md", {"a": 1}) as resumed:
        assert not resumed
        with pytest.raises(CheckpointError, match="another process is running"), opened(tmp_path / "md", {"a": 1}):
            pass


@pytest.mark.parametrize(
    ("coverage", "says"),
    [
        ({"force": 1e-3}, r"atom \d \([HO]\) has a force of .* eV/A; the limit is 0.0015"),
        ({"distances": {"H-O": 2.0}}, r"atom \d \(.\) and atom \d \(.\) are 0.9\d* A apart; the limit is 1.800 A"),
        ({"shifts": {"H": -50.0, "O": -500.0}, "energy": [-0.1, 0.1]}, r"the energy is 200.* reach from -0.2 to 0.2"),
    ],
    ids=["force", "distance", "energy"],
)
def test_it_stops_where_training_data_end(structures, tmp_path, coverage, says):
    narrow = make_run(tmp_path / "run", coverage={**WIDE, **coverage})
    with pytest.raises(LeftCoverage, match=says):
        go(narrow, structures / "molecule.xyz", tmp_path / "md")
    outside = ase.io.read(tmp_path / "md" / "outside.xyz")
    assert re.search(says, outside.info["outside"])
    assert go(narrow, structures / "molecule.xyz", tmp_path / "md", guard=False).steps == 40
    assert not (tmp_path / "md" / "outside.xyz").exists()


@pytest.mark.parametrize("seconds", [0, 1000], ids=["the last state", "the first state"])
def test_a_stop_leaves_the_records_up_to_it(run, structures, tmp_path, seconds):
    """And the command says so with a status of its own; without the guard it goes on from there as if never stopped."""
    go(run, structures / "crystal.xyz", tmp_path / "free", temperature=900.0)
    rows = read_metrics(tmp_path / "free" / LOG_FILE)
    forces = [abs(i.get_forces()).max() for i in ase.io.read(tmp_path / "free" / TRAJECTORY_FILE, ":")]
    limit = float(np.sort(forces)[-2]) + 1e-3
    words = ["md", run, structures / "crystal.xyz", "--output", tmp_path / "md", "--temperature", 900, "--steps", 40]
    words += ["--frame-interval", 5, "--log-interval", 3, "--state-seconds", seconds]
    stopped = CliRunner().invoke(app, [*map(str, words), "--max-force", str(limit)])
    assert stopped.exit_code == 3, stopped.output
    assert "leaves what the training data cover" in stopped.stderr
    images = ase.io.read(tmp_path / "md" / TRAJECTORY_FILE, ":")
    (step,) = map(int, re.findall(r"step (\d+) ", stopped.stderr))
    assert [i.info["step"] for i in images] == list(range(0, step, 5))
    assert [r["step"] for r in read_metrics(tmp_path / "md" / LOG_FILE)] == [
        r["step"] for r in rows if r["step"] < step
    ]
    assert np.linalg.norm(ase.io.read(tmp_path / "md" / "outside.xyz").get_forces(), axis=1).max() > limit
    assert CliRunner().invoke(app, [*map(str, words)]).exit_code == 0
    assert records(tmp_path / "md") == records(tmp_path / "free")


def test_a_committee_that_disagrees_stops_it(structures, tmp_path):
    for member in range(2):
        make_run(tmp_path / "run" / f"member-{member}", seed=member, coverage={**WIDE, "typical_force": 0.01})
    with pytest.raises(LeftCoverage, match=r"committee's forces on atom .* deviate by .*; the limit is 0.005"):
        go(tmp_path / "run", structures / "molecule.xyz", tmp_path / "md")
    assert go(tmp_path / "run", structures / "molecule.xyz", tmp_path / "md", max_deviation=100.0).steps == 40
    last = ase.io.read(tmp_path / "md" / TRAJECTORY_FILE)
    assert last.arrays["forces_std"].shape == (3, 3)
    assert last.info["energy_std"] > 0


def test_atoms_on_top_of_each_other_stop_it(tmp_path):
    """With no coverage, and a step that brings two atoms to one place; the frame before is there."""
    atoms = ase.Atoms("Cu2", [[0, 0, 0], [3.0, 0, 0]])
    atoms.set_velocities(np.array([[1.5, 0, 0], [-1.5, 0, 0]]) / ase.units.fs)
    write(tmp_path / "crash.xyz", atoms)
    bare = make_run(tmp_path / "run", coverage=None)
    with pytest.raises(LeftCoverage, match=r"step 1 \(1 fs\) .* atoms 0 and 1 are 0\.\d+ A apart"):
        go(bare, tmp_path / "crash.xyz", tmp_path / "md", ensemble="nve", timestep=1.0)
    assert [i.info["step"] for i in ase.io.read(tmp_path / "md" / TRAJECTORY_FILE, ":")] == [0]
    assert ase.io.read(tmp_path / "md" / "outside.xyz").get_distance(0, 1) < 0.05


def test_a_yaml_file_gives_options_and_the_command_line_overrides_them(run, structures, tmp_path):
    file = tmp_path / "md.yaml"
    file.write_text("ensemble: npt\ntemperature: 300\nsupercell: [1, 2, 2]\nsteps: 5\n")
    words = ["md", str(run), str(structures / "crystal.xyz"), "--config", str(file), "--steps", "6"]
    result = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "md")])
    assert result.exit_code == 0, result.output
    assert "6 steps, 0.003 ps" in result.stdout
    assert len(ase.io.read(tmp_path / "md" / "final.xyz")) == 32
    file.write_text("temprature: 300\n")
    result = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "other")])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"error: {file}: unknown key temprature; did you mean temperature?"]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "nvt needs a temperature"),
        ({"ensemble": "nve"}, "needs a temperature .* to draw velocities"),
        ({"ensemble": "npt", "temperature": 300}, "periodic along all three axes"),
        ({"pressure": 1.0, "temperature": 300}, "a pressure is for ensemble npt"),
        ({"timestep": 0}, "timestep: Input should be greater than 0"),
        ({"frame": 3, "temperature": 300}, "has no frame 3"),
    ],
)
def test_bad_options_are_explained(run, structures, tmp_path, options, says):
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    words = ["md", str(run), str(structures / "molecule.xyz"), "--output", str(tmp_path / "md"), *words]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert re.search(says, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "md").exists()


def test_velocities_of_the_file_are_kept(run, structures, tmp_path):
    go(run, structures / "molecule.xyz", tmp_path / "first", steps=7)
    final = tmp_path / "first" / "final.xyz"
    momenta = ase.io.read(final).get_momenta()
    go(run, final, tmp_path / "kept", ensemble="nve", steps=1)
    go(run, final, tmp_path / "drawn", ensemble="nve", steps=1, new_velocities=True)
    np.testing.assert_allclose(ase.io.read(tmp_path / "kept" / TRAJECTORY_FILE).get_momenta(), momenta, atol=1e-7)
    assert abs(ase.io.read(tmp_path / "drawn" / TRAJECTORY_FILE).get_momenta() - momenta).max() > 0.1


def test_records_are_on_the_disk_before_the_state_that_counts_them(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace

    def synced(handle):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append(f"-> {to.name}"), replace(self, to)))
    records = Records(tmp_path, ["step"], {})
    State({}, {}, {}, records.settled()).write(tmp_path)
    records.close()
    assert done[:2] == [TRAJECTORY_FILE, LOG_FILE]
    assert re.fullmatch(r"\.writing-.*\.safetensors", done[2])
    assert done[3:] == [f"-> {STATE_FILE}", tmp_path.name]
