from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.geometry import complete_cell
from ase.io import write

from cartalg.data.frames import (
    DataError,
    groups_by,
    read_frames,
    read_numbers,
    require_labels,
    split_isolated,
    to_frame,
)
from cartalg.data.graphs import build_graph, find_pairs
from cartalg.data.indexed import IndexedFile
from cartalg.data.statistics import Compositions, element_shifts, gather
from cartalg.quantities import QUANTITIES, find


def water(**info):
    atoms = molecule("H2O")
    atoms.info.update(info)
    return atoms


FORCES = np.arange(9.0).reshape(3, 3) / 7


@pytest.mark.parametrize("style", ["plain", "REF_", "calculator", "own keys"])
def test_labels_are_found(tmp_path, style):
    atoms = water()
    quantities = QUANTITIES
    if style == "calculator":
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=FORCES)
        frame = to_frame(atoms)
    else:
        names = {"plain": ("energy", "forces"), "REF_": ("REF_energy", "REF_forces"), "own keys": ("dft_e", "dft_f")}[
            style
        ]
        atoms.info[names[0]] = -3.0
        atoms.arrays[names[1]] = FORCES
        write(tmp_path / "a.xyz", atoms, format="extxyz")
        if style == "own keys":
            quantities = [replace(find(q), key=key) for q, key in zip(("energy", "forces"), names, strict=True)]
        (frame,) = read_frames(tmp_path / "a.xyz", quantities)
    assert frame.energy == -3.0
    np.testing.assert_allclose(frame.labels["forces"], FORCES, atol=1e-8)


def test_ref_labels_win_over_plain_ones():
    atoms = water(energy=1.0, REF_energy=2.0)
    assert to_frame(atoms).energy == 2.0


def test_frames_are_grouped_by_a_key_of_theirs():
    frames = [to_frame(water(kind=kind, kelvin=t, energy=1.0)) for kind, t in (("b", 300), ("a", 300), ("b", 600))]
    assert groups_by(frames, "kind") == {"a": [1], "b": [0, 2]}
    assert groups_by(frames, "kelvin") == {"300": [0, 1], "600": [2]}
    with pytest.raises(DataError, match=r"no key 'energy' to group by; its keys are kelvin, kind$"):
        groups_by(frames, "energy")
    with pytest.raises(DataError, match="'x' has 51 values in 51 frames"):
        groups_by([to_frame(water(x=0.1 * n)) for n in range(51)], "x")


def test_a_constraint_does_not_zero_reference_forces(tmp_path):
    atoms = water()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=FORCES)
    atoms.set_constraint(FixAtoms([0, 1]))
    np.testing.assert_array_equal(to_frame(atoms).labels["forces"], FORCES)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (frame,) = read_frames(tmp_path / "a.xyz")
    np.testing.assert_allclose(frame.labels["forces"], FORCES, atol=1e-8)


def test_missing_labels_are_an_error_never_zeros():
    frames = [to_frame(water(energy=1.0), source="a.xyz, frame 0"), to_frame(water(), source="a.xyz, frame 1")]
    for name, message in (
        (
            "energy",
            r"frame 1: no energy; looked under REF_energy, energy and .*data\.energy_key.*training\.energy_weight",
        ),
        ("forces", "frame 0: no forces"),
        ("stress", "frame 0: no stress in this or any other frame"),
    ):
        with pytest.raises(DataError, match=message):
            require_labels(frames, [find(name)])
    require_labels(frames[:1], [find("energy")])
    require_labels([frames[0], to_frame(water(stress=np.ones(6)))], [find("stress")])
    with pytest.raises(DataError, match="'dft_e'; the frame has energy"):
        to_frame(water(energy=1.0), [replace(find("energy"), key="dft_e")])


def test_bad_labels_are_named():
    with pytest.raises(DataError, match="energy is not finite"):
        to_frame(water(energy=float("nan")))
    atoms = water(energy=0.0)
    atoms.arrays["forces"] = np.full((3, 3), np.inf)
    with pytest.raises(DataError, match="forces is not finite"):
        to_frame(atoms)
    with pytest.raises(DataError, match="energy must have 1 numbers"):
        to_frame(water(energy=np.zeros(2)))
    with pytest.raises(DataError, match="stress must have 6 or 9"):
        to_frame(water(stress=np.zeros(5)))
    with pytest.raises(DataError, match="not symmetric"):
        to_frame(water(stress=np.arange(9.0)))
    atoms = water()
    atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    atoms.calc.results["forces"] = np.zeros((2, 3))
    with pytest.raises(DataError, match=r"forces must have 9 numbers, shape \(3, 3\), got shape \(2, 3\)"):
        to_frame(atoms)
    carbon_dioxide = molecule("CO")
    carbon_dioxide.calc = SinglePointCalculator(carbon_dioxide)
    carbon_dioxide.calc.results["forces"] = np.zeros((3, 2))  # as many numbers, but transposed
    with pytest.raises(DataError, match=r"shape \(2, 3\), got shape \(3, 2\)"):
        to_frame(carbon_dioxide)
    atoms = water()
    atoms.positions[0, 0] = np.nan
    with pytest.raises(DataError, match="positions or cell are not finite"):
        to_frame(atoms)


