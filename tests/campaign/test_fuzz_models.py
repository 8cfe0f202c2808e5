"""Model files of every kind: the model as it was written, or refused in one line that names the file."""

import json
import struct

import pytest
import torch
from hypothesis import strategies as st
from outcomes import command, fuzz, numbers, refused, tiny_run, write_frames

from cartalg.train import run as runs
from cartalg.train.checkpoint import load_model, read_tensors

COUNTS = [pytest.param(80, id="short"), pytest.param(1000, id="long", marks=pytest.mark.campaign)]
odd = st.sampled_from([None, -1, 0, 1, 2, 3, float("nan"), "", "x", [], {}, ["H"], ["H", "H"], True, "/etc"])


def paths(tree, place=()):
    """Every place of a tree of JSON."""
    if isinstance(tree, dict):
        yield from ((*place, k) for k in tree)
        for k, v in tree.items():
            yield from paths(v, (*place, k))


@st.composite
def damaged(draw, content):
    """The file with bytes changed, a stretch gone or twice, or something else in its header."""
    kind = draw(st.sampled_from(["byte", "byte", "header byte", "cut", "gone", "twice", "json", "json", "nothing"]))
    size = struct.unpack("<Q", content[:8])[0]
    if kind in ("byte", "header byte"):
        at = draw(st.integers(0, len(content) - 1 if kind == "byte" else size + 7))
        return content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
    if kind == "cut":
        return content[: draw(st.integers(0, len(content) - 1))]
    if kind in ("gone", "twice"):
        at, width = draw(st.integers(0, len(content) - 1)), draw(st.integers(1, 64))
        return content[:at] + (content[at : at + width] * 2 if kind == "twice" else b"") + content[at + width :]
    if kind == "json":
        head = json.loads(content[8 : 8 + size])
        about = json.loads(head["__metadata__"]["cartalg"])
        place = draw(st.sampled_from([*paths(about)]))
        inside = about
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = draw(odd)
        head["__metadata__"]["cartalg"] = json.dumps(about)
        if draw(st.booleans()):  # as someone would who made it by hand
            del head["__metadata__"]["sha256"]
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + content[8 + size :]
    return content


@pytest.mark.parametrize("count", COUNTS)
def test_model_files(tmp_path, monkeypatch, count):
    run, path = tiny_run(tmp_path), tmp_path / "model.safetensors"
    whole, before, file = path.read_bytes(), load_model(path), write_frames(tmp_path / "test.xyz", 2)
    monkeypatch.setattr(runs, "parity", lambda comparison, picture: None)
    right, (_, read) = command("evaluate", run, file, "--json").out, read_tensors(path)

    def check(draw):
        content = draw(damaged(whole))
        path.write_bytes(content)
        outcome = command("evaluate", run, file, "--json")
        if outcome.status:
            refused(outcome, path)
            return "refused"
        numbers(outcome)
        about = read_tensors(path)[1]
        if about != read:  # by hand, and a model all the same
            return "another"
        assert outcome.out == right
        after = load_model(path)
        assert after.description() == before.description()
        assert all(
            torch.equal(a, b) for a, b in zip(after.state_dict().values(), before.state_dict().values(), strict=True)
        )
        return "as it was"

    assert set(fuzz(count, check)) >= {"refused", "as it was"}
