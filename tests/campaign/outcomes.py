"""How a command ended: a correct result, or one line that teaches. What the campaign asks of every case."""

import io
import json
import math
import re
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from cartalg.architecture import ModelConfig
from cartalg.cli import app, terminal
from cartalg.model import Potential
from cartalg.train.checkpoint import save_model

#: A potential small enough for thousands of predictions.
TINY = {
    "cutoff": 3.0,
    "channels": 2,
    "hidden_rank": 1,
    "edge_rank": 1,
    "correlation": 2,
    "layers": 1,
    "radial_hidden": [4],
    "n_bessel": 4,
    "knots": 16,
    "readout_hidden": 2,
}
ELEMENTS = ("H", "C", "O")


def fuzz(count, check):
    """Call `check(draw)` with so many cases, the same in every run: what failed, each kind once, with its case.

    `check` returns how the case ended, in a word. All cases are run, so that one run shows every fault.
    """
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    ended, faults = Counter(), {}

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=slow,
        phases=[Phase.generate],
    )
    @given(st.data())
    def run(data):
        case = []

        def draw(strategy):
            case.append(value := data.draw(strategy))
            return value

        try:
            ended[check(draw)] += 1
        except Exception as error:
            kind = re.sub(r"[0-9]+|'[^']*'", "..", f"{type(error).__name__}: {error}"[:90])
            faults.setdefault(kind, f"{error}\n{case[-1]!r}")

    run()
    assert not faults, f"{len(faults)} kinds of fault, {dict(ended)}\n" + "\n----\n".join([*faults.values()][:12])
    return ended


@dataclass
class Outcome:
    """Of a command: its exit status, both streams, and an exception that it let out."""

    status: int
    out: str
    err: str
    escaped: BaseException | None = None

    @property
    def said(self):
        """Lines on standard error."""
        return [line for line in self.err.splitlines() if line.strip()]


def command(*arguments):
    """Run `cartalg` in this process, as its entry point does."""
    out, err, escaped, status = io.StringIO(), io.StringIO(), None, 0
    terminal.console.file, terminal.errors.file = out, err
    try:
        with redirect_stdout(out), redirect_stderr(err):
            app([str(a) for a in arguments], prog_name="cartalg")
    except SystemExit as left:
        status = left.code or 0
    except BaseException as error:  # what a user would see as a traceback
        escaped, status = error, -1
    finally:
        terminal.console.file = terminal.errors.file = None  # whatever the standard streams are
    return Outcome(status, out.getvalue(), err.getvalue(), escaped)


def refused(outcome, *names):
    """Check that a command ended with one line that names what is at fault."""
    if outcome.escaped is not None:
        raise AssertionError(f"not caught: {outcome.escaped!r}") from outcome.escaped
    assert outcome.status == 2, outcome
    lines = [line for line in outcome.said if line.startswith("error:")]
    assert len(lines) == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert len(lines[0]) > 20, lines
    assert any(str(name) in lines[0] for name in names) or not names, (names, lines[0])


def finite(value):
    """Whether every number in what JSON gave is finite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def numbers(outcome):
    """What a command with --json printed, all of it finite."""
    found = json.loads(outcome.out)
    assert finite(found), found
    return found


def tiny_run(folder, seed=0, dtype="float64", **changes):
    """A run's folder with a model of random weights."""
    torch.manual_seed(seed)
    config = ModelConfig(**{**TINY, "dtype": dtype, **changes})
    save_model(Path(folder) / "model.safetensors", Potential(config, ELEMENTS, scale=0.1, mean_neighbours=4.0))
    return Path(folder)


def labelled(count, seed=0):
    """Frames of real labels: molecules rattled, ASE's effective medium theory."""
    frames = []
    for n in range(count):
        atoms = molecule("CH3OH" if n % 2 else "H2O")
        atoms.rattle(0.05, rng=np.random.default_rng(1000 * seed + n))
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    return frames


def write_frames(path, count, seed=0):
    """A file of such frames."""
    write(path, labelled(count, seed), format="extxyz")
    return path


def quiet():
    """A progress bar's console that says nothing."""
    return Console(quiet=True)
