"""Frames to label: the most informative one first, none twice in other words, and what the command writes."""

import re

import numpy as np
import pytest
import torch
from ase.io import read, write
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.uncertainty.density import Moments
from cartalg.uncertainty.measure import uncertainty_file
from cartalg.uncertainty.selection import most_informative


def run_cli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def candidates():
    """Twelve frames of two elements with four features, a density, and every frame once more."""
    rng = np.random.default_rng(0)
    species = [torch.from_numpy(rng.integers(0, 2, n)) for n in rng.integers(2, 6, 12)]
    features = [torch.from_numpy(rng.normal(size=(len(s), 4)) * (1 + n / 4)) for n, s in enumerate(species)]
    moments = Moments(2)
    moments.add(torch.from_numpy(rng.integers(0, 2, 200)), torch.from_numpy(rng.normal(size=(200, 4))))
    density = moments.fit([(torch.cat(species), torch.cat(features))])
    return density, species * 2, features * 2


def test_gains_are_those_of_growing_precisions(candidates):
    """Against matrices inverted anew at each step."""
    density, species, features = candidates
    white = [density.whitened(s, f) for s, f in zip(species, features, strict=True)]
    precision = [float(n) * torch.eye(4, dtype=torch.float64) for n in density.count]
    allowed = [n for n in range(24) if n != 11]
    chosen = []
    for number, gain in most_informative(density, species, features, allowed):
        unknown = [
            sum(
                float(torch.log1p(row @ torch.linalg.inv(precision[k]) @ row))
                for k, row in zip(s.tolist(), w, strict=True)
            )
            for s, w in zip(species, white, strict=True)
        ]
        best = max((n for n in allowed if n not in chosen), key=lambda n: (unknown[n], -n))
        assert gain == pytest.approx(unknown[best], rel=1e-9)
        assert number == best
        chosen.append(number)
        for k, row in zip(species[number].tolist(), white[number], strict=True):
            precision[k] += torch.outer(row, row)
    assert sorted(chosen) == allowed


def test_the_same_frame_tells_less_the_second_time(candidates):
    density, species, features = candidates
    order = [n for n, _ in most_informative(density, species, features, range(24))]
    again = order.index((order[0] + 12) % 24)
    unlike = [len({*(n % 12 for n in order[:place])}) for place in range(1, 25)]
    assert again > 1, "the next frame is another one"
    assert unlike[11] > 6, "the first twelve are not six pairs"


def test_select_writes_frames_and_scores(run, data, tmp_path):
    out = tmp_path / "chosen.xyz"
    found = run_cli("select", run, data / "train.xyz", data / "hot.xyz", "--count", 5, "--output", out)
    assert found.exit_code == 0, found.output
    frames, pool = read(out, ":"), read(data / "train.xyz", ":") + read(data / "hot.xyz", ":")
    numbers = [frame.info["frame"] for frame in frames]
    assert len(set(numbers)) == 5
    assert all(number >= 24 for number in numbers), "training frames tell nothing new"
    gains = [frame.info["information"] for frame in frames]
    assert gains == sorted(gains, reverse=True)
    for frame, number in zip(frames, numbers, strict=True):
        np.testing.assert_allclose(frame.positions, pool[number].positions, atol=1e-7)
        assert frame.arrays["grades"].max() == pytest.approx(frame.info["grade"], rel=1e-5)
        assert frame.info["energy_std"] > 0
        assert "REF_energy" not in frame.info
        assert "REF_forces" not in frame.arrays


def test_other_strategies(run, data, tmp_path):
    out = tmp_path / "chosen.xyz"
    assert (
        run_cli("select", run, data / "hot.xyz", "--count", 4, "--output", out, "--strategy", "uncertainty").exit_code
        == 0
    )
    grades = [frame.info["grade"] for frame in read(out, ":")]
    assert grades == sorted(grades, reverse=True)
    highest = grades[0]
    limited = ("--strategy", "random", "--max-grade", highest - 1e-3)
    assert run_cli("select", run, data / "hot.xyz", "--count", 4, "--output", out, *limited).exit_code == 0
    assert max(frame.info["grade"] for frame in read(out, ":")) < highest
    assert len({frame.info["frame"] for frame in read(out, ":")}) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--count", 30), "20 frames, not 30 to choose"),
        (("--count", 3, "--max-grade", 0), "0 frames of a grade up to 0, not 3"),
        (("--count", 3, "--strategy", "best"), "no strategy 'best'; there are information, uncertainty, random"),
    ],
)
def test_bad_input_is_said_in_one_line(run, data, tmp_path, arguments, says):
    found = run_cli("select", run, data / "hot.xyz", "--output", tmp_path / "x.xyz", *arguments)
    assert found.exit_code == 2
    assert says in re.sub(r"\s+", " ", found.output)
    assert not (tmp_path / "x.xyz").exists()


def test_a_model_without_uncertainty_and_missing_files_are_said(run, data, tmp_path):
    arguments = ("--count", 2, "--output", tmp_path / "x.xyz")
    assert "no file" in run_cli("select", run, data / "none.xyz", *arguments).output
    uncertainty_file(run).unlink()
    assert "run `cartalg uncertainty`" in run_cli("select", run, data / "hot.xyz", *arguments).output


def test_uncertainty_measures_a_model_that_lies_there(run, data, tmp_path):
    uncertainty_file(run).unlink()
    found = run_cli("uncertainty", run, "--train", data / "train.xyz", "--valid", data / "valid.xyz")
    assert found.exit_code == 0, found.output
    assert "24 training frames; on 8 validation frames" in re.sub(r"\s+", " ", found.output)
    assert uncertainty_file(run).is_file()
    assert run_cli("select", run, data / "hot.xyz", "--count", 2, "--output", tmp_path / "x.xyz").exit_code == 0


def test_uncertainty_asks_for_what_it_needs(run, data, tmp_path):
    assert "give both --train and --valid" in run_cli("uncertainty", run, "--train", data / "train.xyz").output
    assert "holds no checkpoint" in run_cli("uncertainty", run).output
    bare = read(data / "train.xyz", ":3")
    for atoms in bare:
        atoms.info, atoms.calc = {}, None
        del atoms.arrays["REF_forces"]
    write(tmp_path / "bare.xyz", bare)
    found = run_cli("uncertainty", run, "--train", data / "train.xyz", "--valid", tmp_path / "bare.xyz")
    assert "no frame has an energy or forces" in found.output
