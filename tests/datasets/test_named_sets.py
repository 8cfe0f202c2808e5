"""Named data sets: checked, converted to eV and angstrom, whole or not there at all."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.data.frames import read_frames
from cartalg.datasets import registry
from cartalg.datasets.convert import mtp_frames
from cartalg.datasets.registry import SETS, Source

KCAL = units.kcal / units.mol


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def ethanol(n):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, rng=np.random.default_rng(n))
    atoms.calc = EMT()
    return atoms


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A folder of official files: as published, but small, labelled with EMT."""
    folder = tmp_path_factory.mktemp("official")
    frames = [ethanol(n) for n in range(6)]
    with tarfile.open(folder / "rmd17.tar.bz2", "w:bz2") as archive:

        def add(name, content):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        stream = io.BytesIO()
        np.savez(
            stream,
            nuclear_charges=frames[0].numbers,
            coords=np.stack([a.positions for a in frames]),
            energies=np.array([a.get_potential_energy() / KCAL for a in frames]),
            forces=np.stack([a.get_forces() / KCAL for a in frames]),
        )
        add("rmd17/npz_data/rmd17_ethanol.npz", stream.getvalue())
        add("rmd17/splits/index_train_02.csv", b"5\n0\n2\n")
        add("rmd17/splits/index_test_02.csv", b"1\n4\n")
    with zipfile.ZipFile(folder / "md22_AT-AT.zip", "w") as archive:
        text = ""
        for atoms in frames:
            rows = zip(atoms.symbols, atoms.positions, atoms.get_forces() / KCAL, strict=True)
            lines = [" ".join([s, *map(str, (*p, *f))]) for s, p, f in rows]
            head = f"Energy={atoms.get_potential_energy() / KCAL} Properties=species:S:1:pos:R:3:forces:R:3"
            text += "\n".join([str(len(atoms)), head, *lines]) + "\n"
        archive.writestr("md22_AT-AT.xyz", text)
    write(folder / "train_300K.xyz", [molecule("CH4"), molecule("H2O")], format="extxyz")
    return folder


