"""Bad input, damaged files and models that cannot be exported: a code, and a line that says what is wrong."""

import ctypes
import hashlib
import struct

import numpy as np
import pytest
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.export.artefact import HEADER, PARTS
from cartalg.export.build import LIBRARY, export
from cartalg.export.operators import NotExported
from cartalg.train.checkpoint import save_model
from cartalg_codegen.backends.numba.targets import LEVELS, level
from export.systems import potential

NULL, FILE, FORMAT, DAMAGED, PROCESSOR, _, SIZE, TYPE, POSITION, NEIGHBOUR, OVERLAP = range(1, 12)
PAIR = {
    "positions": [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [3.0, 0.0, 0.0]],
    "types": [0, 1, 0],
    "first": [0, 1, 3],
    "neighbours": [1, 0, 2],
    "owners": [0],
}


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"positions": [[0, 0, 0], [np.nan, 0, 0], [3, 0, 0]]}, POSITION, "atom 1: its position is not finite"),
        ({"positions": [[0, 0, 0], [0, 0, 0.01], [3, 0, 0]]}, OVERLAP, "atoms 0 and 1 are 0.0100 angstrom apart"),
        ({"types": [0, 4, 0]}, TYPE, "atom 1: type 4; the model knows types 0 to 3"),
        ({"types": [-1, 1, -1]}, TYPE, "atom 0: type -1"),
        ({"types": [0, 1, 1]}, TYPE, "ghost 0: type 1, but its owner 0 has type 0"),
        ({"owners": [2]}, NEIGHBOUR, "ghost 0: its owner 2 is none of the 2 atoms"),
        ({"neighbours": [1, 0, 3]}, NEIGHBOUR, "atom 1 has the neighbour 3; there are 3 atoms and ghosts"),
        ({"neighbours": [1, 1, 2]}, NEIGHBOUR, "none is its own neighbour"),
        ({"first": [0, 2, 1]}, SIZE, "the neighbours of atom 1 end before they begin"),
        ({"first": [1, 1, 3]}, SIZE, "first[0] is 1 and must be 0"),
    ],
)
def test_bad_input_is_refused_and_the_model_lives_on(exported, wrapper, change, code, says):
    twin = exported().twin
    before = twin.compute(**PAIR)
    with pytest.raises(wrapper.CartalgError, match=r".") as error:
        twin.compute(**{**PAIR, **change})
    assert error.value.code == code
    assert says in str(error.value)
    assert np.array_equal(twin.compute(**PAIR)["forces"], before["forces"])


def test_arrays_that_do_not_fit_together_are_refused(exported):
    twin = exported().twin
    with pytest.raises(ValueError, match=r"positions \(3, 3\), types \(2,\) and first \(3,\) do not fit"):
        twin.compute(**{**PAIR, "types": [0, 1]})
    with pytest.raises(ValueError, match="1 positions beyond those of the atoms, and 0 owners"):
        twin.compute(**{**PAIR, "owners": []})
    with pytest.raises(ValueError, match="first names 4 neighbours, and there are 3"):
        twin.compute(**{**PAIR, "first": [0, 1, 4]})


def test_null_is_refused(library):
    loaded, model = ctypes.CDLL(str(library / LIBRARY)), ctypes.c_void_p()
    message = ctypes.create_string_buffer(64)
    assert loaded.cartalg_create(None, ctypes.byref(model), message, 64) == NULL
    assert message.value == b"file or model is NULL"
    assert loaded.cartalg_create(str(library / "model.cartalg").encode(), ctypes.byref(model), None, 0) == 0
    none = [None] * 9
    assert loaded.cartalg_compute(None, ctypes.c_int64(0), ctypes.c_int64(0), *none) == NULL
    assert loaded.cartalg_compute(model, ctypes.c_int64(1), ctypes.c_int64(0), *none) == NULL
    assert loaded.cartalg_compute(model, ctypes.c_int64(-1), ctypes.c_int64(0), *none) == SIZE
    loaded.cartalg_message.restype = ctypes.c_char_p
    assert loaded.cartalg_message(model) == b"-1 atoms and 0 ghosts"
    loaded.cartalg_free(model)
    loaded.cartalg_free(None)


def hashed(content):
    """With the hash and size that a content should have."""
    head = bytearray(content[:HEADER])
    head[16:24], head[24:56] = struct.pack("<q", len(content)), hashlib.sha256(content[HEADER:]).digest()
    return bytes(head) + content[HEADER:]


def part(content, name):
    """Where a part of the file begins."""
    return struct.unpack_from("<q", content, HEADER + 16 * PARTS.index(name))[0]


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


