"""An exported model says what the engine says, alone and beside others."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms

from cartalg.data.graphs import build_graph
from cartalg.export.build import LIBRARY
from cartalg.interfaces.ase import CartalgCalculator
from export.systems import arrays, structures

SETTINGS = {
    "float64": {},
    "float32": {"dtype": "float32", "channels": 16},
    "gate, norm and repulsion": {"gate": True, "norm": True, "zbl": True, "hidden_rank": 2},
    "summed messages": {"messages": "summed", "hidden_rank": 1, "edge_rank": 2, "layers": 3},
    "repulsion as of MACE": {"zbl": True, "zbl_form": "mace", "layers": 1, "correlation": 2},
    "matrices of each element": {"residual": "matrices", "element_messages": 1, "edge_rank": 1, "dtype": "float32"},
    "a table for each pair": {"distance_transform": "agnesi", "density": True, "layers": 1, "edge_rank": 1},
    "heads": {"properties": [{"name": "mu", "tensor": "i"}, {"name": "alpha", "tensor": "ij=ji", "per": "atom"}]},
}


def reference(model, atoms):
    """What the calculator says, under the names that the exported model has; strain derivative, not stress."""
    calculator = CartalgCalculator(model, skin=0.0)
    calculator.calculate(atoms, ["energy"])
    graph = build_graph(atoms, model.config.cutoff, model.elements)
    found = {name: np.asarray(calculator.results[name]) for name in ("energy", "energies", "forces")}
    return found | {"virial": model(graph, virial=True).virial[0].double().numpy()}, calculator.results


def assert_equal(found, expected, scale):
    """To rounding, on the scale of the largest number."""
    tolerance = scale * max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(np.reshape(found, np.shape(expected)), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_library_says_what_the_calculator_says(exported, settings):
    made = exported(**settings)
    single = made.model.config.dtype == "float32"
    for atoms in structures().values():
        # neighbours beyond the cutoff are not counted
        found = made.twin.compute(*arrays(atoms, made.twin.elements, made.twin.cutoff + 0.7))
        expected, results = reference(made.model, atoms)
        for name, value in expected.items():
            assert_equal(found[name], value, 2e-5 if single else 1e-12)
        assert np.abs(found["virial"]).max() > 0 or len(atoms) == 1
        for tensor in made.model.config.properties:
            values = found[tensor.name] if tensor.per == "atom" else found[tensor.name].sum(0)
            assert_equal(values, results[tensor.name], 1e-12)


def test_energies_alone_are_the_same(exported):
    twin, atoms = exported().twin, structures()["alloy"]
    given = arrays(atoms, twin.elements, twin.cutoff)
    alone, both = twin.compute(*given, gradient=False), twin.compute(*given)
    assert alone["energy"] == both["energy"]
    assert alone["forces"] is None


def test_no_atoms_have_no_energy(exported):
    found = exported().twin.compute(np.empty((0, 3)), [], [0], [])
    assert found["energy"] == 0
    assert found["forces"].shape == (0, 3)
    assert not found["virial"].any()


def test_systems_one_after_the_other_leave_nothing_behind(exported):
    twin = exported().twin
    given = {name: arrays(atoms, twin.elements, twin.cutoff) for name, atoms in structures().items()}
    first = {name: twin.compute(*arguments) for name, arguments in given.items()}
    for name in reversed(given):
        again = twin.compute(*given[name])
        assert all(np.array_equal(again[key], first[name][key]) for key in again)


def test_longer_lists_for_the_same_edges_are_read_where_they_are(exported, library, wrapper):
    made, atoms = exported(), structures()["alloy"]
    made.twin.compute(*arrays(atoms, made.twin.elements, made.twin.cutoff))
    atoms.positions += 1e-6 * np.random.default_rng(5).normal(size=(len(atoms), 3))
    longer = arrays(atoms, made.twin.elements, made.twin.cutoff + 4.0)
    fresh = wrapper.Model(made.file, library / LIBRARY).compute(*longer)
    assert np.array_equal(made.twin.compute(*longer)["forces"], fresh["forces"])


def test_models_in_several_threads_share_nothing(exported, library, wrapper):
    made = [exported(), exported(dtype="float32", channels=16), exported()]
    given = [arrays(atoms, made[0].twin.elements, 3.5) for atoms in structures().values()]
    alone = [[m.twin.compute(*g) for g in given] for m in made]

    def often(number):
        twin, found = wrapper.Model(made[number].file, library / LIBRARY), []
        for _ in range(30):
            found = [twin.compute(*g) for g in given]
        return found

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(often, range(3)))
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            assert all(np.array_equal(a[key], b[key]) for key in a)


SCRIPT = """
import sys
sys.modules |= dict.fromkeys(("torch", "cartalg", "ase", "llvmlite", "numba"))  # an import of these fails
sys.path.insert(0, sys.argv[1])
import json, numpy as np
from cartalg_model import Model
given = [np.array(a) for a in json.load(sys.stdin)]
found = Model().compute(*given)
assert "torch" not in open("/proc/self/maps").read()
print(json.dumps({name: np.asarray(value).tolist() for name, value in found.items()}))
"""


def test_the_wrapper_needs_numpy_alone(exported, library):
    made, atoms = exported(), structures()["slab"]
    given = arrays(atoms, made.twin.elements, made.twin.cutoff)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(library)],
        input=json.dumps([np.asarray(a).tolist() for a in given]),
        capture_output=True,
        text=True,
        check=False,
        env={},
    )
    assert done.returncode == 0, done.stderr
    assert_equal(json.loads(done.stdout)["forces"], reference(made.model, atoms)[0]["forces"], 1e-12)


def test_the_example_in_c_is_compiled_and_right(library, exported, tmp_path):
    folder = tmp_path / "copied"  # to be used where it was not made
    shutil.copytree(library, folder)
    (folder / LIBRARY).unlink()
    subprocess.run(["make", "-s", "example"], cwd=folder, check=True)
    done = subprocess.run(
        [folder / "example", "model.cartalg"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    about, pair, chain = done.stdout.splitlines()
    assert about == "4 elements, the first H; cutoff 3.5 angstrom"
    model = exported().model
    expected, _ = reference(model, Atoms("H2", [[0, 0, 0], [2, 0, 0]]))
    assert pair == (
        f"molecule: {expected['energy']:.6f} eV, force on the second atom {expected['forces'][1, 0]:.6f} eV/angstrom"
    )
    expected, _ = reference(model, Atoms("H2", [[0, 0, 0], [2, 0, 0]], cell=[4, 0, 0], pbc=[True, False, False]))
    assert chain == f"chain: {expected['energy']:.6f} eV, virial {expected['virial'][0, 0]:.6f} eV"
    wrong = subprocess.run([folder / "example", "Makefile"], cwd=folder, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "no exported model" in wrong.stderr