@pytest.fixture
def server(official, tmp_path, monkeypatch):
    """Its address; the folder can be changed under it. The registry's sets point there."""
    served = tmp_path / "served"
    served.mkdir()
    for path in official.iterdir():
        (served / path.name).write_bytes(path.read_bytes())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served))
    Thread(target=web.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{web.server_port}"

    def source(name, member="", checked=True):
        digest = hashlib.sha256((official / name).read_bytes()).hexdigest()
        return Source(f"{address}/{name}", name, digest if checked else "", member)

    small = {
        "rmd17": replace(
            SETS["rmd17"], sources=(source("rmd17.tar.bz2"),), frames={"ethanol_train.xyz": 3, "ethanol_test.xyz": 2}
        ),
        "md22": replace(
            SETS["md22"],
            sources=(source("md22_AT-AT.zip", "AT-AT", checked=False),),
            frames={"AT-AT.xyz": 6, "AT-AT-CG-CG.xyz": 1},
        ),
        "3bpa": replace(SETS["3bpa"], sources=(source("train_300K.xyz"),), frames={"train_300K.xyz": 2}, ready={}),
    }
    for name, about in small.items():
        monkeypatch.setitem(registry.SETS, name, about)
    yield served
    web.shutdown()
    web.server_close()


def said(result):
    return " ".join(result.stderr.split())


def test_every_set_says_what_it_is(run):
    result = run("data", "list")
    assert result.exit_code == 0
    for name, about in SETS.items():
        assert name in result.stdout
        assert about.title
        assert about.sources
        assert about.paper
        assert about.licence
        assert about.split
        assert all(s.url.startswith("http") and set(s.sha256) <= set("0123456789abcdef") for s in about.sources)
        assert {about.member_of(f) for f in about.frames} <= {"", *about.members}


def test_rmd17_in_electronvolts_by_its_split(run, server, tmp_path):
    target = tmp_path / "rmd17"
    result = run("data", "get", "rmd17", "--only", "ethanol", "--split", 2, "--to", target)
    assert result.exit_code == 0, result.output
    frames = read_frames(target / "ethanol_train.xyz")
    assert len(frames) == 3
    for frame, number in zip(frames, (5, 0, 2), strict=True):
        expected = ethanol(number)
        assert frame.energy == pytest.approx(expected.get_potential_energy())
        np.testing.assert_allclose(frame.labels["forces"], expected.get_forces(), atol=1e-7)
        np.testing.assert_allclose(frame.atoms.positions, expected.positions, atol=1e-7)
    origin = json.loads((target / "SOURCE.json").read_text())
    assert origin["licence"] == "CC0"
    assert origin["files"]["rmd17.tar.bz2"]["checked"]


def test_a_set_without_a_checksum_must_be_asked_for(run, server, tmp_path):
    target = tmp_path / "md22"
    result = run("data", "get", "md22", "--only", "AT-AT", "--to", target)
    assert result.exit_code == 2
    assert "--unchecked" in said(result)
    assert not target.exists()
    result = run("data", "get", "md22", "--only", "AT-AT", "--to", target, "--unchecked")
    assert result.exit_code == 0, result.output
    frames = read_frames(target / "AT-AT.xyz")
    assert [f.energy for f in frames] == pytest.approx([ethanol(n).get_potential_energy() for n in range(6)])
    assert not json.loads((target / "SOURCE.json").read_text())["files"]["md22_AT-AT.zip"]["checked"]


@pytest.mark.parametrize("harm", ["tampered", "cut short", "missing", "incomplete"])
def test_what_is_not_whole_leaves_nothing_behind(run, server, tmp_path, harm, monkeypatch):
    path, home = server / "train_300K.xyz", tmp_path / "home"
    if harm == "tampered":
        path.write_text(path.read_text().replace("C", "N", 1))
    elif harm == "cut short":
        path.write_bytes(path.read_bytes()[:-20])
    elif harm == "missing":
        path.unlink()
    else:
        monkeypatch.setitem(registry.SETS, "3bpa", replace(SETS["3bpa"], frames={"train_300K.xyz": 3}))
    result = run("data", "get", "3bpa", "--to", home / "3bpa")
    assert result.exit_code == 2
    wanted = {"missing": "could not be had", "incomplete": "has 2 frames, should have 3"}.get(
        harm, "damaged or changed"
    )
    assert wanted in said(result)
    assert list(home.iterdir()) == []


def test_from_a_folder(run, official, server, tmp_path):
    """Official files are converted, final ones are copied; changed ones are refused."""
    result = run("data", "get", "rmd17", "--only", "ethanol", "--split", 2, "--from", official, "--to", tmp_path / "a")
    assert result.exit_code == 0, result.output
    result = run("data", "get", "3bpa", "--from", official, "--to", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "b" / "train_300K.xyz").read_bytes() == (official / "train_300K.xyz").read_bytes()
    result = run("data", "get", "3bpa", "--from", official, "--to", tmp_path / "b")
    assert result.exit_code == 2
    assert "is there already" in said(result)
    (server / "train_300K.xyz").write_text("changed")
    result = run("data", "get", "3bpa", "--from", server, "--to", tmp_path / "c")
    assert result.exit_code == 2
    assert "damaged or changed" in said(result)
    assert not (tmp_path / "c").exists()


def test_final_files_are_checked_as_well(run, tmp_path, monkeypatch):
    folder = tmp_path / "have"
    folder.mkdir()
    for part in ("train", "test"):
        write(folder / f"{part}.xyz", [molecule("H2O")], format="extxyz")
    ready = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    about = replace(SETS["monbtaw"], ready=ready, frames=dict.fromkeys(ready, 1))
    monkeypatch.setitem(registry.SETS, "monbtaw", about)
    assert run("data", "get", "monbtaw", "--from", folder, "--to", tmp_path / "a").exit_code == 0
    (folder / "test.xyz").write_text((folder / "test.xyz").read_text().replace("O", "S"))
    result = run("data", "get", "monbtaw", "--from", folder, "--to", tmp_path / "b")
    assert "damaged or changed" in said(result)
    (folder / "test.xyz").unlink()
    result = run("data", "get", "monbtaw", "--from", folder, "--to", tmp_path / "b")
    assert "lacks test.xyz" in said(result)
    assert not (tmp_path / "b").exists()


def test_wrong_names_are_answered_with_the_right_ones(run, tmp_path):
    assert "there are 3bpa, acetylacetone" in said(run("data", "get", "4bpa", "--to", tmp_path / "a"))
    result = run("data", "get", "rmd17", "--only", "methanol", "--to", tmp_path / "a")
    assert "its parts are aspirin" in said(result)


def test_vasp_stress_becomes_ases(tmp_path, run, monkeypatch):
    """Kilobar, compression positive, xx yy zz xy yz zx -> eV/A^3, tension positive, a matrix."""
    entry = {
        "group": "Mo",
        "structure": {
            "lattice": {"matrix": [[3.0, 0, 0], [0, 3.1, 0], [0, 0, 3.2]]},
            "sites": [{"species": [{"element": "Mo"}], "xyz": [0.1, 0.2, 0.3]}],
        },
        "outputs": {"energy": -10.5, "forces": [[0.1, 0.2, 0.3]], "stress": [10, 20, 30, 4, 5, 6]},
    }
    with zipfile.ZipFile(tmp_path / "snap.zip", "w") as archive:
        archive.writestr("snap-1/NbMoTaW/training/Mo_AIMD.json", json.dumps([entry, entry]))
        archive.writestr("snap-1/NbMoTaW/training/Mo_Test.json", json.dumps([entry]))
    monkeypatch.setitem(registry.SETS, "monbtaw", replace(SETS["monbtaw"], frames={"train.xyz": 2, "test.xyz": 1}))
    result = run("data", "get", "monbtaw", "--from", tmp_path, "--unchecked", "--to", tmp_path / "out")
    assert result.exit_code == 0, result.output
    (frame,) = read_frames(tmp_path / "out" / "test.xyz")
    kbar = units.GPa / 10
    np.testing.assert_allclose(
        frame.labels["stress"], [-kbar * np.array([[10, 4, 6], [4, 20, 5], [6, 5, 30]])], rtol=1e-6
    )
    assert frame.energy == -10.5
    assert read(tmp_path / "out" / "train.xyz", 0).info["group"] == "Mo"


def test_mlearn_keeps_its_groups_and_gains_a_stress(tmp_path, run, monkeypatch):
    """Official files: energies of whole cells, a stress that is called virial_stress; final files as they are."""
    entry = {
        "group": "Elastic",
        "structure": {
            "lattice": {"matrix": [[3.4, 0, 0], [0, 3.4, 0], [0, 0, 3.4]]},
            "sites": [{"species": [{"element": "Li"}], "xyz": [x, x, x]} for x in (0.0, 1.7)],
        },
        "outputs": {"energy": -3.8, "forces": [[0.1, 0.2, 0.3], [0, 0, 0]], "virial_stress": [9, 8, 7, 3, 2, 1]},
    }
    (tmp_path / "Li_training.json").write_text(json.dumps([entry, {**entry, "group": "Vacancy"}]))
    (tmp_path / "Li_test.json").write_text(json.dumps([entry]))
    frames = {"Li_training.xyz": 2, "Li_test.xyz": 1}
    monkeypatch.setitem(registry.SETS, "mlearn", replace(SETS["mlearn"], frames=frames))
    chosen = ("data", "get", "mlearn", "--only", "Li", "--from", tmp_path)
    assert "--unchecked" in said(run(*chosen, "--to", tmp_path / "out"))
    result = run(*chosen, "--to", tmp_path / "out", "--unchecked")
    assert result.exit_code == 0, result.output
    read_back = read_frames(tmp_path / "out" / "Li_training.xyz")
    assert [f.info["group"] for f in read_back] == ["Elastic", "Vacancy"]
    assert [f.energy for f in read_back] == [-3.8, -3.8]
    kbar = units.GPa / 10
    np.testing.assert_allclose(
        read_back[0].labels["stress"], [-kbar * np.array([[9, 3, 1], [3, 8, 2], [1, 2, 7]])], rtol=1e-6
    )
    (tmp_path / "Li_test.json").write_text("[{}]")
    assert "not a file of mlearn" in said(run(*chosen, "--to", tmp_path / "other", "--unchecked"))


CFG = """BEGIN_CFG
 Size
    2
 Supercell
    3.0 0 0
    0 3.0 0
    0 0 4.0
 AtomData:  id type cartes_x cartes_y cartes_z fx fy fz
    1 0 0 0 0 0.1 0.2 0.3
    2 3 1.5 1.5 2.0 -0.1 -0.2 -0.3
 Energy
    -22.5
 PlusStress:  xx yy zz yz xz xy
    3.6 7.2 0 0 0 1.8
 Feature EFS_by VASP
END_CFG
"""


def test_mtp_files():
    frames = list(mtp_frames(io.StringIO(CFG + "\n" + CFG), ("Ta", "V", "Cr", "W"), "x.cfg"))
    assert len(frames) == 2
    assert str(frames[0].symbols) == "TaW"
    np.testing.assert_allclose(frames[0].info["stress"], [[-0.1, -0.05, 0], [-0.05, -0.2, 0], [0, 0, 0]])
    np.testing.assert_allclose(frames[1].arrays["forces"][1], [-0.1, -0.2, -0.3])
    with pytest.raises(ValueError, match="frame 1: cut short"):
        list(mtp_frames(io.StringIO(CFG + CFG.removesuffix("END_CFG\n")), ("Ta", "V", "Cr", "W"), "x.cfg"))
