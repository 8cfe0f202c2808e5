"""One model or several: what they say of a process's atoms, and how far a committee's members are apart in LAMMPS."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI
from torch import Tensor

from cartalg.data.graphs import Graph
from cartalg.interfaces.lammps.lists import DEVIATION, Array, at
from cartalg.model import Potential


@dataclass(frozen=True)
class Said:
    """What models say of the atoms of one process; means, unless it says otherwise.

    Attributes:
        forces: In eV/angstrom, float64 [atoms, 3].
        energies: Of the atoms, in eV, float64 [atoms].
        totals: Their sum, as each model has it, [models].
        virial: In eV, [3, 3].
        edge_forces: In eV/angstrom, [edges, 3], if they were asked for.
        spread: Of a committee's forces on each atom, the length of their standard deviations; None of one model.
    """

    forces: Array
    energies: Array
    totals: Array
    virial: Array
    edge_forces: Tensor | None
    spread: Array | None


def ask(models: Sequence[Potential], graph: Graph, edge_forces: bool) -> Said:
    """Run the models; all processes must do so together."""
    found = []
    for model in models:
        one = model(graph, virial=True, edge_forces=edge_forces)
        shares = one.edge_forces.double() if one.edge_forces is not None else None
        values = (one.forces, one.atomic_energies, one.energy, one.virial[0])  # type: ignore[index]
        found.append((*(v.double().numpy() for v in values), shares))  # type: ignore[union-attr]
    forces, energies, totals, virials, shares = zip(*found, strict=True)
    mean = sum(shares) / len(models) if edge_forces else None
    spread = np.linalg.norm(np.std(forces, axis=0), axis=1) if len(models) > 1 else None
    every = np.mean(forces, axis=0), np.mean(energies, axis=0), np.concatenate(totals), np.mean(virials, axis=0)
    return Said(*every, mean, spread)


class Deviations:
    """Tells LAMMPS how far a committee's members are apart, in each step.

    The fix's vector has the largest deviation of the forces on an atom in eV/angstrom, ``f_cartalg[1]``, and that of
    the energy in eV, ``f_cartalg[2]``; ``d_deviation`` is the former of each atom. All are standard deviations, scaled.

    Args:
        lammps: A `lammps.lammps` with the fix.
        fix: Its ID.
        comm: The processes.
        factors: By ``"energy"`` and ``"forces"``.
    """

    def __init__(self, lammps: Any, fix: str, comm: MPI.Comm, factors: dict[str, float]) -> None:
        self.lammps, self.fix, self.comm, self.factors = lammps, fix, comm, factors
        lammps.command(f"fix {fix}_deviation all property/atom {DEVIATION} ghost no")
        lammps.fix_external_set_vector_length(fix, 2)

    def tell(self, spread: Array, totals: Array) -> None:
        """Give the deviations of this process's atoms, and the energies of all processes together, by models."""
        spread = self.factors.get("forces", 1.0) * spread
        at(self.lammps.extract_atom(DEVIATION), len(spread))[:] = spread
        largest = np.array([spread.max(initial=0.0)])
        self.comm.Allreduce(MPI.IN_PLACE, largest, op=MPI.MAX)
        self.lammps.fix_external_set_vector(self.fix, 1, float(largest[0]))
        self.lammps.fix_external_set_vector(self.fix, 2, self.factors.get("energy", 1.0) * float(np.std(totals)))
