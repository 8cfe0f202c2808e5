import contextlib
import copy
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.mixing import SumCalculator
from ase.io import read, write
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.stress import full_3x3_to_voigt_6_stress

from cartalg.architecture import ModelConfig, TensorProperty
from cartalg.data.frames import DataError
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = ModelConfig(cutoff=3.5, channels=4, edge_rank=1, correlation=2, radial_hidden=(8,), dtype="float64")
    return Potential(config, ("H", "C", "O", "Cu"), scale=0.2, mean_neighbours=10.0)


def crystal():
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=0)
    return atoms


def test_energy_forces_stress_and_atomic_energies(model):
    atoms = crystal()
    atoms.calc = CartalgCalculator(model)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    numeric = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 1])
    np.testing.assert_allclose(atoms.get_forces()[:2], numeric, atol=1e-6)
    numeric = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), numeric, atol=1e-7)


def test_stress_of_an_open_system_is_an_error_never_nan(model):
    for pbc in (False, (True, True, False)):
        atoms = molecule("H2O", vacuum=3.0, pbc=pbc)
        atoms.calc = CartalgCalculator(model)
        assert np.isfinite(atoms.get_forces()).all()
        with pytest.raises(PropertyNotImplementedError, match="periodic"):
            atoms.get_stress()


@pytest.mark.parametrize("change", ["atoms move", "cell shrinks", "cell shears"])
def test_reused_neighbour_lists_never_miss_a_pair(model, change):
    """While positions or the cell change, a calculator with a skin gives what one without gives."""
    atoms, fresh = crystal(), crystal()
    atoms.calc, fresh.calc = CartalgCalculator(model, skin=0.6), CartalgCalculator(model, skin=0.0)
    rng = np.random.default_rng(0)
    steps = 30
    for _ in range(steps):
        if change == "atoms move":
            atoms.positions += rng.normal(scale=0.02, size=(len(atoms), 3))
        else:
            f = np.eye(3) * 0.995 if change == "cell shrinks" else np.eye(3) + 0.01 * np.eye(3, k=1)
            atoms.set_cell(atoms.cell.array @ f, scale_atoms=True)
        fresh.set_cell(atoms.cell)
        fresh.positions = atoms.positions
        assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-9)
    assert atoms.calc.searches < steps / 2
    assert fresh.calc.searches == steps


def test_dynamics_conserves_energy(model):
    atoms = crystal()
    atoms.calc = CartalgCalculator(model)
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    energies = []
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(60)
    kinetic = atoms.get_kinetic_energy()
    assert np.ptp(energies) < 5e-3 * kinetic


def test_tensors_are_results_that_ase_finds(model):
    """Under their names, so that a dipole is what ASE's own method returns; not in a model without them."""
    torch.manual_seed(0)
    properties = (TensorProperty(name="dipole", tensor="i"), TensorProperty(name="alpha", tensor="ij=ji", per="atom"))
    config = model.config.model_copy(update={"properties": properties, "edge_rank": 2})
    atoms = molecule("CH3OH")
    atoms.calc = CartalgCalculator([Potential(config, model.elements, mean_neighbours=10.0) for _ in range(2)])
    dipole = atoms.get_dipole_moment()
    assert dipole.shape == (3,)
    assert abs(dipole).max() > 0
    assert atoms.calc.results["alpha"].shape == (6, 3, 3)
    assert atoms.calc.results["dipole_std"].shape == (3,)
    assert "stress" not in atoms.calc.results
    atoms.calc = CartalgCalculator(model)
    with pytest.raises(PropertyNotImplementedError, match="dipole property not implemented"):
        atoms.get_dipole_moment()


def test_two_precisions_in_one_process(model):
    single = Potential(
        model.config.model_copy(update={"dtype": "float32"}), model.elements, scale=0.2, mean_neighbours=10
    )
    single.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in model.state_dict().items()})
    a, b = molecule("CH3OH"), molecule("CH3OH")
    a.calc, b.calc = CartalgCalculator(model), CartalgCalculator(single)
    np.testing.assert_allclose(a.get_forces(), b.get_forces(), atol=1e-4)
    assert a.calc.model.dtype == torch.float64
    assert torch.get_default_dtype() == torch.float32


def test_bad_systems_are_explained(model):
    calculator = CartalgCalculator(model)
    for atoms, message in [
        (molecule("NH3"), "holds N"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.001]]), "apart"),
        (Atoms("H", pbc=True), "singular"),
        (Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), "not finite"),
    ]:
        atoms.calc = calculator
        with pytest.raises(DataError, match=message):
            atoms.get_potential_energy()
    with pytest.raises(ValueError, match="skin"):
        CartalgCalculator(model, skin=-1)


