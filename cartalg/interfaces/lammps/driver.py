"""A potential attached to LAMMPS: `CartalgLammps(lmp, "RUN", ["Mo", "Nb"])`, then ``lmp.command("run 1000")``."""

import ctypes
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mpi4py import MPI

from cartalg.data.graphs import Graph, overlap
from cartalg.flow import pair_virials
from cartalg.interfaces.lammps.committee import Deviations, ask
from cartalg.interfaces.lammps.domain import Domain
from cartalg.interfaces.lammps.elements import check_masses, elements_of_types
from cartalg.interfaces.lammps.lists import at, full_list, wants_stresses
from cartalg.model import Potential
from cartalg.nn.exchange import gathered
from cartalg.ops import Edges
from cartalg.uncertainty.committee import Predictor

STYLE, FIX = "zero", "cartalg"
REALS = ctypes.POINTER(ctypes.c_double)


class CartalgLammps:
    """Energy, forces, virial and energies of atoms for a LAMMPS instance, of one process or of many.

    It defines ``pair_style zero CUTOFF full``, whose neighbour list is used as it is, and a fix ``cartalg`` of style
    ``external`` that adds forces, energy (``pe``, ``pe/atom``) and virial (``press``, ``stress/atom``). Each process
    computes its own atoms; features of ghosts come from the processes that own them, between layers, and gradients go
    back. Units are metal.

    An error in a step is printed with the step and the process. Of several processes it ends all; of one it ends the
    run, and `check`, which `command` calls, raises it.

    Args:
        lammps: A `lammps.lammps` whose box and atoms exist.
        model: A potential, a model file or the folder of a training run, of a committee too, or a list of potentials:
            then energies, forces and virials are means, and the deviations are LAMMPS's as `Deviations` describes.
        elements: Chemical symbol of each atom type; by default the types' labels.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        ends: Whether an error ends the process in any case.
    Raises:
        FileNotFoundError, CheckpointError: If the model cannot be read.
        ValueError: If units, dimension, IDs, types or exclusions do not fit a potential, or potentials each other.
    """

    def __init__(
        self,
        lammps: Any,
        model: Potential | Sequence[Potential] | str | Path,
        elements: Sequence[str] | None = None,
        backend: str = "auto",
        ends: bool = False,
    ) -> None:
        self.lammps = lammps
        if isinstance(model, str | Path):
            committee = Predictor.open(model, backend)
        else:
            committee = Predictor([model] if isinstance(model, Potential) else list(model), [])
        self.models: list[Potential] = committee.models
        self.model = self.models[0]
        if any((m.elements, m.config.cutoff) != (self.model.elements, self.model.config.cutoff) for m in self.models):
            raise ValueError("the models of a committee must know the same elements and have one cutoff")
        _check(lammps)
        self.elements = elements_of_types(lammps, elements, self.model.elements)
        self.comm: MPI.Comm = lammps.get_mpi_comm() or MPI.COMM_SELF
        self.ends = ends or self.comm.size > 1
        self.error: BaseException | None = None
        self.builds = 0
        _share_cores(self.comm)
        self._species = np.array([-1, *map(self.model.elements.index, self.elements)])
        self._domain = Domain(self.comm)
        self._graph: Graph | None = None
        self._receiver = self._neighbour = np.zeros(0, dtype=np.int64)
        self._stresses = False
        lammps.command(f"pair_style {STYLE} {self.model.config.cutoff} full")
        lammps.command("pair_coeff * *")
        lammps.command(f"fix {FIX} all external pf/callback 1 1")
        lammps.command(f"fix_modify {FIX} energy yes virial yes")
        several = len(self.models) > 1
        self._deviations = Deviations(lammps, FIX, self.comm, committee.factors) if several else None
        # the module's own wrapper makes arrays before it calls: what fails there is printed, and the run goes on
        function = lammps.FIX_EXTERNAL_CALLBACK_FUNC(self._called)
        lammps.callback[FIX] = {"function": function, "caller": self}  # keeps it alive
        lammps.lib.lammps_set_fix_external_callback(lammps.lmp, FIX.encode(), function, self)

    def command(self, text: str) -> None:
        """Run a LAMMPS command, and raise what went wrong in its steps."""
        self.lammps.command(text)
        self.check()

    def check(self) -> None:
        """Raise the error of the last run, if there was one."""
        error, self.error = self.error, None
        if error is not None:
            self.lammps.command("timer timeout off")
            raise error

    def _called(self, caller: Any, step: int, atoms: int, tags: Any, x: Any, forces: Any) -> None:
        """What LAMMPS calls in every step. Nothing may leave it: LAMMPS would go on."""
        try:
            self._compute(atoms, tags, x, forces)
        except BaseException as error:
            self._fail(step, error)

    def _compute(self, atoms: int, tags: Any, x: Any, forces: Any) -> None:
        positions = at(x, atoms + int(self.lammps.extract_setting("nghost")), 3)
        if self._graph is None or self.lammps.extract_setting("neigh_ago") == 0:
            self._graph = self._built(atoms, at(tags, len(positions)))
        vectors = np.take(positions, self._neighbour, axis=0)
        vectors -= np.take(positions, self._receiver, axis=0)
        if (edge := overlap(vectors)) is not None:
            tag = at(tags, len(positions))
            a, b = (int(tag[side[edge]]) for side in (self._receiver, self._neighbour))
            apart = np.linalg.norm(vectors[edge])
            raise ValueError(f"atoms {a} and {b} are {apart:.4f} A apart; check positions, units and the time step")
        graph = replace(self._graph, vectors=torch.from_numpy(vectors))
        said = ask(self.models, graph, self._stresses)
        at(forces, atoms, 3)[:] = said.forces
        mine = np.append(said.totals, -said.virial)
        total = np.empty_like(mine)
        self.comm.Allreduce(mine, total)  # LAMMPS wants both of all processes together
        energies, (xx, xy, xz, _, yy, yz, _, _, zz) = total[:-9], total[-9:].tolist()
        self.lammps.fix_external_set_energy_global(FIX, float(energies.mean()))
        self.lammps.fix_external_set_virial_global(FIX, [xx, yy, zz, xy, xz, yz])
        of_atoms = np.append(said.energies, 0.0)  # never empty
        give = self.lammps.lib.lammps_fix_external_set_energy_peratom
        give(self.lammps.lmp, FIX.encode(), of_atoms.ctypes.data_as(REALS))
        if self._deviations is not None and said.spread is not None:
            self._deviations.tell(said.spread, energies)
        if said.edge_forces is not None:
            virials = -gathered(pair_virials(graph, said.edge_forces), graph.edges).numpy()
            rows = np.zeros((atoms + 1, 6))
            rows[:-1] = virials[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
            starts = rows.ctypes.data + rows.strides[0] * np.arange(len(rows), dtype=np.uintp)
            give = self.lammps.lib.lammps_fix_external_set_virial_peratom
            give(self.lammps.lmp, FIX.encode(), starts.ctypes.data_as(ctypes.POINTER(REALS)))

    def _built(self, atoms: int, tags: np.ndarray[Any, Any]) -> Graph:
        """The graph of new neighbour lists, without vectors."""
        if not self.builds:
            check_masses(self.lammps, self.elements, self.model.elements)
        self.builds += 1
        if self.lammps.get_thermo("nbuild") == 0:  # a run begins; in its course computes cannot be asked
            self._stresses = wants_stresses(self.lammps)
        counts, self._neighbour = full_list(self.lammps, STYLE, atoms)
        self._receiver = np.repeat(np.arange(atoms), counts)
        rows = self._domain.settle(tags.astype(np.int64), atoms)
        senders = int(max(rows.max(initial=-1) + 1, atoms))
        species = np.empty(senders, dtype=np.int64)
        species[rows] = self._species[at(self.lammps.extract_atom("type"), len(tags)).astype(np.int64)]
        exchange = self._domain if self.comm.size > 1 else None
        sender, receiver = torch.from_numpy(rows[self._neighbour]), torch.from_numpy(self._receiver)
        edges = Edges.build(sender, receiver, senders, atoms, exchange)
        frame, none = torch.zeros(atoms, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
        return Graph(torch.from_numpy(species), none, edges, frame, 1, none)

    def _fail(self, step: int, error: BaseException) -> None:
        """Say what has failed, and stop."""
        where = f"step {step}" + (f", process {self.comm.rank} of {self.comm.size}" if self.comm.size > 1 else "")
        if not isinstance(error, ValueError | RuntimeError):  # no mistake of a user's
            traceback.print_exception(error)
        print(f"cartalg: {where}: {error}", file=sys.stderr, flush=True)
        if not self.ends:
            self.error, self._graph = error, None
            self.lammps.force_timeout()
            return
        self.lammps.flush_buffers()
        if self.comm.size > 1:
            self.comm.Abort(1)
        os._exit(1)


def _check(lammps: Any) -> None:
    """Raise ValueError where LAMMPS is set up for something else."""
    if not lammps.extract_setting("box_exist"):
        raise ValueError("there is no simulation box yet: attach the potential after read_data or create_box")
    if (units := lammps.extract_global("units")) != "metal":
        raise ValueError(f"units are {units}, but the potential's are metal: put `units metal` first")
    if lammps.extract_setting("dimension") != 3:
        raise ValueError("the dimension must be 3")
    if not lammps.extract_setting("tag_enable"):
        raise ValueError("atoms need IDs: leave out `atom_modify id no`")
    if lammps.extract_setting("molecule_flag") and lammps.extract_global("special_lj")[1:] != [1.0, 1.0, 1.0]:
        raise ValueError("bonded atoms would be left out of neighbour lists: put `special_bonds lj/coul 1 1 1` before")


def _share_cores(comm: MPI.Comm) -> None:
    """Divide the cores of a machine among its processes, unless the environment says how many threads to use."""
    beside = comm.Split_type(MPI.COMM_TYPE_SHARED)
    if beside.size > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // beside.size))
    beside.Free()
