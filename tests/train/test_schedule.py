"""The learning rate for epochs and for minutes: it ends at its floor, in time, and a run goes on as it would have."""

from itertools import pairwise

import pytest
import torch
from typer.testing import CliRunner

from cartalg.cli import app
from cartalg.cli.terminal import progress_bar
from cartalg.train.config import ConfigError, TrainingConfig, load_config, parse_config
from cartalg.train.records import read_metrics
from cartalg.train.run import Run
from cartalg.train.schedule import Progress, Schedule
from cartalg.train.start import initial_model
from cartalg.train.trainer import Trainer

STEPS = 10


def rates(schedule, epochs):
    return [schedule.rate(step, Progress()) for step in range(epochs * STEPS)]


def test_schedules_for_epochs():
    settings = TrainingConfig(epochs=20, learning_rate=0.5, final_learning_rate=0.01, warmup_epochs=1, decay=0.4)
    cosine = rates(Schedule(settings, STEPS), 20)
    flat = rates(Schedule(settings.model_copy(update={"schedule": "constant"}), STEPS), 20)
    for found in (cosine, flat):
        assert found[0] < found[5] < found[STEPS] == pytest.approx(0.5)
        assert 0.005 <= found[-1] < 0.012
        assert all(a >= b for a, b in pairwise(found[STEPS:]))
    assert flat[STEPS : 12 * STEPS + 1] == [0.5] * (11 * STEPS + 1)
    assert flat[16 * STEPS] == pytest.approx(0.5 * (1 - 0.99 / 2))
    assert cosine[10 * STEPS + STEPS // 2] == pytest.approx(0.5 * (0.01 + 0.99 / 2))


@pytest.mark.parametrize("pace", [lambda n: 7.0, lambda n: 4.0 + n % 3, lambda n: 3.0 if n < 30 else 9.0])
def test_minutes_are_kept(pace):
    """Whatever an epoch takes, the rate is constant at first, falls to its end, and the run ends within an epoch."""
    settings = TrainingConfig(max_minutes=5, learning_rate=0.5, warmup_epochs=0, decay=0.4)
    schedule, progress, seen = Schedule(settings, STEPS), Progress(), []
    while not schedule.finished(progress):
        before = progress.epoch * STEPS
        seen.append((progress.seconds, [schedule.rate(before + n, progress) for n in range(STEPS)]))
        schedule.ended(progress, pace(progress.epoch))
        assert schedule.epochs(progress) >= progress.epoch
        ends = schedule.rate(before + STEPS, progress)
        assert ends <= seen[-1][1][-1]
    assert progress.seconds == pytest.approx(300, abs=2 * pace(progress.epoch))
    assert ends == pytest.approx(0.005)
    assert all(rate == 0.5 for at, of_epoch in seen if at < 0.6 * 300 for rate in of_epoch)
    falling = [rate for at, of_epoch in seen if at > 0.65 * 300 for rate in of_epoch]
    assert all(a > b for a, b in pairwise(falling))


def test_an_epoch_that_takes_longer_than_the_minutes_is_followed_by_one_that_falls():
    schedule, progress = Schedule(TrainingConfig(max_minutes=0.1), STEPS), Progress()
    while not schedule.finished(progress):
        schedule.ended(progress, 100.0)
    assert progress.epoch == 2
    assert progress.rate == pytest.approx(0.01)


def test_a_cosine_needs_its_end():
    with pytest.raises(ConfigError, match="leave out schedule: cosine"):
        parse_config({"data": {"train": "a"}, "training": {"max_minutes": 1, "schedule": "cosine"}}, "c.yaml")


class Interrupted(Exception):
    """A run was stopped."""


@pytest.mark.parametrize("at", [2, 9])
def test_a_run_of_minutes_goes_on_exactly(data_folder, make_config, tmp_path, at):
    """While the rate is constant and while it falls, if the clock goes as it would have gone."""
    config = load_config(make_config(training={"max_minutes": 1.5, "epochs": 1, "final_learning_rate": 0.001}))
    with progress_bar() as bar:
        run = Run.open(config, data_folder, "auto", bar)

    def trainer(folder, seconds):
        ticks = iter(seconds)
        model = initial_model(config, run.split, run.train, run.elements, "auto", data_folder, run.coverage.distances)
        return Trainer(config, model, run.train, run.valid, folder, clock=lambda: next(ticks))

    def stop(row):
        if row["epoch"] == at:
            raise Interrupted("stopped")

    clock = [7.0 * n + n % 2 for n in range(40)]
    whole = trainer(tmp_path / "whole", clock)
    assert whole.run(lambda: None, lambda row: None).epoch == 13
    cut = trainer(tmp_path / "cut", clock)
    with pytest.raises(Interrupted, match="stopped"):
        cut.run(lambda: None, stop)
    again = trainer(tmp_path / "cut", clock[at:])
    again.resume()
    again.run(lambda: None, lambda row: None)
    assert again.state == whole.state
    for a, b in zip(whole.parameters + whole.averaged, again.parameters + again.averaged, strict=True):
        assert torch.equal(a, b)
    rows = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "cut")]
    assert rows[0] == rows[1]
    assert [row["seconds"] for row in rows[0]] == clock[1:14]


def test_curves_of_runs_against_the_clock(data_folder, make_config, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    folder, picture = tmp_path / "run", tmp_path / "curves.png"
    config = make_config(training={"epochs": 2})
    assert run("train", config, "--data-dir", data_folder, "--output", folder).exit_code == 0
    line = "forces_rmse_meV_per_A=5"
    result = run("curves", folder, folder, "--published", line, "--to", picture)
    assert result.exit_code == 0, result.output
    best = min(row["valid_forces_rmse_meV_per_A"] for row in read_metrics(folder / "metrics.csv"))
    assert f"forces_rmse_meV_per_A {best:.4g}" in " ".join(result.output.split())
    assert picture.stat().st_size > 0
    for arguments, message in (
        ((tmp_path,), "no metrics.csv"),
        ((folder, "--published", "forces=5"), "there are energy_rmse_meV"),
        ((folder, "--published", "forces_rmse_meV_per_A"), "give KEY=NUMBER"),
        ((folder, "--against", "steps"), "one of minutes, epochs"),
    ):
        result = run("curves", *arguments, "--to", picture)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
    text = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(text.replace("seconds", "ticks"))
    assert "older version" in " ".join(run("curves", folder, "--to", picture).stderr.split())
    assert run("curves", folder, "--against", "epochs", "--to", picture).exit_code == 0
