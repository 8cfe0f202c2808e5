"""OpenMM: a trained potential as a force of a system, for all atoms or for some of them (extra ``cartalg[openmm]``).

    system = create_system("RUN", topology)
    system = create_mixed_system("RUN", topology, system, atoms)    # these by the potential, the others as they were

Source of the units: SI of 2019, in which 1 eV is 96.48533212331 kJ/mol, as it is in OpenMM.
"""

import copy
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from cartalg.data.frames import DataError
from cartalg.extras import require
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential

require("openmm", "cartalg.interfaces.openmm")

import openmm  # noqa: E402
from openmm import app, unit  # noqa: E402
from openmm.app.internal.unitcell import reducePeriodicBoxVectors  # noqa: E402

Model = Potential | str | Path | Sequence[Potential | str | Path]
#: kJ/mol of an eV, and angstrom of a nm.
EV, NM = 1.602176634e-19 * 6.02214076e23 / 1000, 10.0


class Computation:
    """What OpenMM calls for energy and forces; it can be pickled, and so a system with it written to XML.

    Args:
        model: As of `cartalg.interfaces.ase.CartalgCalculator`, as are the settings.
        symbols: Of the atoms that it is called with.
        periodic: Whether they are in the periodic box.
    """

    def __init__(self, model: Model, symbols: Sequence[str], periodic: bool, **settings: Any) -> None:
        self.calculator = CartalgCalculator(model, **settings)
        self.atoms = Atoms(symbols, pbc=periodic)

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray[Any, Any]]:
        """Energy in kJ/mol and forces in kJ/mol/nm, [atoms, 3]."""
        self.atoms.positions = state.getPositions(asNumpy=True)._value * NM
        if self.atoms.pbc.any():
            self.atoms.cell = state.getPeriodicBoxVectors(asNumpy=True)._value * NM
        self.calculator.calculate(self.atoms, ["energy", "forces"])
        results = self.calculator.results
        return results["energy"] * EV, results["forces"] * (EV * NM)


def create_force(
    model: Model,
    topology: app.Topology,
    atoms: Iterable[int] | None = None,
    periodic: bool | None = None,
    **settings: Any,
) -> openmm.PythonForce:
    """The force of a potential, to be added to a system.

    Args:
        model: A potential, a model file or the folder of a training run (of a committee, too), or a list of such.
        topology: Whose atoms have elements.
        atoms: Indices of those that the potential describes; they feel no others by it. By default all.
        periodic: Whether in the periodic box; by default, if the topology has one.
        **settings: ``skin``, ``backend``: as of `cartalg.interfaces.ase.CartalgCalculator`.
    Raises:
        FileNotFoundError, CheckpointError: If the model cannot be read.
        DataError: If an atom has no element or one that the model does not know, or an index is none of an atom.
    """
    every = list(topology.atoms())
    chosen = list(range(len(every))) if atoms is None else [int(a) for a in atoms]
    if not chosen or len(set(chosen)) != len(chosen) or not all(0 <= a < len(every) for a in chosen):
        raise DataError(f"atoms must be different indices from 0 to {len(every) - 1}, at least one")
    bare = [every[a] for a in chosen if every[a].element is None]
    if bare:
        raise DataError(
            f"atom {bare[0].index} ({bare[0].name}) of the topology has no element: leave it out of `atoms`"
        )
    symbols = [every[a].element.symbol for a in chosen]
    periodic = topology.getPeriodicBoxVectors() is not None if periodic is None else periodic
    computation = Computation(model, symbols, periodic, **settings)
    known = computation.calculator.model.elements
    for index, symbol in zip(chosen, symbols, strict=True):
        if symbol not in known:
            raise DataError(f"the model knows {', '.join(known)}, but atom {index} of the topology is {symbol}")
    force = openmm.PythonForce(computation, {}, [] if atoms is None else chosen)
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("cartalg")
    return force


def create_system(
    model: Model, topology: app.Topology, periodic: bool | None = None, remove_drift: bool = True, **settings: Any
) -> openmm.System:
    """A system of all atoms of a topology, with their masses, that the potential alone describes.

    Args:
        model, topology, periodic, **settings: As of `create_force`.
        remove_drift: Add a `CMMotionRemover`, as OpenMM's force fields do.
    Raises:
        FileNotFoundError, CheckpointError, DataError: As `create_force`.
    """
    force = create_force(model, topology, None, periodic, **settings)
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    if force.usesPeriodicBoundaryConditions():
        if topology.getPeriodicBoxVectors() is None:
            raise DataError("periodic, but the topology has no box: topology.setPeriodicBoxVectors(..)")
        system.setDefaultPeriodicBoxVectors(*topology.getPeriodicBoxVectors())
    system.addForce(force)
    if remove_drift:
        system.addForce(openmm.CMMotionRemover())
    return system


