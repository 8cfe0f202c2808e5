"""OpenMM itself, on its Reference and CPU platforms: the same numbers as ASE's calculator, and dynamics of its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from ase.build import bulk, molecule
from openmm import app, unit

from architectures import SMALL
from cartalg.architecture import ModelConfig
from cartalg.data.frames import DataError
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.interfaces.openmm import EV, create_force, create_mixed_system, create_system, from_ase
from cartalg.model import Potential
from cartalg.train.checkpoint import save_model

PLATFORMS = ("Reference", "CPU")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Potential(ModelConfig(**SMALL), ("H", "C", "O", "Cu"), mean_neighbours=15.0, scale=0.3)


def crystal(cubic=True):
    atoms = bulk("Cu", cubic=cubic) * ((2, 2, 2) if cubic else (3, 2, 2))
    atoms.rattle(0.05, seed=1)
    return atoms


def context(system, positions, platform="Reference", integrator=None):
    made = openmm.Context(
        system, integrator or openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName(platform)
    )
    made.setPositions(positions)
    return made


def energy_of(system, positions):
    return context(system, positions).getState(energy=True).getPotentialEnergy() / unit.kilojoule_per_mole / EV


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", ["open", "cubic", "triclinic"])
def test_energies_and_forces_are_those_of_ases_calculator(model, platform, name):
    atoms = {"open": molecule("CH3COOH"), "cubic": crystal(), "triclinic": crystal(False)}[name]
    topology, positions = from_ase(atoms)
    system = create_system(model, topology)
    assert system.usesPeriodicBoundaryConditions() == (name != "open")
    state = context(system, positions, platform).getState(energy=True, forces=True)
    atoms.calc = CartalgCalculator(model)
    # OpenMM's own eV, and nm
    assert state.getPotentialEnergy() / (unit.ev * unit.AVOGADRO_CONSTANT_NA) == pytest.approx(
        atoms.get_potential_energy(), rel=1e-10
    )
    forces = state.getForces(asNumpy=True) / (unit.ev * unit.AVOGADRO_CONSTANT_NA / unit.angstrom)
    turn = np.eye(3) if name == "open" else atoms.cell.standard_form()[1]
    np.testing.assert_allclose(forces, atoms.get_forces() @ turn.T, atol=1e-9)
    assert abs(forces).max() > 1e-2


def test_a_system_written_to_xml_is_read_with_its_potential(model):
    topology, positions = from_ase(molecule("CH3COOH"))
    system = create_system(model, topology)
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    assert energy_of(again, positions) == pytest.approx(energy_of(system, positions), abs=1e-12)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_energy_is_kept_and_a_barostat_moves_the_box(model, platform):
    atoms = crystal()
    topology, positions = from_ase(atoms)
    system = create_system(model, topology)
    run = context(system, positions, platform)
    run.setVelocitiesToTemperature(100, 1)
    energies = []
    for _ in range(30):
        run.getIntegrator().step(1)
        state = run.getState(energy=True)
        energies.append((state.getPotentialEnergy() + state.getKineticEnergy()) / unit.kilojoule_per_mole)
    assert np.ptp(energies) < 0.02 * state.getKineticEnergy() / unit.kilojoule_per_mole
    barostat = openmm.MonteCarloBarostat(10000 * unit.bar, 300 * unit.kelvin, 2)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 1e-3)
    integrator.setRandomNumberSeed(1)
    run = context(system, positions, platform, integrator)
    run.setVelocitiesToTemperature(300, 1)
    integrator.step(40)
    state = run.getState(energy=True, positions=True)
    box = state.getPeriodicBoxVectors(asNumpy=True) / unit.angstrom
    assert abs(np.linalg.det(box) / atoms.get_volume() - 1) > 1e-4
    atoms.set_cell(box)
    atoms.positions = state.getPositions(asNumpy=True) / unit.angstrom
    atoms.calc = CartalgCalculator(model)
    assert state.getPotentialEnergy() / unit.kilojoule_per_mole / EV == pytest.approx(
        atoms.get_potential_energy(), abs=1e-4 if platform == "CPU" else 1e-9
    )


def waters():
    """Three molecules of water, and the force field's system of them."""
    topology, positions = app.Topology(), []
    chain = topology.addChain()
    for n in range(3):
        residue = topology.addResidue("HOH", chain)
        o, *h = [topology.addAtom(s, app.Element.getBySymbol(s[0]), residue) for s in ("O", "H1", "H2")]
        for one in h:
            topology.addBond(o, one)
        place = molecule("H2O")
        place.rattle(0.05, seed=n)
        positions.append(place.positions / 10 + [0, 0.28 * n, 0])
    return topology, np.concatenate(positions)


