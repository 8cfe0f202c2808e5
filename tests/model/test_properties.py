"""Heads for tensors: equivariant, additive, trained alone or with energies."""

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule
from ase.io import write
from pydantic import ValidationError
from typer.testing import CliRunner

from cartalg.architecture import ModelConfig, TensorProperty
from cartalg.cli import app
from cartalg.data.frames import DataError, to_frame
from cartalg.data.graphs import build_graph, collate
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential
from cartalg.train.checkpoint import load_model
from cartalg_codegen import emit
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import LinearSpec, PackSpec, UnpackSpec

ELEMENTS = ("H", "C", "O")
SETTINGS = {
    "channels": 4,
    "radial_hidden": (8,),
    "cutoff": 3.5,
    "dtype": "float64",
    "edge_rank": 3,
    "hidden_rank": 1,
}


def model(*formulas, per="frame", **changes):
    torch.manual_seed(0)
    properties = [TensorProperty(name=f"t{n}", tensor=f, per=per) for n, f in enumerate(formulas)]
    config = ModelConfig(**{"properties": tuple(properties), **SETTINGS, **changes})
    return Potential(config, ELEMENTS, scale=0.5, mean_neighbours=6.0)


def ethanol():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=0)
    return atoms


def graph(potential, *frames):
    return collate([build_graph(a, potential.config.cutoff, potential.elements) for a in frames])


@pytest.mark.parametrize("inversion", [False, True])
@pytest.mark.parametrize("formula", ["i", "ij=ji"])
def test_tensors_turn_with_the_molecule(formula, inversion):
    potential, atoms, turned = model(formula), ethanol(), ethanol()
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    q = q * np.sign(np.linalg.det(q)) * (-1 if inversion else 1)
    turned.positions = atoms.positions @ q.T
    before, after = (
        potential(graph(potential, a), properties=True).properties["t0"][0].numpy() for a in (atoms, turned)
    )
    expected = q @ before if formula == "i" else q @ before @ q.T
    np.testing.assert_allclose(after, expected, atol=1e-10)
    assert abs(before).max() > 1e-3


@pytest.mark.parametrize("inversion", [False, True])
def test_third_rank_tensors_with_an_axial_part(inversion, tmp_path):
    config = {"parity": "full", "correlation": 2, "properties": [{"name": "t0", "tensor": "ijk=ikj"}]}
    specs = {spec for pair in ModelConfig(**SETTINGS, **config).kernel_specs() for spec in pair}
    specs |= {PackSpec("ijk=ikj"), UnpackSpec("ijk=ikj"), LinearSpec()}
    emit.write(emit.render(Set(3, only=tuple(spec.name for spec in specs))), tmp_path / "set")
    potential = model("ijk=ikj", parity="full", correlation=2, kernels=str(tmp_path / "set"))
    atoms, turned = ethanol(), ethanol()
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    q = q * np.sign(np.linalg.det(q)) * (-1 if inversion else 1)
    turned.positions = atoms.positions @ q.T
    before, after = (
        potential(graph(potential, a), properties=True).properties["t0"][0].numpy() for a in (atoms, turned)
    )
    np.testing.assert_allclose(after, np.einsum("ai,bj,ck,ijk->abc", q, q, q, before), atol=1e-10)
    np.testing.assert_allclose(before, before.transpose(0, 2, 1), atol=1e-12)


def test_atomic_tensors_and_sums():
    whole, atoms = model("ij=ji"), ethanol()
    single = model("ij=ji", per="atom")
    single.load_state_dict(whole.state_dict())
    each = single(graph(single, atoms), properties=True).properties["t0"]
    assert each.shape == (9, 3, 3)
    batch = graph(whole, atoms, Atoms("C"), molecule("H2O"))
    total = whole(batch, properties=True).properties["t0"]
    torch.testing.assert_close(total[0], each.sum(0))
    alone = whole(graph(whole, molecule("H2O")), properties=True).properties["t0"]
    torch.testing.assert_close(total[2:], alone)
    training = whole(batch, training=True, properties=True).properties["t0"]
    torch.testing.assert_close(training.detach(), total)
    assert "t0" not in whole(batch).properties