def test_stress_from_voigt_or_matrix():
    (matrix,) = to_frame(water(stress=np.array([1.0, 2, 3, 4, 5, 6]))).labels["stress"]
    np.testing.assert_array_equal(matrix, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    np.testing.assert_array_equal(to_frame(water(stress=matrix.ravel())).labels["stress"], [matrix])


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_truncated_file_is_an_error(tmp_path, cut):
    path = tmp_path / "a.xyz"
    for n in range(3):
        write(path, water(energy=float(n)), format="extxyz", append=True)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-cut]))
    with pytest.raises(DataError, match=r"a\.xyz.*truncated"):
        read_frames(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\nProperties=species:S:1:po:R:3\nH 1 2 3\n", "frame 0: Properties=species:S:1:po:R:3 names no pos"),
        ("1\nProperties=specie:S:1:pos:R:3\nH 1 2 3\n", "names no species"),
        ("1\nPropertis=species:S:1:pos:R:3:forces:R:3\nH 1 2 3 4 5 6\n", "atom 0 has 7 columns, but 4 are named"),
        ("1\nProperties=species:S:1:pos:R:x\nH 1 2 3\n", "not made of name:type:columns"),
        ("-1\n\n", "not with a number of atoms"),
        ('1\npbc="F F F energy=1\nH 1 2 3\n', "do not close, so labels would be lost"),
        ('1\npbc=[["F F F" energy=1\nH 1 2 3\n', "do not close, so labels would be lost"),
        ("1\r\r\nenergy=1\r\r\nH 1 2 3\r\r\n", "carriage returns"),
        ("1\nenergy=1\nH 1 2 3\u20284\n", "neither a symbol nor a number"),
    ],
)
@pytest.mark.parametrize("reader", [read_frames, IndexedFile])
def test_columns_are_what_the_file_says(tmp_path, reader, text, says):
    """Without positions ASE puts all atoms at the origin; columns of no name it leaves out, forces too."""
    (tmp_path / "a.xyz").write_text(text, newline="")
    with pytest.raises(DataError, match=says):
        reader(tmp_path / "a.xyz")


