"""The example of Green and Kubo: its integral on a flux whose conductivity is known, and a short run of a crystal."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk

from architectures import SMALL
from cartalg.architecture import ModelConfig
from cartalg.model import Potential
from cartalg.train.checkpoint import save_model

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "thermal_conductivity.py"


def script():
    spec = importlib.util.spec_from_file_location("thermal_conductivity", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_integral_of_a_known_correlation():
    """Fluxes with <J_a(0) J_a(t)> = s^2 exp(-t/tau) for each axis: the integral is s^2 tau."""
    rng, interval, tau, size = np.random.default_rng(0), 0.5, 10.0, 3.0
    keep = np.exp(-interval / tau)
    kicks = size * np.sqrt(1 - keep**2) * rng.normal(size=(400000, 3))
    fluxes = np.empty_like(kicks)
    now = size * rng.normal(size=3)
    for n, kick in enumerate(kicks):
        fluxes[n] = now = keep * now + kick
    found = script().integrals(fluxes, interval, 50.0, 300.0)
    joule, metre, second = units.J, units.m, units.s
    expected = size**2 * tau / (50.0 * units.kB * 300.0**2) / (joule / second / metre)
    place = round(10 * tau / interval)
    assert found[place] == pytest.approx(expected, rel=0.05)
    assert found[round(tau / interval)] == pytest.approx(expected * (1 - np.exp(-1)), rel=0.05)


def test_a_short_run(tmp_path):
    torch.manual_seed(0)
    model = Potential(ModelConfig(**{**SMALL, "dtype": "float32"}), ("Cu",), mean_neighbours=15.0, scale=0.1)
    save_model(tmp_path / "model.safetensors", model)
    bulk("Cu", cubic=True).write(tmp_path / "copper.xyz")
    asked = ["--repeat", 2, "--steps", 60, "--equilibration", 10, "--every", 2, "--output", tmp_path / "flux.npy"]
    command = [sys.executable, SCRIPT, tmp_path / "model.safetensors", tmp_path / "copper.xyz", *asked]
    shown = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    assert re.search(r"^32 atoms, \d+ K, 0.06 ps$", shown, re.M), shown
    assert len(re.findall(r"ps:\s+-?[\d.]+ \+- [\d.]+ W", shown)) >= 2, shown
    fluxes = np.load(tmp_path / "flux.npy")
    assert fluxes.shape == (31, 3)
    assert np.ptp(fluxes, axis=0).min() > 0
