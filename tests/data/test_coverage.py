import json

import numpy as np
import pytest
from ase.build import bulk, molecule

from cartalg.data.coverage import Coverage, read_coverage
from cartalg.data.dataset import Dataset
from cartalg.data.frames import DataError, to_frame
from cartalg.train.records import write_json


def labelled(seed):
    """Two molecules and a crystal, with labels at random."""
    rng = np.random.default_rng(seed)
    for atoms in (molecule("CH3OH"), molecule("H2O"), bulk("Cu", cubic=True)):
        atoms.rattle(0.1, rng=rng)
        atoms.info["energy"] = -3.0 * len(atoms) + rng.normal()
        atoms.arrays["forces"] = rng.normal(size=(len(atoms), 3))
        yield atoms


def test_it_is_what_the_frames_hold(tmp_path):
    images = [atoms for seed in range(3) for atoms in labelled(seed)]
    frames, elements = [to_frame(atoms) for atoms in images], ("H", "C", "O", "Cu")
    found = Coverage.of(frames, Dataset.build(frames, 3.0, elements).graphs, elements)
    forces = np.concatenate([atoms.arrays["forces"] for atoms in images])
    assert found.force == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert found.typical_force == pytest.approx(np.sqrt((forces**2).mean()))
    shortest = {}
    for atoms in images:
        symbols = atoms.get_chemical_symbols()
        distances = atoms.get_all_distances(mic=True)
        for a in range(len(atoms)):
            for b in range(a):
                pair = "-".join(sorted((symbols[a], symbols[b])))
                shortest[pair] = min(shortest.get(pair, 3.0), distances[a, b])
    assert found.distances == pytest.approx({pair: d for pair, d in shortest.items() if d < 3.0})
    above = [found.above(atoms, atoms.info["energy"]) for atoms in images]
    assert found.energy == pytest.approx((min(above), max(above)))
    assert sum(a * len(atoms) for a, atoms in zip(above, images, strict=True)) == pytest.approx(0)
    assert found.above(molecule("NH3"), 0.0) is None
    write_json(tmp_path / "coverage.json", found.as_json())
    assert read_coverage(tmp_path / "coverage.json") == found
    assert json.loads((tmp_path / "coverage.json").read_text())["distances"].keys() >= {"C-O", "H-O", "Cu-Cu"}


def test_without_labels_there_are_distances_alone(tmp_path):
    frames = [to_frame(molecule("H2O"))]
    found = Coverage.of(frames, Dataset.build(frames, 3.0, ("H", "O")).graphs, ("H", "O"))
    assert (found.energy, found.force, found.above(frames[0].atoms, 1.0)) == (None, None, None)
    assert found.distances.keys() == {"H-O", "H-H"}
    (tmp_path / "bad.json").write_text('{"energy": 1}')
    with pytest.raises(DataError, match=r"bad\.json: not the coverage"):
        read_coverage(tmp_path / "bad.json")
