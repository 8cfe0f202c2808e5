"""The active-learning example as it stands, with labels that are held back and with a labeller."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from ase.io import read

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "active_learning.py"
SMALL = ("--start", "6", "--batch", "3", "--rounds", "1", "--steps", "4", "--channels", "2")
LABELLER = """
import sys
from ase.calculators.emt import EMT
from ase.io import read, write
frames = read(sys.argv[1], ":")
for atoms in frames:
    atoms.calc = EMT()
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = None
write(sys.argv[2], frames)
"""


def loop(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, *map(str, (*SMALL, *arguments))])
    runpy.run_path(str(EXAMPLE), run_name="__main__")


def test_shipped_labels_are_held_back_until_a_frame_is_chosen(monkeypatch, tmp_path):
    loop(monkeypatch, "--output", tmp_path)
    rows = json.loads((tmp_path / "errors.json").read_text())
    assert [row["labelled"] for row in rows] == [6, 9]
    assert all(row["forces_1000K"] > row["forces_300K"] > 0 for row in rows)
    first, second = (read(tmp_path / f"round-{n}" / "labelled.xyz", ":") for n in (0, 1))
    assert {frame.info["temperature_K"] for frame in first} == {300}
    assert [frame.info["REF_energy"] for frame in second[:6]] == [frame.info["REF_energy"] for frame in first]
    candidates = read(tmp_path / "round-0" / "candidates.xyz", ":")
    for frame, chosen in zip(second[6:], read(tmp_path / "round-0" / "chosen.xyz", ":"), strict=True):
        assert frame.info["REF_energy"] == candidates[chosen.info["frame"]].info["REF_energy"]
        assert abs(frame.positions - chosen.positions).max() < 1e-6


@pytest.mark.campaign
def test_a_labeller_is_asked_for_frames_of_the_models_own_dynamics(monkeypatch, tmp_path):
    (tmp_path / "label.py").write_text(LABELLER)
    loop(monkeypatch, "--output", tmp_path / "loop", "--labeller", f"{sys.executable} {tmp_path / 'label.py'}")
    rows = json.loads((tmp_path / "loop" / "errors.json").read_text())
    assert [row["labelled"] for row in rows] == [6, 9]
    second = read(tmp_path / "loop" / "round-1" / "labelled.xyz", ":")
    assert [frame.info.get("frame") is not None for frame in second] == [False] * 6 + [True] * 3
