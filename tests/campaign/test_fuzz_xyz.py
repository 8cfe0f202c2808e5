"""Extended XYZ of every kind: a correct result or one line, from both readers the same."""

import gzip

import numpy as np
import pytest
from hypothesis import strategies as st
from outcomes import command, fuzz, numbers, refused, tiny_run
from xyz_files import Malformed, frames, number, spoilt, strict

from cartalg.data.frames import DataError, read_frames
from cartalg.data.indexed import IndexedFile
from cartalg.train import run as runs

COUNTS = [pytest.param(40, id="short"), pytest.param(5000, id="long", marks=pytest.mark.campaign)]


def taken(path, reader):
    """Frames that a reader gives, or None if it refuses, naming the file."""
    try:
        return list(reader(path))
    except DataError as error:
        said = str(error)
    assert str(path) in said
    return None


def as_meant(read, meant):
    """Whether a frame holds what the strict reader finds: nothing dropped, nothing invented."""
    symbols, positions, columns, info = meant
    np.testing.assert_array_equal(read.atoms.get_chemical_symbols(), symbols)
    np.testing.assert_allclose(read.atoms.positions, positions, rtol=1e-15)
    energies = [info[key] for key in ("REF_energy", "energy") if key in info]
    if energies:
        assert read.energy == number(energies[0])
    for key in ("REF_forces", "forces"):
        if key in columns:
            np.testing.assert_array_equal(read.labels["forces"], columns[key])
            break


@pytest.mark.parametrize("count", COUNTS)
def test_files_of_frames(tmp_path, monkeypatch, count):
    run, path = tiny_run(tmp_path), tmp_path / "frames.xyz"
    monkeypatch.setattr(runs, "parity", lambda comparison, file: None)  # pictures have tests of their own

    def check(draw):
        text = "".join(frame.text() for frame in draw(st.lists(frames(), min_size=1, max_size=3)))
        text = draw(spoilt(text))
        path.write_text(text, newline="")
        read, indexed = taken(path, read_frames), taken(path, IndexedFile)
        assert (read is None) == (indexed is None)
        outcome = command("evaluate", run, path, "--json")
        if read is None:
            refused(outcome, path)
            return "not read"
        for a, b in zip(read, indexed, strict=True):
            assert a.atoms == b.atoms
            assert a.labels.keys() == b.labels.keys()
            assert all(np.array_equal(a.labels[k], b.labels[k]) for k in a.labels)
        try:
            meant = strict(text)
        except Malformed as error:
            raise AssertionError(f"taken, but {error}") from error
        for frame, one in zip(read, meant, strict=True):
            as_meant(frame, one)
        if outcome.status:
            refused(outcome, path)
            return "refused"
        assert numbers(outcome)["frames"] == len([f for f in read if not f.isolated])
        return "right"

    found = set(fuzz(count, check))
    assert {"right", "not read"} <= found <= {"right", "refused", "not read"}


def test_bytes_that_are_no_text(tmp_path):
    run, path = tiny_run(tmp_path), tmp_path / "frames.xyz"
    for content in (b"\xff\xfe\x00", b"3\n\xe9\nH 0 0 0\n", gzip.compress(b"1\n\nH 0 0 0\n"), b"\x00" * 100):
        path.write_bytes(content)
        refused(command("evaluate", run, path, "--json"), path)
    for name in ("frames.xyz.gz", "frames.xyz.bz2", "frames.json", "frames.cif", "POSCAR", "frames.traj", "frames.db"):
        path = tmp_path / name
        path.write_bytes(b"1\n\nH 0 0 0\n")
        refused(command("evaluate", run, path, "--json"), path)
    refused(command("evaluate", run, tmp_path, "--json"), tmp_path)
    refused(command("evaluate", run, tmp_path / "none.xyz", "--json"), "none.xyz")