def test_a_committee_gives_means_and_deviations(model):
    torch.manual_seed(1)
    other = Potential(model.config, model.elements, scale=0.2, mean_neighbours=10.0)
    atoms, alone = crystal(), []
    for member in (model, other):
        atoms.calc = CartalgCalculator(member)
        alone.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
        assert not any("std" in name for name in atoms.calc.results)
    atoms.calc = CartalgCalculator([model, other])
    assert atoms.get_potential_energy() == pytest.approx((alone[0][0] + alone[1][0]) / 2)
    np.testing.assert_allclose(atoms.get_forces(), (alone[0][1] + alone[1][1]) / 2)
    np.testing.assert_allclose(atoms.calc.results["forces_std"], abs(alone[0][1] - alone[1][1]) / 2)
    np.testing.assert_allclose(atoms.calc.results["stress_std"], abs(alone[0][2] - alone[1][2]) / 2)
    assert atoms.calc.results["energy_std"] == pytest.approx(abs(alone[0][0] - alone[1][0]) / 2)
    stranger = Potential(model.config, ("Cu",), scale=0.2)
    with pytest.raises(ValueError, match="same elements"):
        CartalgCalculator([model, stranger])
    with pytest.raises(ValueError, match="at least one"):
        CartalgCalculator([])


def test_vibrations_from_the_exact_hessian(model):
    from ase.optimize import BFGS
    from ase.vibrations import Vibrations, VibrationsData

    atoms = molecule("H2O")
    atoms.calc = CartalgCalculator(model)
    BFGS(atoms, logfile=None).run(fmax=1e-5, steps=300)
    exact = VibrationsData.from_2d(atoms, atoms.calc.get_hessian(atoms)).get_energies()
    numeric = Vibrations(atoms, delta=1e-3, nfree=4, name="vib")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        numeric.run()
        energies = numeric.get_energies()
    np.testing.assert_allclose(exact[-3:].real, energies[-3:].real, rtol=1e-4)


def test_stresses_of_atoms_and_the_heat_flux(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.embedding.mul_(1.1)
    atoms = crystal()
    thermalize_momenta(atoms, 300 * units.kB, rng=np.random.default_rng(0))
    atoms.calc = CartalgCalculator([model, other])
    stress, stresses = atoms.get_stress(), atoms.get_stresses()
    np.testing.assert_allclose(stresses.sum(0), stress, atol=1e-12)
    assert np.std(stresses, axis=0).max() > 1e-5
    virials = atoms.calc.get_centroid_virials(atoms)
    np.testing.assert_allclose(full_3x3_to_voigt_6_stress(virials.sum(0)) / atoms.get_volume(), stress, atol=1e-12)
    total, convective = atoms.calc.get_heat_flux(atoms)
    energies = atoms.get_potential_energies() + 0.5 * (atoms.get_momenta() * atoms.get_velocities()).sum(1)
    np.testing.assert_allclose(convective, energies @ atoms.get_velocities(), atol=1e-10)
    expected = convective - sum(c @ v for c, v in zip(virials, atoms.get_velocities(), strict=True))
    np.testing.assert_allclose(total, expected, atol=1e-10)
    alone = [CartalgCalculator(m).get_heat_flux(atoms) for m in (model, other)]
    np.testing.assert_allclose(np.mean(alone, axis=0), [total, convective], atol=1e-10)
    twin = pickle.loads(pickle.dumps(atoms.calc))
    np.testing.assert_allclose(twin.get_heat_flux(atoms), [total, convective], atol=1e-10)
    single = copy.deepcopy(model).to(torch.float32)
    calculator = CartalgCalculator(single)
    errors = [
        abs(calculator.get_centroid_virials(atoms, d) - CartalgCalculator(model).get_centroid_virials(atoms)).max()
        for d in (None, torch.float64)
    ]
    assert errors[1] < 0.5 * errors[0]
    water = molecule("H2O", vacuum=3.0)
    water.calc = CartalgCalculator(model)
    with pytest.raises(PropertyNotImplementedError, match="stresses needs a cell"):
        water.get_stresses()
    assert water.calc.get_centroid_virials(water).shape == (3, 3, 3)


def test_copies_compute_the_same_and_go_their_own_way(model):
    atoms = crystal()
    atoms.calc = CartalgCalculator(model)
    forces = atoms.get_forces()
    for other in (copy.deepcopy(atoms), pickle.loads(pickle.dumps(atoms))):
        assert other.calc is not atoms.calc
        np.testing.assert_array_equal(other.get_forces(), forces)
        fresh = crystal()
        for moved in (other, fresh):
            moved.rattle(0.1, seed=1)
        fresh.calc = CartalgCalculator(model)
        np.testing.assert_allclose(other.get_forces(), fresh.get_forces(), atol=1e-12)
        np.testing.assert_array_equal(atoms.get_forces(), forces)


@pytest.mark.parametrize("shared", [True, False], ids=["one model", "a model each"])
def test_calculators_in_several_threads(model, shared):
    images = [crystal() for _ in range(4)]
    for number, atoms in enumerate(images):
        atoms.rattle(0.05, seed=number)
    calculator, alone = CartalgCalculator(model), []
    for atoms in images:
        atoms.calc = calculator
        alone.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))

    def work(number):
        atoms, found = images[number].copy(), []
        atoms.calc = CartalgCalculator(model if shared else copy.deepcopy(model))
        for _ in range(20):
            atoms.calc.reset()
            found.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
        return found

    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(work, range(4)), alone, strict=True):
            for each in found:
                for value, right in zip(each, expected, strict=True):
                    np.testing.assert_array_equal(value, right)


