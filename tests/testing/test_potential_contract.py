"""The contract that ships: a potential in a few lines keeps it, and each way to break it is seen by the test for it."""

from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from cartalg.testing.frames import cluster, crystal
from cartalg.testing.potential import Answer, FromCalculator, PotentialContract


@dataclass
class Pairs:
    """E = sum over pairs of c_i c_j (1 - r^2/R^2)^3 + sum over atoms of c_i, with one fault if asked for."""

    fault: str = ""
    elements: tuple[str, ...] = ("C", "H", "O")
    cutoff: float = 3.0
    calls: int = 0

    def __call__(self, frames):
        self.calls += 1
        answers = [self.answer(atoms) for atoms in frames]
        if self.fault == "leak" and len(frames) > 1:
            answers = [Answer(a.energy + 1e-3 * len(frames[0]), a.forces, a.stress) for a in answers]
        if self.fault == "memory":
            answers = [Answer(a.energy * (1 + 1e-4 * self.calls), a.forces, a.stress) for a in answers]
        return answers

    def answer(self, atoms):
        charge = atoms.numbers / 6
        seen = atoms
        if self.fault == "one image":
            seen = atoms.copy()
            seen.wrap()
        i, j, d = neighbor_list("ijD", seen, self.cutoff)
        if self.fault == "one image":
            keep = np.unique(np.stack([i, j]), axis=1, return_index=True)[1]
            i, j, d = i[keep], j[keep], d[keep]
        if self.fault == "no images":
            inside = np.linalg.norm(d - (atoms.positions[j] - atoms.positions[i]), axis=1) < 1e-9
            i, j, d = i[inside], j[inside], d[inside]
        r2 = (d**2).sum(1)
        x = 1 - r2 / self.cutoff**2
        power = {"kink": 1, "jump": 0}.get(self.fault, 3)
        weight = 0.5 * charge[i] * charge[j]
        pair, slope = weight * x**power, weight * power * x ** max(power - 1, 0) * -2 / self.cutoff**2
        energy, gradient = pair.sum(), slope[:, None] * d  # dE/d(d_ij)
        if self.fault == "axis":
            energy, gradient = energy + (weight * d[:, 2] ** 2 * x**3).sum(), gradient + 0
        if self.fault == "handed":
            energy += self.chirality(atoms)
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, gradient)
        np.add.at(forces, j, -gradient)
        stress = d.T @ gradient / abs(np.linalg.det(atoms.cell.array)) if atoms.pbc.all() else None
        energy += charge.sum()
        if self.fault == "force factor":
            forces *= 1.001
        if self.fault == "stress sign":
            stress = None if stress is None else -stress
        if self.fault == "signed volume" and stress is not None:
            stress = stress * np.sign(np.linalg.det(atoms.cell.array))
        if self.fault == "field":
            energy += 1e-3 * atoms.positions[:, 0].sum()
            forces -= [1e-3, 0, 0]
        if self.fault == "order":
            energy += 1e-3 * charge @ np.arange(len(atoms))
        if self.fault == "tail" and len(atoms) > 1:
            energy += 1e-3 * (1 / (atoms.get_all_distances() + 1e9 * np.eye(len(atoms)))).sum()
        if self.fault == "lone" and len(atoms) == 1:
            forces = forces + 1e-6
        if self.fault == "wrapping":
            atoms.wrap()
        if self.fault == "zero":
            energy, forces, stress = 0.0, 0 * forces, stress
        return Answer(float(energy), forces, stress)

    def chirality(self, atoms):
        """Odd under reflections: a triple product of the first atoms' distances."""
        if len(atoms) < 4:
            return 0.0
        a, b, c = atoms.positions[1:4] - atoms.positions[0]
        return 1e-2 * np.dot(a, np.cross(b, c))


class TestPairs(PotentialContract):
    @pytest.fixture
    def potential(self):
        return Pairs()


TESTS = [name for name in vars(PotentialContract) if name.startswith("test_")]
#: The fault, the test that sees it, and what it says.
FAULTS = {
    "zero": ("energies_and_forces_are_there_and_differ", "all forces are zero"),
    "memory": ("the_same_frames_give_the_same_answers_and_stay_as_they_are", "energy, computed again"),
    "wrapping": ("the_same_frames_give_the_same_answers_and_stay_as_they_are", "the frame was moved"),
    "force factor": ("forces_are_minus_the_gradient", "slope of the energy: relative error"),
    "stress sign": ("the_stress_is_the_strain_derivative", "strain 00"),
    "signed volume": ("the_stress_is_the_strain_derivative", "strain 00"),
    "axis": ("rotations_and_reflections", r"energy, under the rotation \(1, 2, -1, 3\)"),
    "handed": ("rotations_and_reflections", "energy, under the rotation .* with the inversion"),
    "field": ("translations", "energy, moved"),
    "order": ("permutations", "energy, permuted"),
    "leak": ("a_batch_is_its_frames_one_by_one", "energy, in a batch"),
    "kink": ("two_atoms_part_smoothly_at_the_cutoff", "energy of .* at the cutoff"),
    "jump": ("nothing_jumps_when_an_atom_crosses_the_cutoff", "energy of .* across the cutoff"),
    "tail": ("pieces_far_apart_do_not_feel_each_other", "energy, .* angstrom apart"),
    "lone": ("isolated_atoms_have_an_energy_and_no_force", "a force on C alone"),
    "one image": ("a_supercell_is_as_many_cells", "energy, in a supercell"),
    "no images": ("atoms_may_stand_outside_their_cell", "energy, with atoms outside the cell"),
}


@pytest.mark.parametrize(("fault", "test", "says"), [(fault, *seen) for fault, seen in FAULTS.items()])
def test_each_fault_is_seen(fault, test, says):
    assert f"test_{test}" in TESTS
    with pytest.raises(AssertionError, match=says):
        getattr(PotentialContract(), f"test_{test}")(Pairs(fault))


def test_each_test_sees_a_fault():
    seen = {f"test_{name}" for name, _ in FAULTS.values()}
    with pytest.raises(AssertionError, match="sum of the forces"):  # the one that a fault of another test's shows too
        PotentialContract().test_forces_and_torques_add_up_to_zero(Pairs("field"))
    assert set(TESTS) - seen == {"test_forces_and_torques_add_up_to_zero"}


def test_a_calculator_keeps_the_contract_or_not():
    """ASE's Lennard-Jones: smooth at its cutoff if asked to be, with a jump if not."""
    from ase.calculators.lj import LennardJones

    settings = {"sigma": 1.2, "epsilon": 0.5, "rc": 4.0}
    suite = PotentialContract()
    for smooth in (True, False):
        subject = FromCalculator(LennardJones(**settings, ro=2.6, smooth=smooth), ("Ar",), settings["rc"])
        suite.test_forces_are_minus_the_gradient(subject)
        suite.test_rotations_and_reflections(subject)
        if smooth:
            suite.test_two_atoms_part_smoothly_at_the_cutoff(subject)
    with pytest.raises(AssertionError, match="at the cutoff"):
        suite.test_two_atoms_part_smoothly_at_the_cutoff(subject)


@pytest.mark.parametrize("elements", [("H",), ("C", "H", "O"), ("Cu", "Al")])
def test_frames_of_any_elements(elements):
    molecule, periodic = cluster(elements), crystal(elements)
    assert len(molecule) == 6
    assert set(molecule.symbols) == set(elements)
    assert periodic.pbc.all()
    assert (molecule.get_all_distances() + 9 * np.eye(6)).min() > 0.4
    assert crystal(elements, seed=1) != periodic
    assert isinstance(cluster(elements, 3, seed=3), Atoms)
