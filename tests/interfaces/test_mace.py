"""Models of mace-torch, run by mace-torch itself, beside what they are converted to."""

import json
import math
import os
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

import cartalg.datasets
from cartalg.architecture import ModelConfig
from cartalg.cli import app
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.interfaces.mace.back import to_mace
from cartalg.interfaces.mace.check import difference, differentiable
from cartalg.interfaces.mace.contraction import contraction_map, coupling_trees
from cartalg.interfaces.mace.convert import convert
from cartalg.interfaces.mace.run import convert_file
from cartalg.interfaces.mace.source import NotConvertible
from cartalg.model import Potential
from cartalg.symbolic.irreps import Irreps
from cartalg.train.checkpoint import load_model
from cartalg_codegen.specs.labels import TreeReader

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from e3nn import o3
    from mace import modules
    from mace.calculators import MACECalculator

pytestmark = pytest.mark.filterwarnings("ignore")  # of mace and e3nn

RESIDUAL, PLAIN = "RealAgnosticResidualInteractionBlock", "RealAgnosticInteractionBlock"
DENSE_RESIDUAL, DENSE = "RealAgnosticDensityResidualInteractionBlock", "RealAgnosticDensityInteractionBlock"
MODELS = {
    "two layers": {},
    "scalars between layers": {"hidden_irreps": "6x0e", "max_ell": 1},
    "hidden rank 2": {"hidden_irreps": "4x0e+4x1o+4x2e", "max_ell": 3, "correlation": 2},
    "edge rank 3, messages of elements": {"interaction_cls_first": PLAIN, "max_ell": 3},
    "three layers without residuals": {"interaction_cls_first": PLAIN, "interaction_cls": PLAIN, "num_interactions": 3},
    "one layer": {"num_interactions": 1},
    "MACE without scale, two-body": {"scaled": False, "correlation": 1},
    "two heads": {"heads": ["first", "second"], "head": "second"},
    "cutoff after the network": {"apply_cutoff": False, "num_polynomial_cutoff": 6, "radial_MLP": [16]},
    "last readout alone": {"use_last_readout_only": True, "MLP_irreps": "4x0e"},
    "tensors in the last layer": {"keep_last_layer_irreps": True},
    "product shared by elements": {"use_agnostic_product": True},
    "repulsion": {"pair_repulsion": True},
    "repulsion without scale": {"pair_repulsion": True, "scaled": False, "num_polynomial_cutoff": 6},
    "four factors": {"correlation": 4, "max_ell": 1},
    "a correlation for each layer": {"correlation": [3, 1, 2], "num_interactions": 3},
    "hidden rank above the edges'": {"hidden_irreps": "4x0e+4x1o+4x2e", "max_ell": 1},
    "density, Agnesi transform, repulsion": {
        "interaction_cls_first": DENSE,
        "interaction_cls": DENSE_RESIDUAL,
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "density, cutoff after the network": {
        "interaction_cls_first": DENSE_RESIDUAL,
        "interaction_cls": DENSE_RESIDUAL,
        "apply_cutoff": False,
        "max_ell": 1,
    },
    "soft transform, Gaussians": {"distance_transform": "Soft", "radial_type": "gaussian", "max_ell": 1},
    "Agnesi transform, Chebyshev polynomials": {"distance_transform": "Agnesi", "radial_type": "chebyshev"},
    "trained frequencies and transform": {"distance_transform": "Agnesi", "trained": True, "max_ell": 1},
    "many elements": {"atomic_numbers": [1, 6, 8, *range(20, 50)]},
}


def mace(scaled=True, trained=False, **options):
    """A model of mace-torch with random weights, in double precision."""
    torch.manual_seed(0)
    numbers, generator = options.setdefault("atomic_numbers", [1, 6, 8]), np.random.default_rng(0)
    heads = options.get("heads", ["Default"])
    scales = {}
    if scaled:
        scales = {"atomic_inter_scale": [0.7, 1.3][: len(heads)], "atomic_inter_shift": [0.1, -0.2][: len(heads)]}
    given = {
        "r_max": 4.5,
        "num_bessel": 8,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": RESIDUAL,
        "interaction_cls_first": RESIDUAL,
        "num_interactions": 2,
        "num_elements": len(numbers),
        "hidden_irreps": "6x0e+6x1o",
        "MLP_irreps": "16x0e",
        "atomic_energies": generator.normal(size=(len(heads), len(numbers))),
        "avg_num_neighbors": 12.3,
        "correlation": 3,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [16, 16, 16],
        **scales,
        **options,
    }
    for name in ("interaction_cls", "interaction_cls_first"):
        given[name] = modules.interaction_classes[given[name]]
    for name in ("hidden_irreps", "MLP_irreps"):
        given[name] = o3.Irreps(given[name])
    model = (modules.ScaleShiftMACE if scaled else modules.MACE)(**given)
    if trained:
        radial = model.radial_embedding
        radial.bessel_fn.bessel_weights *= torch.linspace(0.9, 1.2, 8)
        for name, value in (("q", 1.1), ("p", 3.9), ("a", 0.8)):
            getattr(radial.distance_transform, name).fill_(value)
    return model


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def frames():
    """A molecule, an isolated atom, an alloy in a cell narrower than twice the cutoff, a slab."""
    ethanol, alloy, slab = molecule("CH3CH2OH"), bulk("Cu", cubic=True) * (2, 1, 1), fcc111("Cu", (2, 1, 3), vacuum=6)
    for number, atoms in enumerate((ethanol, alloy, slab)):
        atoms.rattle(0.05, seed=number)
    for atoms in (alloy, slab):
        atoms.symbols[:] = ["HCO"[n % 3] for n in range(len(atoms))]
    return [ethanol, Atoms("O"), alloy, slab]


def results(atoms, calculator):
    atoms.calc = calculator
    found = [np.array([atoms.get_potential_energy()]), atoms.get_forces()]
    return [*found, atoms.get_stress()] if atoms.pbc.all() else found


def assert_same(model, potential, tolerance, head=None):
    theirs = MACECalculator(models=[model], device="cpu", default_dtype="float64", **({"head": head} if head else {}))
    ours = CartalgCalculator(potential)
    for atoms in frames():
        with differentiable(model):
            reference = results(atoms, theirs)
        for wanted, found in zip(reference, results(atoms, ours), strict=True):
            assert abs(wanted - found).max() <= tolerance * max(abs(wanted).max(), 1e-4)


LARGE = {
    "16 channels, 89 elements": {"hidden_irreps": "16x0e+16x1o", "atomic_numbers": [*range(1, 90)]},
    "32 channels, hidden rank 2": {"hidden_irreps": "32x0e+32x1o+32x2e", "max_ell": 3, "pair_repulsion": True},
    "64 channels, one layer": {"hidden_irreps": "64x0e", "num_interactions": 1, "max_ell": 3},
    "128 channels, rank 3": {"hidden_irreps": "128x0e+128x1o", "max_ell": 3, "radial_MLP": [64, 64, 64]},
    "128 channels, scalars, three layers": {"hidden_irreps": "128x0e", "max_ell": 3, "num_interactions": 3},
}


@pytest.mark.campaign
@pytest.mark.parametrize("name", LARGE)
def test_models_of_the_sizes_that_people_have(name, tmp_path):
    model = mace(**LARGE[name])
    potential = convert(model, None, "direct")
    assert_same(model, potential, 1e-9)
    assert difference(to_mace(potential), potential).forces < 1e-12
    torch.save(model, tmp_path / "mace.model")
    assert convert_file(tmp_path / "mace.model", tmp_path / "run", trust=True, dtype="float32").written.forces < 1e-5


@pytest.mark.campaign
def test_four_factors_of_rank_3():
    """MACE takes a minute for its own tensors."""
    model = mace(correlation=[2, 4], max_ell=3, hidden_irreps="4x0e+4x1o")
    potential = convert(model, None, "direct")
    assert_same(model, potential, 1e-9)
    assert difference(to_mace(potential), potential).forces < 1e-12


#: What the others have between them, so that a campaign alone has these.
RARE = {
    *("scalars between layers", "MACE without scale, two-body", "last readout alone", "tensors in the last layer"),
    *("product shared by elements", "repulsion", "hidden rank above the edges'", "density, cutoff after the network"),
    *("trained frequencies and transform", "two layers"),
}
EACH = [pytest.param(name, marks=[pytest.mark.campaign] * (name in RARE)) for name in MODELS]


@pytest.mark.parametrize("name", EACH)
def test_a_converted_model_is_the_same_function_and_goes_back(name):
    """By mace's own classes; the weights of its contractions are not larger than they were."""
    options = dict(MODELS[name])
    head = options.pop("head", None)
    model = mace(**options)
    potential = convert(model, head, "direct")
    assert_same(model, potential, 1e-9, head)
    again = to_mace(potential)
    found = difference(again, potential)
    assert max(0.1 * found.energy, found.forces) < 1e-12
    assert squares(again) <= squares(model) * (1 + 1e-12)


def squares(model):
    """Of all weights of contractions to irreps that are used."""
    used = [list(product.symmetric_contractions.contractions) for product in model.products]
    used[-1] = used[-1][:1]
    return sum(float(p.square().sum()) for of_layer in used for c in of_layer for p in c.parameters())


def test_weights_of_trees_are_the_smallest():
    """What is added to them and changes nothing is orthogonal to them: the way back is the pseudoinverse, exactly."""
    known = contraction_map(2, 1, 3)
    matrix = np.array([[float(v) for v in row] for row in known.matrix])
    roots = np.sqrt([float(q) for q in known.squares])[:, None]
    back = roots * np.array([[float(v) for v in row] for row in known.back])
    assert abs(back - np.linalg.pinv((roots * matrix).T)).max() < 1e-12


@pytest.mark.parametrize("case", [(1, 0, 3), (2, 1, 3), (3, 0, 2), (3, 1, 3), (3, 2, 2)])
def test_the_map_of_contractions_is_exact(case):
    """Over Q: MACE's trees are the map's combinations of the product basis, at points that it was not made from."""
    features, out, order = case
    known, irreps = contraction_map(*case), Irreps.natural(features)
    assert len(known.trees) > len(known.terms) or order < 3
    random = Random(7)
    for _ in range(2):
        reader = TreeReader(
            irreps, [Fraction(random.randint(-99, 99), random.randint(1, 9)) for _ in range(irreps.dim)]
        )
        terms = [reader.tree(label) for label in known.terms]
        for label, row in zip(known.trees, known.matrix, strict=True):
            combined = [sum(c * t[k] for c, t in zip(row, terms, strict=True)) for k in range(2 * out + 1)]
            assert combined == reader.tree(label)


@pytest.mark.parametrize(("features", "out", "count"), [(1, 0, 2), (2, 0, 5), (2, 1, 5), (3, 0, 8), (3, 1, 12)])
def test_the_map_has_full_rank(features, out, count):
    """As many independent terms as the symmetric cube of the features holds the output: by its character."""
    known = contraction_map(features, out, 3)

    def character(rank, angle):
        return 1 + 2 * sum(math.cos(m * angle) for m in range(1, rank + 1))

    def of_features(sign, angle):
        return sum(sign**rank * character(rank, angle) for rank in range(features + 1))

    total = 0.0
    for sign in (1, -1):  # rotations, and rotations with an inversion
        for angle in (2 * math.pi * (k + 0.5) / 64 for k in range(64)):
            one, two, three = of_features(sign, angle), of_features(1, 2 * angle), of_features(sign, 3 * angle)
            cube = (one**3 + 3 * one * two + 2 * three) / 6
            total += cube * sign**out * character(out, angle) * (1 - math.cos(angle)) / 128
    assert len(known.terms) == count == round(total)
    assert abs(total - round(total)) < 1e-9


def test_trees_are_in_the_order_of_the_weights():
    labels = [label for label, _ in coupling_trees(Irreps.natural(1), 3, Irreps.natural(0).irreps[0])]
    assert labels == [
        "((A0e A0e)0e A0e)0e",
        "((A1o A1o)0e A0e)0e",
        "((A0e A1o)1o A1o)0e",
        "((A1o A0e)1o A1o)0e",
    ]


def test_a_file_becomes_the_folder_of_a_run(tmp_path):
    torch.set_default_dtype(torch.float32)
    model = mace()
    torch.save(model, tmp_path / "mace.model")
    found = convert_file(tmp_path / "mace.model", tmp_path / "run", trust=True)
    assert torch.get_default_dtype() == torch.float32
    potential = load_model(tmp_path / "run")
    assert (potential.config.dtype, potential.config.radial_mode) == ("float32", "table")
    assert found.exact.forces < 1e-6
    assert found.written.forces < 1e-5
    torch.set_default_dtype(torch.float64)
    assert_same(model.double(), potential, 2e-5)  # these frames are not those that the table was chosen on


def test_a_converted_model_is_trained_further(tmp_path):
    """By the configuration that lies in its folder, from what it is, and its errors become less."""
    more = {"distance_transform": "Agnesi", "interaction_cls_first": DENSE, "interaction_cls": DENSE_RESIDUAL}
    model = mace(max_ell=1, hidden_irreps="4x0e+4x1o", correlation=2, r_max=3.0, **more)
    torch.save(model.float(), tmp_path / "mace.model")
    converted, tuned = tmp_path / "converted", tmp_path / "tuned"
    run("convert", tmp_path / "mace.model", "--output", converted, "--trust")
    frames = []
    for number in range(12):
        frames.append(molecule("CH3OH", calculator=EMT()))
        frames[-1].rattle(0.05, seed=number)
        labels = {"REF_energy": frames[-1].get_potential_energy()}
        frames[-1].arrays["REF_forces"], frames[-1].calc = frames[-1].get_forces(), None
        frames[-1].info.update(labels)
    write(tmp_path / "train.xyz", frames, format="extxyz")
    config = yaml.safe_load((converted / "config.yaml").read_text())
    config["data"] = {"train": "train.xyz", "valid_count": 4}
    settings = {"epochs": 15, "batch_size": 2, "learning_rate": 0.05, "ema_decay": 0.5}
    config["training"] = {**settings, "start_from": str(converted)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    torch.set_default_dtype(torch.float32)
    run("train", tmp_path / "config.yaml", "--output", tuned)
    errors = [
        json.loads(run("evaluate", folder, tmp_path / "train.xyz", "--json").stdout) for folder in (converted, tuned)
    ]
    key = next(name for name in errors[0] if name.startswith("forces") and "rmse" in name)
    assert errors[1][key] < 0.9 * errors[0][key]
    refused = CliRunner().invoke(app, ["convert", str(tmp_path / "mace.model"), "--output", str(tuned), "--trust"])
    assert "holds a training run" in refused.stderr
    shown = run("convert", tuned, "--to", "mace", "--output", tmp_path / "tuned.model").stdout
    assert "a ScaleShiftMACE of mace-torch" in shown
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=3)
    theirs = MACECalculator(model_paths=[str(tmp_path / "tuned.model")], device="cpu", default_dtype="float64")
    found, wanted = (results(atoms, c) for c in (theirs, CartalgCalculator(load_model(tuned))))
    assert abs(found[0] - wanted[0]).max() < 1e-4
    assert abs(found[1] - wanted[1]).max() < 1e-4 * abs(wanted[1]).max()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "model.product: limited"),
        ({"product": "independent"}, "model.readouts: all"),
        ({"product": "independent", "readouts": "inner"}, "model.residual: scales"),
        ({"product": "independent", "readouts": "inner", "residual": "matrices", "zbl": True}, "zbl_form"),
        ({"product": "independent", "readouts": "inner", "layers": 1, "element_messages": 1}, "single layer"),
    ],
)
def test_what_mace_has_no_equal_of_is_named(options, what):
    potential = Potential(
        ModelConfig(**{"channels": 2, "edge_rank": 1, "hidden_rank": 1, "zbl": False, **options}), ("H",)
    )
    with pytest.raises(NotConvertible, match=what):
        to_mace(potential)


