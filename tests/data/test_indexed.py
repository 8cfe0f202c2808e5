"""Frames that stay on the disk."""

import gc

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from cartalg.data.frames import DataError, Frame, read_frames, split_isolated
from cartalg.data.indexed import KEPT, IndexedFile
from cartalg.data.lazy import ConcatDataset, LazyDataset, Subset


def frames(count):
    for n in range(count):
        atoms = molecule("H2O" if n % 2 else "CH4")
        atoms.info["energy"] = float(n)
        atoms.arrays["forces"] = np.full((len(atoms), 3), n / 10)
        yield atoms


def test_each_frame_as_if_the_file_were_read_whole(tmp_path):
    path = tmp_path / "a.xyz"
    write(path, list(frames(10)), format="extxyz")
    indexed, whole = IndexedFile(path, weight=2.0), read_frames(path)
    assert len(indexed) == 10
    for n in (9, 0, 4, -1):
        assert indexed[n].energy == whole[n].energy
        assert indexed[n].source == whole[n].source
        assert indexed[n].weight == 2.0
        np.testing.assert_array_equal(indexed[n].labels["forces"], whole[n].labels["forces"])
        np.testing.assert_array_equal(indexed[n].atoms.positions, whole[n].atoms.positions)
    assert [f.energy for f in indexed[2:5]] == [2, 3, 4]
    with pytest.raises(IndexError, match="item 10 asked for, there are 10"):
        indexed[10]


def test_few_frames_are_in_memory(tmp_path):
    path = tmp_path / "a.xyz"
    write(path, list(frames(300)), format="extxyz")
    indexed = IndexedFile(path)
    assert sum(f.energy for f in indexed) == sum(range(300))
    gc.collect()
    assert sum(type(o) is Frame for o in gc.get_objects()) <= KEPT + 1


def test_a_damaged_file_is_named_with_its_frame(tmp_path):
    path = tmp_path / "a.xyz"
    write(path, list(frames(4)), format="extxyz")
    text = path.read_text()
    path.write_text(text[: text.rindex("H")])
    with pytest.raises(DataError, match=r"a\.xyz, frame 3: truncated, it should have 3 atoms"):
        IndexedFile(path)
    path.write_text(text.replace("\n3\n", "\nthree\n", 1))
    with pytest.raises(DataError, match="frame 1: begins with b'three"):
        IndexedFile(path)
    lines = text.splitlines()
    lines[3] = "H 0 zero 0 0 0 0"
    path.write_text("\n".join(lines) + "\n\n\n")
    indexed = IndexedFile(path)
    assert indexed[1].energy == 1
    with pytest.raises(DataError, match="frame 0: cannot be read"):
        indexed[0]
    with pytest.raises(DataError, match="only plain extended XYZ"):
        IndexedFile(path.rename(tmp_path / "a.db"))
    (tmp_path / "b.xyz").write_text("\n")
    with pytest.raises(DataError, match="holds no frame"):
        IndexedFile(tmp_path / "b.xyz")


def test_isolated_atoms_are_found_without_reading_the_rest(tmp_path):
    path, read = tmp_path / "a.xyz", []
    atom = molecule("H")
    atom.info.update(config_type="IsolatedAtom", energy=-13.0)
    write(path, [*frames(5), atom], format="extxyz")
    indexed = IndexedFile(path)

    def note(n):
        read.append(n)
        return indexed[n]

    others, energies = split_isolated(LazyDataset(note, 6), indexed.atoms)
    assert energies == {"H": -13.0}
    assert len(others) == 5
    assert read == [5]


def test_parts_and_unions():
    joined = ConcatDataset([[0, 1], [], Subset("abcd", [3, 1])])
    assert list(joined) == [0, 1, "d", "b"]
    assert joined[-1] == "b"
    assert joined[1:3] == [1, "d"]
    assert [len(ConcatDataset([])), len(LazyDataset(str, 3))] == [0, 3]
    assert LazyDataset(str, 3)[::-1] == ["2", "1", "0"]
    with pytest.raises(IndexError, match="2"):
        Subset("abcd", [3, 1])[2]