def test_missing_empty_and_out_of_range(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        read_frames(tmp_path / "none.xyz")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(DataError, match=r"empty\.xyz"):
        read_frames(tmp_path / "empty.xyz")
    write(tmp_path / "a.xyz", water(), format="extxyz")
    with pytest.raises(DataError, match="frames 0 to 0"):
        read_frames(tmp_path / "a.xyz", numbers=[3])
    (tmp_path / "numbers.txt").write_text("3\n\n 12\n")
    assert read_numbers(tmp_path / "numbers.txt") == [3, 12]
    (tmp_path / "numbers.txt").write_text("3\n-1\n")
    with pytest.raises(DataError, match=r"numbers\.txt, line 2: '-1' is not a frame number"):
        read_numbers(tmp_path / "numbers.txt")


def compositions(frames, elements):
    found = Compositions(elements)
    for frame in frames:
        found.add(frame, frame.energy)
    return found


def test_isolated_atoms_are_kept_apart():
    atom = Atoms("H", info={"config_type": "IsolatedAtom", "energy": -13.0})
    frames = [to_frame(atom), to_frame(water(energy=-20.0))]
    others, energies = split_isolated(frames)
    assert energies == {"H": -13.0}
    assert len(others) == 1
    with pytest.raises(DataError, match="no isolated-atom energy for O"):
        element_shifts(compositions(others, ("H", "O")), energies)
    atom.info["energy"] = -14.0
    with pytest.raises(DataError, match="second, different energy"):
        split_isolated([*frames, to_frame(atom)])
    with pytest.raises(DataError, match="one atom"):
        to_frame(water(config_type="IsolatedAtom"))


def test_shifts_by_least_squares_recover_element_energies():
    energies = {"H": -1.5, "O": -7.0}
    frames = []
    for name in ("H2O", "H2", "O2", "OH"):
        atoms = molecule(name)
        atoms.info["energy"] = sum(energies[s] for s in atoms.get_chemical_symbols())
        frames.append(to_frame(atoms))
    assert element_shifts(compositions(frames, ("H", "O")), None) == pytest.approx(energies)
    graphs = [build_graph(f.atoms, 3.0, ("H", "O")) for f in frames]
    assert gather(frames, graphs, ("H", "O"), None).shifts == pytest.approx(energies)


def test_bad_geometry_is_named():
    with pytest.raises(DataError, match=r"atoms 0 and 1 are 0\.0000 A apart"):
        build_graph(Atoms("H2", [[0, 0, 0], [0, 0, 0]]), 3.0, ("H",))
    flat = bulk("Cu")
    flat.set_cell([[1, 0, 0], [2, 0, 0], [0, 0, 1]])
    with pytest.raises(DataError, match=r"singular, but pbc is \[True, True, True\]"):
        find_pairs(flat, 3.0)
    with pytest.raises(DataError, match="singular"):
        find_pairs(Atoms("H", pbc=True), 3.0)
    for far in (1e9, 1e30, 1e200):
        with pytest.raises(DataError, match="frame: positions or cell reach 1"):
            find_pairs(Atoms("H2", [[0, 0, 0], [far, 0, 0]], cell=[6, 6, 6], pbc=True), 3.0)
    with pytest.raises(DataError, match="singular"):  # a search through 10^11 images otherwise
        find_pairs(Atoms("H", cell=[1e-3, 1e-3, 1e-3], pbc=True), 5.0)
    broken = Atoms("H2", [[0, 0, 0], [0, 0, np.nan]])
    with pytest.raises(DataError, match="positions or cell are not finite"):
        find_pairs(broken, 3.0)
    apart = Atoms("H2", [[0, 0, 0], [9e7, 9e7, 9e7]], cell=[0.06] * 3, pbc=True)
    with pytest.raises(DataError, match="atoms are too many cells apart; wrap them into the cell"):
        find_pairs(apart, 1.0)


def images_within(atoms, cutoff, reach):
    """Pairs with every image up to a number of cells away, one by one."""
    found, cell = set(), complete_cell(np.where(np.reshape(atoms.pbc, (3, 1)), atoms.cell.array, 0.0))
    for shift in product(*(range(-reach, reach + 1) if p else (0,) for p in atoms.pbc)):
        apart = atoms.positions[None] + np.array(shift) @ cell - atoms.positions[:, None]
        near = np.argwhere((apart**2).sum(-1) < cutoff**2)
        found |= {(i, j, *shift) for i, j in near.tolist() if i != j or any(shift)}
    return found


@pytest.mark.parametrize(
    ("atoms", "reach"),
    [
        (Atoms("H3", [[0, 0, 0], [1, 0, 0], [1e6, 0, 0]], cell=[6, 6, 6], pbc=[False, True, True]), 1),
        (Atoms("H3", [[0, 0, 0], [1, 0, 0], [1e6, 1, 0]]), 0),
        (Atoms("H2", [[0, 0, 0], [1, 0, 0]], cell=[1e6, 6, 6], pbc=True), 1),
        (Atoms("H2", [[0, 0, 0], [1, 0, 0]], cell=[2000, 2000, 2.9], pbc=True), 2),
        (Atoms("H2", [[0, 0, 0], [1, 0, 0]], cell=[[5, 0, 0], [8, 5, 0], [-8, 3, 5]], pbc=True), 4),
        (Atoms("H2", [[0, 0, 0], [1, 0, 0]], cell=[[5, 0, 0], [1e3, 1e-6, 0], [0, 0, 9]], pbc=[True, False, False]), 1),
    ],
    ids=["far along an open axis", "far in the open", "long cell", "thin slab", "skewed", "flat along an open axis"],
)
def test_pairs_are_found_where_cell_lists_end(atoms, reach):
    pairs = find_pairs(atoms, 3.0)
    shifts = pairs.images[pairs.image]
    found = list(zip(pairs.receiver.tolist(), pairs.sender.tolist(), *shifts.T.tolist(), strict=True))
    assert found == sorted(images_within(atoms, 3.0, reach))


def test_the_vectors_of_a_lattice_do_not_matter():
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.1, seed=1)
    skewed = crystal.copy()
    skewed.set_cell(np.array([[1, 0, 0], [700, 1, 0], [-30, 900, 1]]) @ crystal.cell.array)
    lengths = [np.sort(np.linalg.norm(find_pairs(a, 5.0).vectors(a), axis=1)) for a in (crystal, skewed)]
    np.testing.assert_allclose(*lengths, atol=1e-9)