def test_matrices_of_elements_that_were_trained_apart_stay():
    potential = convert(mace(**MODELS["three layers without residuals"]), None, "direct")
    weight = next(iter(potential.interactions[1].convolution.mix.weight.values()))
    with torch.no_grad():
        weight += torch.randn_like(weight)
    with pytest.raises(NotConvertible, match="element_messages"):
        to_mace(potential)


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"correlation": 5, "max_ell": 1}, "correlation 5"),
        ({"hidden_irreps": "4x0e+4x1e"}, "hidden irreps"),
        ({"interaction_cls": DENSE_RESIDUAL}, "a density in some of the layers"),
        ({"interaction_cls": "RealAgnosticAttResidualInteractionBlock"}, "RealAgnosticAttResidual"),
        ({"interaction_cls": PLAIN}, "behind a residual one"),
        ({"gate": torch.tanh}, "gate"),
        ({"heads": ["a", "b"]}, "choose one with --head"),
    ],
)
def test_what_has_no_equal_is_named(options, what):
    with pytest.raises(NotConvertible, match=what):
        convert(mace(**options))


def test_another_contraction_is_noticed():
    model = mace()
    with torch.no_grad():
        model.products[0].symmetric_contractions.contractions[1].U_matrix_2[0, 1, 2, 0] += 0.1
    with pytest.raises(NotConvertible, match="is not"):
        convert(model)