def test_forces_do_not_depend_on_the_heads():
    potential, atoms = model("i", "ij=ji"), ethanol()
    before = potential(graph(potential, atoms), properties=True)
    with torch.no_grad():
        for weight in potential.heads.parameters():
            weight.mul_(-3)
    after = potential(graph(potential, atoms), properties=True)
    assert not torch.allclose(after.properties["t0"], before.properties["t0"])
    for forces in (after.forces, potential(graph(potential, atoms)).forces):
        torch.testing.assert_close(forces, before.forces, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_predicted_is_explained():
    with pytest.raises(ValueError, match=r"rank 1 \(axial: that needs parity full\)"):
        model("ij")
    with pytest.raises(ValidationError, match="not a permutation"):
        TensorProperty(name="a", tensor="ij=jk")
    with pytest.raises(ValidationError, match="choose another name"):
        TensorProperty(name="forces", tensor="i")
    with pytest.raises(ValidationError, match="different names"):
        ModelConfig(properties=(TensorProperty(name="a", tensor="i"), TensorProperty(name="a", tensor="ij=ji")))
    atoms = molecule("H2O")
    atoms.info["alpha"] = np.ones(6)
    with pytest.raises(DataError, match="alpha must have 9 numbers"):
        to_frame(atoms, [TensorProperty(name="alpha", tensor="ij=ji").quantity])
    atoms.info["alpha"] = np.full(9, np.nan)
    with pytest.raises(DataError, match="alpha is not finite"):
        to_frame(atoms, [TensorProperty(name="alpha", tensor="ij=ji").quantity])


def labelled(n):
    """Water with a made tensor that is an exact function of geometry: the sum over bonds of d d^T, and of d."""
    atoms = molecule("H2O")
    atoms.rattle(0.1, rng=np.random.default_rng(n))
    bonds = atoms.positions[1:] - atoms.positions[0]
    atoms.info["REF_alpha"] = (bonds.T @ bonds + np.eye(3)).ravel()
    atoms.info["mu"] = bonds.sum(0)
    return atoms


def test_tensors_are_trained_alone(tmp_path):
    write(tmp_path / "train.xyz", [labelled(n) for n in range(40)], format="extxyz")
    write(tmp_path / "test.xyz", [labelled(n + 100) for n in range(10)], format="extxyz")
    properties = [{"name": "alpha", "tensor": "ij=ji"}, {"name": "dipole", "tensor": "i", "key": "mu"}]
    settings = {"channels": 8, "cutoff": 3.0, "correlation": 2, "radial_hidden": [16], "knots": 64}
    config = {
        "data": {"train": "train.xyz", "valid_count": 8, "test": "test.xyz"},
        "model": {"properties": properties, **settings},
        "training": {"epochs": 60, "batch_size": 4, "energy_weight": 0, "forces_weight": 0, "ema_decay": 0.9},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run = lambda *a: CliRunner().invoke(app, [str(x) for x in a])  # noqa: E731
    result = run("train", tmp_path / "config.yaml", "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "alpha" in result.stderr
    assert "nan" not in result.stderr
    shown = run("evaluate", tmp_path / "run", tmp_path / "test.xyz")
    assert "of the spread" in " ".join(shown.stdout.split())
    potential = load_model(tmp_path / "run")
    atoms = labelled(200)
    atoms.calc = CartalgCalculator(potential)
    atoms.get_potential_energy()
    error = abs(atoms.calc.results["alpha"] - atoms.info["REF_alpha"].reshape(3, 3)).max()
    assert error < 0.15 * abs(atoms.info["REF_alpha"]).max()
    assert atoms.calc.results["dipole"].shape == (3,)
    config["training"]["property_weights"] = {"beta": 1}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(config))
    bad = run("train", tmp_path / "bad.yaml", "--output", tmp_path / "other")
    assert "beta, which is not in model.properties" in " ".join(bad.stderr.split())