def test_what_ase_asks_of_a_calculator(model, tmp_path):
    atoms = crystal()
    atoms.calc = calculator = CartalgCalculator([model, model])
    assert calculator.name == "cartalg"
    assert calculator.calculation_required(atoms, ["energy"])
    assert calculator.get_property("energy", atoms, allow_calculation=False) is None
    energy = atoms.get_potential_energy()
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert not calculator.calculation_required(atoms, ["energy", "forces", "stress", "energies"])
    assert calculator.calculation_required(atoms, ["stresses"])
    np.testing.assert_allclose(atoms.get_stresses().sum(0), atoms.get_stress(), atol=1e-12)
    assert calculator.export_properties()["forces"].shape == (len(atoms), 3)
    assert atoms.get_properties(["energy", "stresses"])["energy"] == energy
    atoms.positions[0] += 0.1
    assert calculator.calculation_required(atoms, ["energy"])
    assert calculator.get_property("energy", atoms, allow_calculation=False) is None
    doubled = atoms.copy()
    doubled.calc = SumCalculator([CartalgCalculator(model), CartalgCalculator(model)])
    assert doubled.get_potential_energy() == pytest.approx(2 * atoms.get_potential_energy())
    for name in ("a.traj", "a.xyz", "a.json"):
        write(tmp_path / name, atoms)
        np.testing.assert_allclose(read(tmp_path / name).get_forces(), atoms.get_forces(), atol=1e-7)


def test_parameters_are_the_skin_alone(model):
    calculator = CartalgCalculator(model, skin=0.3)
    assert calculator.todict() == {"skin": 0.3}
    atoms = crystal()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    assert calculator.set(skin=0.3) == {}
    assert calculator.set(skin=0.7) == {"skin": 0.7}
    atoms.rattle(1e-6)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-4)
    assert (calculator.skin, calculator.searches) == (0.7, 2)
    with pytest.raises(TypeError, match="no parameter cutoff; it has skin"):
        calculator.set(cutoff=3.0)
    with pytest.raises(TypeError, match="no parameter skni"):
        CartalgCalculator(model, skni=1.0)


ALONE = """
import time
import numpy as np, torch
from ase.build import bulk
from cartalg.architecture import ModelConfig
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential

torch.set_num_threads(1)
config = ModelConfig(cutoff=4.5, channels=4, edge_rank=1, correlation=2, radial_hidden=(8,))
atoms = bulk("Cu", cubic=True) * (9, 9, 9)
atoms.calc = CartalgCalculator(Potential(config, ("Cu",)))
atoms.get_forces()
start = atoms.cell.array.copy()
all_threads, this_one = time.process_time(), time.thread_time()
for turn in range(20):
    atoms.set_cell(start * (1 + 1e-4 * turn), scale_atoms=True)
    atoms.get_forces()
print(atoms.calc.searches, (time.process_time() - all_threads) / (time.thread_time() - this_one))
"""


def test_no_thread_but_the_callers_has_work():
    """NumPy's own, woken by a long product, would spin beside the one that Torch is told to have."""
    quiet = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    quiet["PYTHONPATH"] = os.pathsep.join(sys.path)
    said = subprocess.run([sys.executable, "-c", ALONE], env=quiet, capture_output=True, text=True, check=True)
    searches, times = said.stdout.split()
    assert int(searches) == 1
    assert float(times) < 1.1