def test_nothing_is_read_without_trust(tmp_path):
    (tmp_path / "mace.model").write_bytes(b"not read")
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "mace.model"), "--output", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "--trust" in result.stderr
    assert not (tmp_path / "run").exists()


def trained_by_mace(folder, train, valid, test, epochs, channels):
    """`mace_run_train` in a folder: its model, and its own errors on the test frames, as it prints them."""
    for name, frames in (("train", train), ("valid", valid), ("test", test)):
        plain = [Atoms(a.symbols, a.positions) for a in frames]
        for bare, atoms in zip(plain, frames, strict=True):
            bare.info["REF_energy"] = atoms.info["REF_energy"]
            bare.arrays["REF_forces"] = atoms.arrays["REF_forces"]
        write(folder / f"{name}.xyz", plain, format="extxyz")
    files = [part for name in ("train", "valid", "test") for part in (f"--{name}_file", f"{name}.xyz")]
    sizes = {"num_channels": channels, "max_L": 1, "max_ell": 2, "r_max": 4.0, "batch_size": 4, "correlation": 3}
    settings = {"max_num_epochs": epochs, "device": "cpu", "default_dtype": "float32", "seed": 0, "E0s": "average"}
    keys = {"energy_key": "REF_energy", "forces_key": "REF_forces", "name": "small", "model": "MACE"}
    options = [part for k, v in {**sizes, **settings, **keys}.items() for part in (f"--{k}", str(v))]
    command = [sys.executable, "-m", "mace.cli.run_train", *files, *options]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    table = (done.stdout + done.stderr).split("Error-table on TEST")[1]
    row = next(line for line in table.splitlines() if line.startswith("| Default"))
    energy, forces = (float(cell) for cell in row.split("|")[2:4])
    return folder / "small.model", energy, forces