CHANGES = {
    "a weight": (lambda c: flipped(c, part(c, "constants") + 1000), DAMAGED, "cut or changed since it was written"),
    "the code": (lambda c: flipped(c, part(c, "code") + 1000), DAMAGED, "cut or changed"),
    "the hash": (lambda c: flipped(c, 30), DAMAGED, "cut or changed"),
    "the last byte": (lambda c: flipped(c, len(c) - 1), DAMAGED, "cut or changed"),
    "cut": (lambda c: c[:-1], DAMAGED, "cut or changed"),
    "longer": (lambda c: c + b"\0", DAMAGED, "cut or changed"),
    "cut to a header": (lambda c: c[:80], FORMAT, "no exported model"),
    "empty": (lambda _: b"", FORMAT, "no exported model"),
    "another file": (lambda c: b"\x7fELF" + c[4:], FORMAT, "no exported model; make one with `cartalg export`"),
    "another format": (lambda c: c[:8] + b"\x63" + c[9:], FORMAT, "format 99, this library reads 1"),
    "another processor": (
        lambda c: hashed(c[: part(c, "levels")] + b"\x09" + c[part(c, "levels") + 1 :]),
        PROCESSOR,
        "code for x86-64-v9, and this processor has not that",
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_was_changed_is_refused(exported, library, wrapper, tmp_path, how):
    change, code, says = CHANGES[how]
    content = exported().file.read_bytes()
    assert hashed(content) == content
    (tmp_path / "model").write_bytes(change(content))
    with pytest.raises(wrapper.CartalgError, match=r".") as error:
        wrapper.Model(tmp_path / "model", library / LIBRARY)
    assert error.value.code == code
    assert says in str(error.value)


def test_a_file_for_two_levels_runs_on_the_lower_one(library, wrapper, tmp_path):
    """The level of this processor is taken where the file has it; changed to one that no processor has, the other."""
    small = {"layers": 1, "hidden_rank": 0, "edge_rank": 1, "correlation": 1, "channels": 4}
    export(potential(**small), tmp_path, tuple(LEVELS) if level() == next(iter(LEVELS)) else (level(),), library=False)
    content = (tmp_path / "model.cartalg").read_bytes()
    best = wrapper.Model(tmp_path / "model.cartalg", library / LIBRARY)
    assert best.about["levels"][0] == level()
    if len(best.about["levels"]) > 1:
        place = part(content, "levels")
        (tmp_path / "changed").write_bytes(hashed(content[:place] + b"\x09" + content[place + 1 :]))
        lower = wrapper.Model(tmp_path / "changed", library / LIBRARY)
        found, expected = lower.compute(**PAIR), best.compute(**PAIR)
        np.testing.assert_allclose(found["forces"], expected["forces"], rtol=1e-12, atol=1e-12)
        assert np.abs(expected["forces"]).max() > 0


def test_a_file_that_is_not_there_is_named(library, wrapper, tmp_path):
    with pytest.raises(wrapper.CartalgError, match="nowhere: No such file or directory") as error:
        wrapper.Model(tmp_path / "nowhere", library / LIBRARY)
    assert error.value.code == FILE
    with pytest.raises(wrapper.CartalgError, match="it is no file"):
        wrapper.Model(tmp_path, library / LIBRARY)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"radial_mode": "direct"}, "radial_mode: direct has no kernel"),
        ({"properties": [{"name": "x" * 32, "tensor": "i"}]}, "longer than 31 letters"),
    ],
)
def test_a_model_that_cannot_be_exported_is_refused_in_one_line(tmp_path, settings, says):
    with pytest.raises(NotExported, match=says):
        export(potential(**settings), tmp_path)
    assert not any(tmp_path.iterdir())


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_the_command_writes_the_folder(tmp_path, wrapper, library):
    save_model(tmp_path / "run" / "model.safetensors", potential())
    done = run(tmp_path / "run", "--output", tmp_path / "out", "--sources")
    assert done.exit_code == 0, done.stderr
    assert "elements by type: H, C, O, Cu" in " ".join(done.stdout.split())
    assert not (tmp_path / "out" / LIBRARY).exists()
    assert (tmp_path / "out" / "source" / "cartalg.c").is_file()
    twin = wrapper.Model(tmp_path / "out" / "model.cartalg", library / LIBRARY)
    assert (twin.elements, twin.cutoff) == (("H", "C", "O", "Cu"), 3.5)


def test_the_command_says_what_is_missing(tmp_path, monkeypatch):
    save_model(tmp_path / "run" / "member-0" / "model.safetensors", potential())
    assert "is a committee: export its members" in run(tmp_path / "run", "--output", tmp_path / "out").stderr
    member = tmp_path / "run" / "member-0"
    assert "there are x86-64-v4, x86-64-v3" in run(member, "--output", tmp_path / "out", "--level", "x86-64-v2").stderr
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "none")
    done = run(member, "--output", tmp_path / "out")
    assert done.exit_code != 0
    assert "no C compiler: install gcc or clang" in done.stderr
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    (tmp_path / "cc").write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    assert "cc did not compile the library: no such thing" in " ".join(
        run(member, "--output", tmp_path / "out").stderr.split()
    )
    assert not (tmp_path / "out" / LIBRARY).exists()