@pytest.mark.parametrize("constraints", [None, app.HBonds])
def test_a_molecule_among_others_of_a_force_field(model, constraints):
    topology, positions = waters()
    field = app.ForceField("amber14/tip3p.xml")
    settings = {"nonbondedMethod": app.NoCutoff, "rigidWater": constraints is not None, "constraints": constraints}
    system = field.createSystem(topology, **settings)
    before = openmm.XmlSerializer.serialize(system)
    inside = [3, 4, 5]
    mixed = create_mixed_system(model, topology, system, inside)
    assert openmm.XmlSerializer.serialize(system) == before
    alone = app.Modeller(topology, positions * unit.nanometer)
    alone.delete([a for a in topology.atoms() if a.index not in inside])
    without = energy_of(field.createSystem(alone.topology, **settings), alone.positions)
    atoms = molecule("H2O")
    atoms.positions = positions[inside] * 10
    atoms.calc = CartalgCalculator(model)
    expected = energy_of(system, positions) - without + atoms.get_potential_energy()
    assert energy_of(mixed, positions) == pytest.approx(expected, abs=1e-8)
    if constraints:
        assert (system.getNumConstraints(), mixed.getNumConstraints()) == (9, 6)
    else:
        assert abs(without) > 1e-3


def test_bad_input_is_explained(model):
    topology, _ = waters()
    with pytest.raises(DataError, match="different indices from 0 to 8"):
        create_force(model, topology, [3, 3])
    with pytest.raises(DataError, match="different indices"):
        create_force(model, topology, [9])
    nitrogen, _ = from_ase(molecule("NH3"))
    with pytest.raises(DataError, match="knows H, C, O, Cu, but atom 0 of the topology is N"):
        create_system(model, nitrogen)
    nitrogen.addAtom("M", None, next(nitrogen.residues()))
    with pytest.raises(DataError, match=r"atom 4 \(M\) of the topology has no element"):
        create_system(model, nitrogen)
    with pytest.raises(DataError, match="the topology has no box"):
        create_system(model, topology, periodic=True)
    system = openmm.System()
    for _ in range(9):
        system.addParticle(1.0)
    system.addForce(openmm.GBSAOBCForce())
    with pytest.raises(DataError, match="cannot be taken out of a GBSAOBCForce"):
        create_mixed_system(model, topology, system, [0])
    with pytest.raises(DataError, match="along all three axes or along none"):
        from_ase(molecule("H2O", vacuum=3, pbc=(True, True, False)))
    with pytest.raises(openmm.OpenMMException, match="A apart; check positions"):
        energy_of(create_system(model, topology), np.zeros((9, 3)))


def test_the_example_at_constant_pressure(model, tmp_path):
    save_model(tmp_path / "model.safetensors", model)
    crystal().write(tmp_path / "copper.xyz")
    script = Path(__file__).parents[2] / "docs" / "examples" / "openmm_npt.py"
    asked = [tmp_path / "model.safetensors", tmp_path / "copper.xyz", "--steps", 20, "--every", 10]
    shown = subprocess.run([sys.executable, script, *map(str, asked)], capture_output=True, text=True, check=True)
    rows = [line.split(",") for line in shown.stdout.splitlines() if not line.startswith("#")]
    assert [int(row[0]) for row in rows] == [10, 20]
    assert all(100 < float(row[2]) < 400 for row in rows), shown.stdout
