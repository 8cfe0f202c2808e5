"""TorchSim itself: its own validation of a model, the same numbers as ASE's calculator, its integrators."""

import numpy as np
import pytest
import torch
import torch_sim as ts
from ase.build import bulk, molecule
from torch_sim.models.interface import validate_model_outputs

from architectures import SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.frames import DataError
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.interfaces.torchsim import CartalgModel
from cartalg.model import Potential
from cartalg.train.checkpoint import save_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def potential():
    torch.manual_seed(0)
    config = ModelConfig(**SMALL, properties=[{"name": "dipole", "tensor": "i"}])
    return Potential(config, ("H", "C", "O", "Si", "Fe", "Cu"), mean_neighbours=15.0, scale=0.3)


def crystals():
    found = [bulk("Cu") * (3, 2, 2), bulk("Si", cubic=True), bulk("Cu", cubic=True) * (1, 1, 2)]
    for n, atoms in enumerate(found):
        atoms.rattle(0.05, seed=n)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torchsims_own_validation(potential, dtype):
    model = CartalgModel(potential, dtype, compute_stress=False)
    validate_model_outputs(model, CPU, dtype)
    assert model.compute_stress  # it asks for all


def test_a_batch_is_what_ases_calculator_says_of_each(potential, tmp_path):
    save_model(tmp_path / "model.safetensors", potential)
    model, systems = CartalgModel(tmp_path / "model.safetensors"), crystals()
    for _ in range(2):  # the second time with lists that are kept
        found = model(ts.io.atoms_to_state(systems, CPU, torch.float64))
        forces = torch.split(found["forces"], [len(a) for a in systems])
        for n, atoms in enumerate(systems):
            atoms.calc = CartalgCalculator(potential)
            assert float(found["energy"][n]) == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
            np.testing.assert_allclose(forces[n], atoms.get_forces(), atol=1e-10)
            np.testing.assert_allclose(found["stress"][n], atoms.get_stress(voigt=False), atol=1e-12)
            np.testing.assert_allclose(found["dipole"][n], atoms.get_dipole_moment(), atol=1e-10)
            atoms.rattle(0.02, seed=n)
    assert [known.searches for known in model._lists] == [1, 1, 1]
    one = model(ts.io.atoms_to_state(systems[2:], CPU, torch.float64))  # others in their place
    systems[2].calc = CartalgCalculator(potential)
    assert float(one["energy"]) == pytest.approx(systems[2].get_potential_energy(), abs=1e-10)
    less = CartalgModel(potential, compute_forces=False, compute_stress=False)
    assert set(less(ts.io.atoms_to_state(systems, CPU, torch.float64))) == {"energy", "dipole"}


def test_an_open_molecule(potential):
    atoms = molecule("CH3COOH")
    found = CartalgModel(potential)(ts.io.atoms_to_state([atoms], CPU, torch.float64))
    atoms.calc = CartalgCalculator(potential)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-10)
    assert (found["stress"] == 0).all()


def test_dynamics_keeps_the_energy_and_relaxation_lowers_it(potential):
    model, systems = CartalgModel(potential), crystals()[::2]
    energies = []
    for steps in (1, 30):
        state = ts.integrate(
            systems, model, integrator=ts.integrators.nve, n_steps=steps, temperature=300.0, timestep=0.0005, seed=1
        )
        kinetic = ts.quantities.calc_kinetic_energy(
            momenta=state.momenta, masses=state.masses, system_idx=state.system_idx
        )
        energies.append(state.energy + kinetic)
    assert (kinetic > 0.05).all()
    assert ((energies[1] - energies[0]).abs() < 0.01 * kinetic).all()
    before = model(ts.io.atoms_to_state(systems, CPU, torch.float64))["energy"]
    with pytest.warns(UserWarning, match="max steps"):
        after = ts.optimize(systems, model, optimizer=ts.optimizers.fire, max_steps=5)
    assert (after.energy < before).all()


def test_bad_systems_are_named(potential):
    model, (first, *_) = CartalgModel(potential), crystals()
    with pytest.raises(DataError, match=r"system 1: the model knows .*Al"):
        model(ts.io.atoms_to_state([first, bulk("Al")], CPU, torch.float64))
    first.positions[1] = first.positions[0]
    with pytest.raises(DataError, match="system 0: atoms 0 and 1 are"):
        CartalgModel(potential)(ts.io.atoms_to_state([first], CPU, torch.float64))