def assert_same_errors(folder, model, energy, forces):
    """To what the table shows: its last digit, and 1e-4."""
    torch.set_default_dtype(torch.float32)
    run("convert", model, "--output", folder / "run", "--trust")
    found = json.loads(run("evaluate", folder / "run", folder / "test.xyz", "--json").stdout)
    for key, wanted in (("energy_per_atom_rmse_meV_per_atom", energy), ("forces_rmse_meV_per_A", forces)):
        assert abs(found[key] - wanted) <= 0.051 + 1e-4 * wanted, (key, found[key], wanted)


def test_what_mace_trains_has_the_same_errors_here(tmp_path):
    frames = read(Path(cartalg.datasets.__file__).parent / "acetamide" / "acetamide.xyz.gz", ":26")
    found = trained_by_mace(tmp_path, frames[:12], frames[12:16], frames[16:], epochs=1, channels=4)
    assert_same_errors(tmp_path, *found)


@pytest.mark.campaign
def test_what_mace_trains_on_acetylacetone_has_the_same_errors_here(tmp_path):
    """The folder of data sets is named by CARTALG_TEST_DATA."""
    folder = Path(os.environ.get("CARTALG_TEST_DATA", "")) / "acetylacetone"
    if not (folder / "test_300K.xyz").exists():
        pytest.skip("CARTALG_TEST_DATA names no folder with acetylacetone")
    frames, test = read(folder / "train_300K.xyz", ":120"), read(folder / "test_300K.xyz", ":100")
    for atoms in (*frames, *test):
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
    found = trained_by_mace(tmp_path, frames[:100], frames[100:], test, epochs=5, channels=16)
    assert_same_errors(tmp_path, *found)