def create_mixed_system(
    model: Model, topology: app.Topology, system: openmm.System, atoms: Iterable[int], **settings: Any
) -> openmm.System:
    """A copy of a system in which a potential takes the place of the force field between some atoms.

    Mechanical embedding: these atoms feel each other by the potential, and all others by the force field. Bonds,
    angles, torsions and pairs of the force field that lie within the atoms are gone, and their constraints.

    Args:
        model, topology, atoms, **settings: As of `create_force`. The atoms are usually whole molecules, not periodic:
            give ``periodic=True`` where they fill the box.
        system: Made for the topology by a force field.
    Raises:
        FileNotFoundError, CheckpointError: As `create_force`.
        DataError: As `create_force`, or if the system has a force of a kind from which atoms cannot be taken.
    """
    chosen = [int(a) for a in atoms]
    settings.setdefault("periodic", False)
    force = create_force(model, topology, chosen, **settings)
    mixed, inside = copy.deepcopy(system), frozenset(chosen)
    if mixed.getNumParticles() != topology.getNumAtoms():
        raise DataError(f"the system has {mixed.getNumParticles()} particles, the topology {topology.getNumAtoms()}")
    for other in mixed.getForces():
        _take_out(other, inside)
    for n in reversed(range(mixed.getNumConstraints())):
        if inside.issuperset(mixed.getConstraintParameters(n)[:2]):
            mixed.removeConstraint(n)
    mixed.addForce(force)
    return mixed


#: Of forces that are lists of terms: how many, a term, how to set it, of how many atoms it is, and which of the numbers
#: after these are factors of its energy.
TERMS: dict[str, tuple[str, str, str, int, tuple[int, ...]]] = {
    "HarmonicBondForce": ("getNumBonds", "getBondParameters", "setBondParameters", 2, (1,)),
    "HarmonicAngleForce": ("getNumAngles", "getAngleParameters", "setAngleParameters", 3, (1,)),
    "PeriodicTorsionForce": ("getNumTorsions", "getTorsionParameters", "setTorsionParameters", 4, (2,)),
    "RBTorsionForce": ("getNumTorsions", "getTorsionParameters", "setTorsionParameters", 4, (0, 1, 2, 3, 4, 5)),
}
#: Forces between no atoms in particular.
OTHERS = ("CMMotionRemover", "MonteCarloBarostat", "MonteCarloAnisotropicBarostat", "AndersenThermostat")


def _take_out(force: openmm.Force, inside: frozenset[int]) -> None:
    """Let a force do nothing between atoms that are all inside."""
    kind = type(force).__name__
    if kind in TERMS:
        count, get, put, atoms, factors = TERMS[kind]
        for n in range(getattr(force, count)()):
            term = list(getattr(force, get)(n))
            of, numbers = term[:atoms], term[atoms:]
            if inside.issuperset(of):
                getattr(force, put)(n, *of, *(0 * x if k in factors else x for k, x in enumerate(numbers)))
    elif kind == "NonbondedForce":
        for a, b in combinations(sorted(inside), 2):
            force.addException(a, b, 0.0, 1.0, 0.0, True)
    elif kind == "CustomNonbondedForce":
        known = {frozenset(force.getExclusionParticles(n)) for n in range(force.getNumExclusions())}
        for pair in combinations(sorted(inside), 2):
            if frozenset(pair) not in known:
                force.addExclusion(*pair)
    elif kind not in OTHERS:
        raise DataError(f"atoms cannot be taken out of a {kind}: remove it, or change it by hand and use create_force")


def from_ase(atoms: Atoms) -> tuple[app.Topology, unit.Quantity]:
    """Topology and positions of ASE's atoms, turned and with other cell vectors if OpenMM wants its box so.

    Args:
        atoms: Open, or periodic along all three axes.
    Returns:
        A topology without bonds whose atoms are one residue, and positions.
    Raises:
        DataError: If the atoms are periodic along some axes only.
    """
    topology, positions = app.Topology(), atoms.positions
    residue = topology.addResidue("ASE", topology.addChain())
    for n, number in enumerate(atoms.numbers):
        element = app.Element.getByAtomicNumber(int(number))
        topology.addAtom(f"{element.symbol}{n}", element, residue)
    if atoms.pbc.all():
        cell, turn = atoms.cell.standard_form()
        positions = atoms.positions @ turn.T
        topology.setPeriodicBoxVectors(reducePeriodicBoxVectors((cell.array / NM) * unit.nanometer))
    elif atoms.pbc.any():
        raise DataError(
            f"OpenMM has boxes that are periodic along all three axes or along none; pbc is {atoms.pbc.tolist()}"
        )
    return topology, (positions / NM) * unit.nanometer
