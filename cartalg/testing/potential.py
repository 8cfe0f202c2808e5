"""The contract of a potential, as a suite that a test class inherits.

    import pytest
    from cartalg.testing.potential import FromCalculator, PotentialContract

    class TestMine(PotentialContract):
        @pytest.fixture
        def potential(self):
            return FromCalculator(MyCalculator(), elements=("C", "H", "O"), cutoff=5.0)

and `pytest` runs every test below on it: derivatives against differences, O(3), translations, permutations, batches,
the cutoff, pieces far apart, isolated atoms, periodic images, and atoms outside their cell.

Units: eV, angstrom, eV/angstrom^3 (tension positive).
"""

# ruff: noqa: E402
import itertools
from collections.abc import Callable
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np

from cartalg.extras import require

require("train", "cartalg.testing.potential")

from ase import Atoms

from cartalg.testing.equivariance import TURNS
from cartalg.testing.frames import cluster, crystal, moved, strained, turned
from cartalg.testing.subjects import Answer, FromCalculator, FromModel, Subject
from cartalg.testing.tolerances import DOUBLE, Tolerance

__all__ = ["Answer", "FromCalculator", "FromModel", "PotentialContract", "Subject"]


class PotentialContract:
    """What holds of every potential. Inherit, give a fixture `potential` (a `Subject`), override what does not fit.

    Attributes:
        tolerance: `DOUBLE` or `SINGLE`, by the precision of the potential, or your own.
        gives_stress: False for a potential that gives none.
        displacement: Of the test of translations, in angstrom.
    """

    tolerance: ClassVar[Tolerance] = DOUBLE
    gives_stress: ClassVar[bool] = True
    displacement: ClassVar[tuple[float, float, float]] = (1e3, -2e3, 3e3)

    def molecule(self, potential: Subject) -> Atoms:
        """A frame in the open; override it for one of your own."""
        return cluster(potential.elements)

    def crystal(self, potential: Subject) -> Atoms:
        """A periodic frame, its cell narrower than twice the cutoff if the atoms allow."""
        return crystal(potential.elements)

    def frames(self, potential: Subject) -> list[Atoms]:
        """The two."""
        return [self.molecule(potential), self.crystal(potential)]

    def close(self, found: Any, wanted: Any, what: str, limit: float | None = None) -> None:
        """Assert that two arrays agree, relative to the largest entry or to 1."""
        found, wanted = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
        assert found.shape == wanted.shape, f"{what}: shape {found.shape}, not {wanted.shape}"
        error = float(abs(found - wanted).max(initial=0)) / max(1.0, float(abs(wanted).max(initial=0)))
        limit = self.tolerance.identity if limit is None else limit
        assert error <= limit, f"{what}: relative error {error:.1e}, at most {limit:.1e}"

    def same(self, found: Answer, wanted: Answer, what: str) -> None:
        """Assert that two answers agree."""
        self.close(found.energy, wanted.energy, f"energy, {what}")
        self.close(found.forces, wanted.forces, f"forces, {what}")
        if wanted.stress is not None:
            assert found.stress is not None, f"no stress, {what}"
            self.close(found.stress, wanted.stress, f"stress, {what}")

    def slope(self, potential: Subject, make: Callable[[float], Atoms]) -> float:
        """dE/dt at 0 of frames make(t), from differences of fourth order."""
        h = self.tolerance.step
        low2, low, high, high2 = (a.energy for a in potential([make(t) for t in (-2 * h, -h, h, 2 * h)]))
        return (low2 - 8 * low + 8 * high - high2) / (12 * h)

    def test_energies_and_forces_are_there_and_differ(self, potential: Subject) -> None:
        """Numbers of the right shape that depend on the frame: a potential of zeros would pass all that follows."""
        for one, other in ((self.molecule(potential), cluster(potential.elements, seed=1)), self.frames(potential)):
            first, second = potential([one, other])
            assert first.forces.shape == (len(one), 3), f"forces have shape {first.forces.shape}, not {(len(one), 3)}"
            assert np.isfinite(first.energy), "the energy is not finite"
            assert np.isfinite(first.forces).all(), "a force is not finite"
            assert abs(first.forces).max() > 100 * self.tolerance.identity, "all forces are zero"
            assert abs(first.energy - second.energy) > 100 * self.tolerance.identity, "two frames have one energy"

    def test_the_same_frames_give_the_same_answers_and_stay_as_they_are(self, potential: Subject) -> None:
        """Nothing is kept from one call that changes the next."""
        frames = self.frames(potential)
        kept = [atoms.copy() for atoms in frames]
        first = potential(frames)
        potential([turned(frames[0], TURNS[1])])
        for answer, again, atoms, before in zip(first, potential(frames), frames, kept, strict=True):
            self.same(again, answer, "computed again")
            assert np.array_equal(atoms.positions, before.positions), "the frame was moved"
            assert np.array_equal(atoms.cell, before.cell), "the cell was changed"

    def test_forces_are_minus_the_gradient(self, potential: Subject) -> None:
        """Along each coordinate of two atoms, and along random directions of all."""
        random = np.random.default_rng(0)
        for atoms in self.frames(potential):
            forces = potential([atoms])[0].forces
            directions = list(random.standard_normal((3, *forces.shape)))
            for atom, axis in itertools.product((0, len(atoms) - 1), range(3)):
                directions.append(np.zeros(forces.shape))
                directions[-1][atom, axis] = 1
            for direction in directions:
                slope = self.slope(potential, lambda t: moved(atoms, t * direction))  # noqa: B023
                wanted = -(forces * direction).sum()
                self.close(slope, wanted, "slope of the energy", self.tolerance.derivative)

    def test_the_stress_is_the_strain_derivative(self, potential: Subject) -> None:
        """All six strains, in a right-handed and in a left-handed cell."""
        if not self.gives_stress:
            raise SkipTest("this potential gives no stress")
        atoms = self.crystal(potential)
        other = atoms.copy()
        other.set_cell(atoms.cell.array[[1, 0, 2]])
        for frame in (atoms, other):
            stress, volume = potential([frame])[0].stress, abs(np.linalg.det(frame.cell.array))
            assert stress is not None, "no stress; say `gives_stress = False` if there is none"
            self.close(stress, stress.T, "symmetry of the stress")
            for a, b in itertools.combinations_with_replacement(range(3), 2):
                strain = np.zeros((3, 3))
                strain[a, b] += 0.5
                strain[b, a] += 0.5
                slope = self.slope(potential, lambda t: strained(frame, t * strain))  # noqa: B023
                self.close(slope / volume, stress[a, b], f"strain {a}{b}", self.tolerance.derivative)

    def test_rotations_and_reflections(self, potential: Subject) -> None:
        """Energies stay, forces and stresses turn."""
        for atoms in self.frames(potential):
            (plain,) = potential([atoms])
            for turn in TURNS:
                r = turn.matrix().astype(float)
                stress = None if plain.stress is None else r @ plain.stress @ r.T
                (found,) = potential([turned(atoms, turn)])
                self.same(found, Answer(plain.energy, plain.forces @ r.T, stress), f"under {turn}")

    def test_translations(self, potential: Subject) -> None:
        """Also far away; positions there hold fewer digits, which the tolerance allows for."""
        lost = float(np.abs(self.displacement).max()) * np.finfo(float).eps
        for atoms in self.frames(potential):
            (plain,) = potential([atoms])
            (found,) = potential([moved(atoms, np.array(self.displacement))])
            limit = self.tolerance.identity + 1e4 * lost
            self.close(found.energy, plain.energy, "energy, moved", limit)
            self.close(found.forces, plain.forces, "forces, moved", limit)

    def test_forces_and_torques_add_up_to_zero(self, potential: Subject) -> None:
        """Momentum is kept, and in the open the angular momentum."""
        molecule, periodic = self.frames(potential)
        for atoms, answer in zip((molecule, periodic), potential([molecule, periodic]), strict=True):
            self.close(answer.forces.sum(0), np.zeros(3), "sum of the forces")
            if not atoms.pbc.any():
                self.close(np.cross(atoms.positions, answer.forces).sum(0), np.zeros(3), "sum of the torques")

    def test_permutations(self, potential: Subject) -> None:
        """The order of atoms means nothing."""
        for atoms in self.frames(potential):
            order = np.random.default_rng(2).permutation(len(atoms))
            plain, found = potential([atoms])[0], potential([atoms[order]])[0]
            self.same(found, Answer(plain.energy, plain.forces[order], plain.stress), "permuted")

    def test_a_batch_is_its_frames_one_by_one(self, potential: Subject) -> None:
        """Frames of a batch do not see each other, whatever stands beside them."""
        lone = [Atoms(symbol) for symbol in potential.elements]
        frames = [*self.frames(potential), *lone[:1], cluster(potential.elements, 3, seed=3), self.molecule(potential)]
        for answer, atoms in zip(potential(frames), frames, strict=True):
            self.same(answer, potential([atoms])[0], "in a batch")

    def test_two_atoms_part_smoothly_at_the_cutoff(self, potential: Subject) -> None:
        """Beyond the cutoff nothing is left; towards it the force falls with the distance to it, the energy faster."""
        direction = np.array([0, 0.6, 0.8])
        for pair in itertools.combinations_with_replacement(potential.elements, 2):
            near, far = 1e-3 * potential.cutoff, 4e-3 * potential.cutoff
            frames = [Atoms(pair, [np.zeros(3), (potential.cutoff - d) * direction]) for d in (near, far, -1e-9)]
            one, two = potential([Atoms(symbol) for symbol in pair])
            a, b, apart = potential(frames)
            rest, tiny = one.energy + two.energy, self.tolerance.identity
            self.close(apart.energy, rest, f"energy of {pair} beyond the cutoff")
            self.close(apart.forces, np.zeros((2, 3)), f"forces of {pair} beyond the cutoff")
            assert abs(a.energy - rest) <= 0.1 * abs(b.energy - rest) + tiny, f"energy of {pair} at the cutoff"
            assert abs(a.forces).max() <= 0.3 * abs(b.forces).max() + tiny, f"force of {pair} at the cutoff"

    def test_nothing_jumps_when_an_atom_crosses_the_cutoff(self, potential: Subject) -> None:
        """A third atom leaves the neighbourhood of the first while the second still sees both."""
        middle = 0.55 * potential.cutoff * np.array([0.6, 0.1, 0.8])
        for triple in itertools.islice(itertools.combinations_with_replacement(potential.elements, 3), 8):
            ends = [potential.cutoff + d * self.tolerance.instant for d in (-1, 1)]
            frames = [Atoms(triple, [np.zeros(3), middle, [0, 0, end]]) for end in ends]
            inside, outside = potential(frames)
            limit = 100 * self.tolerance.instant
            self.close(inside.energy, outside.energy, f"energy of {triple} across the cutoff", limit)
            self.close(inside.forces, outside.forces, f"forces of {triple} across the cutoff", limit)

    def test_pieces_far_apart_do_not_feel_each_other(self, potential: Subject) -> None:
        """Energies add up; forces are those of each piece alone."""
        one, other = self.molecule(potential), cluster(potential.elements, 4, seed=5)
        reach = np.ptp(one.positions, axis=0).max() + np.ptp(other.positions, axis=0).max() + potential.cutoff
        for gap in (1.1 * reach, 10 * reach, 1000.0):
            both = one + moved(other, np.array([0.6 * gap, 0, 0.8 * gap]) + one.positions.mean(0))
            if both.get_all_distances()[: len(one), len(one) :].min() <= potential.cutoff:
                continue
            first, second, together = potential([one, other, both])
            forces = np.concatenate([first.forces, second.forces])
            self.same(together, Answer(first.energy + second.energy, forces), f"{gap:.0f} angstrom apart")

    def test_isolated_atoms_have_an_energy_and_no_force(self, potential: Subject) -> None:
        """In the open and in a cell wider than the cutoff."""
        for symbol in potential.elements:
            wide = Atoms(symbol, cell=np.eye(3) * 2.5 * potential.cutoff, pbc=True)
            lone, boxed = potential([Atoms(symbol), wide])
            assert np.isfinite(lone.energy), f"energy of {symbol} alone is not finite"
            assert (lone.forces == 0).all(), f"a force on {symbol} alone"
            self.close(boxed.energy, lone.energy, f"energy of {symbol} in a wide cell")
            assert (boxed.forces == 0).all(), f"a force on {symbol} in a wide cell"

    def test_a_supercell_is_as_many_cells(self, potential: Subject) -> None:
        """Images of atoms are neighbours like any others, also their own."""
        atoms = self.crystal(potential)
        one, many = potential([atoms, atoms * (3, 2, 1)])
        self.same(many, Answer(6 * one.energy, np.tile(one.forces, (6, 1)), one.stress), "in a supercell")
        skew = atoms.copy()
        skew.set_cell(np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ atoms.cell.array)  # the same lattice
        self.same(potential([skew])[0], one, "in another cell of the same lattice")

    def test_atoms_may_stand_outside_their_cell(self, potential: Subject) -> None:
        """An atom and its images are the same, along the axes that are periodic."""
        atoms, random = self.crystal(potential), np.random.default_rng(6)
        slab = atoms.copy()
        slab.pbc = (True, True, False)
        for frame in (atoms, slab):
            jumps = random.integers(-3, 4, (len(frame), 3)) * frame.pbc
            assert jumps.any(), "no atom leaves the cell"
            plain, found = potential([frame, moved(frame, jumps @ frame.cell.array)])
            self.same(found, plain, "with atoms outside the cell")
            wrapped = frame.copy()
            wrapped.wrap()
            self.same(potential([wrapped])[0], plain, "wrapped")
