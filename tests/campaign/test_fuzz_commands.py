"""Command lines of every kind: done, or refused in a few lines, and never a traceback."""

import pytest
import typer
from hypothesis import strategies as st
from outcomes import command, fuzz, tiny_run, write_frames

from cartalg.cli import app
from cartalg.simulate import dynamics
from cartalg.train import run as runs

COUNTS = [pytest.param(60, id="short"), pytest.param(1000, id="long", marks=pytest.mark.campaign)]
#: What takes minutes, or a network, or waits for another program.
LEFT_OUT = {("atlas",), ("demo",), ("prove",), ("generate",), ("compile",), ("ipi",), ("export",), ("benchmark",)}
TREE = typer.main.get_command(app)


def commands(group, place=()):
    """Every command, with its place in the tree."""
    for name, inner in group.commands.items():
        if hasattr(inner, "commands"):
            yield from commands(inner, (*place, name))
        elif (*place, name) not in LEFT_OUT and place[:1] not in LEFT_OUT:
            yield (*place, name), inner


COMMANDS = [*commands(TREE)]
odd = [
    "",
    "-1",
    "0",
    "1",
    "2",
    "nan",
    "inf",
    "1e400",
    "x",
    "--",
    "-",
    "a b",
    "\x1b[31m",
    "[red]",
    "\u00e9",
    "l",
    "0.5",
    "1" * 30,
]


@st.composite
def lines(draw, words):
    """A command with arguments and options of its own, of others, or of none."""
    place, about = draw(st.sampled_from(COMMANDS))
    said = [*place]
    for parameter in about.params:
        kind = getattr(parameter, "param_type_name", "")
        if kind == "argument" and draw(st.integers(0, 9)):
            said.append(draw(st.sampled_from(words + odd)))
        elif (
            kind == "option"
            and "--help" not in parameter.opts
            and not draw(st.integers(0, 5 if not parameter.required else 1))
        ):
            said.append(draw(st.sampled_from(parameter.opts)))
            if not getattr(parameter, "is_flag", False):
                said += [draw(st.sampled_from(words + odd)) for _ in range(max(parameter.nargs, 1))]
    if not draw(st.integers(0, 9)):
        said.insert(draw(st.integers(0, len(said))), draw(st.sampled_from(["--no-such", "-q", "--help", *odd])))
    return said


@pytest.mark.parametrize("count", COUNTS)
def test_command_lines(tmp_path, monkeypatch, count):
    run = tiny_run(tmp_path / "run")
    frames = write_frames(tmp_path / "frames.xyz", 2)
    (tmp_path / "config.yaml").write_text("data: {train: frames.xyz}\n")
    (tmp_path / "text").write_text("words\n")
    words = [
        str(p) for p in (run, frames, tmp_path / "config.yaml", tmp_path / "text", tmp_path / "none", tmp_path / "new")
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "_train_one", lambda *_: {})
    monkeypatch.setattr(runs, "parity", lambda *_: None)
    monkeypatch.setattr(dynamics, "simulation_plot", lambda *_: None)

    def check(draw):
        outcome = command(*draw(lines(words)))
        if outcome.escaped is not None:
            raise AssertionError(f"not caught: {outcome.escaped!r}") from outcome.escaped
        assert "Traceback" not in outcome.err
        assert "\x1b[31m" not in outcome.err
        assert outcome.status in (0, 2, 3), outcome
        if outcome.status == 2:
            assert outcome.said
        if not outcome.status:
            assert not {"nan", "NaN"} & {*outcome.out.replace(",", " ").split()}, outcome.out
        return outcome.status

    assert {0, 2} <= set(fuzz(count, check))
