"""The table of quantities: everything that reads, learns, compares and shows labels goes by it.

Walk of a new kind of label, atomic charges: a row of the table; where a model has a head of its own for them, also that
head, its switch in `ModelConfig` and a field of `Prediction`. All else is tested here with such a row.
"""

import subprocess
import sys
from dataclasses import fields, replace
from inspect import signature

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console
from torch import nn

from cartalg.architecture import ModelConfig, TensorProperty
from cartalg.cli.potential import errors_table
from cartalg.data.dataset import Dataset
from cartalg.data.frames import DataError, require_labels, to_frame
from cartalg.model import Potential, Prediction
from cartalg.quantities import QUANTITIES, Quantity, Unit, find, request
from cartalg.train.config import TrainingConfig
from cartalg.train.loss import entries, loss_terms, mean_loss, validation_loss
from cartalg.train.metrics import compare
from cartalg.train.plots import learning_curve, parity
from cartalg.train.run import progress_note

CHARGES = Quantity("charges", 0, atomic=True, unit=Unit("e", "me", 1e3), weight=2.0)
TABLE = (*QUANTITIES, CHARGES)
ELEMENTS = ("H", "C", "O")
TRUE_CHARGES = torch.tensor([0.1, -0.2, -0.4], dtype=torch.float64)


class WithCharges(nn.Module):
    """A potential and a charge for each element: the smallest model that predicts another kind of label."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        config = ModelConfig(cutoff=3.0, channels=2, edge_rank=1, correlation=1, radial_hidden=(4,), knots=32)
        self.potential = Potential(config, ELEMENTS)
        self.charge = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, graph, properties=False, **asked):
        found = self.potential(graph, **asked)
        return replace(found, properties={"charges": self.charge[graph.species]} if properties else {})


def frames(number):
    """Molecules, every second one with charges, some without energy and forces."""
    for n in range(number):
        atoms = molecule("CH3OH" if n % 2 else "C2H6")
        atoms.rattle(0.05, rng=np.random.default_rng(n))
        if n % 3:
            atoms.calc = EMT()
            atoms.info["energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        if n % 2:
            atoms.arrays["REF_charges"] = TRUE_CHARGES.numpy()[[ELEMENTS.index(s) for s in atoms.symbols]]
        yield to_frame(atoms, TABLE, f"frame {n}")


def test_rows_are_of_what_a_model_predicts():
    keywords = signature(Potential.forward).parameters
    for quantity in QUANTITIES:
        assert quantity.field in {f.name for f in fields(Prediction)}
    assert request([]).keys() < keywords.keys()
    assert request([find("stress")]) == {"properties": False, "forces": False, "virial": True}
    assert request(TABLE) == {"properties": True, "forces": True, "virial": True}
    with pytest.raises(LookupError, match="no quantity 'charge'; there are energy, forces, stress, charges"):
        find("charge", TABLE)


def test_keys_of_errors_are_those_that_other_tools_read():
    dipole = TensorProperty(name="dipole", tensor="i").quantity
    keys = [r.key(m) for q in (*QUANTITIES, dipole) for r in q.reports for m in ("mae", "rmse")]
    assert keys == [
        "energy_mae_meV",
        "energy_rmse_meV",
        "energy_per_atom_mae_meV_per_atom",
        "energy_per_atom_rmse_meV_per_atom",
        "forces_mae_meV_per_A",
        "forces_rmse_meV_per_A",
        "stress_mae_meV_per_A3",
        "stress_rmse_meV_per_A3",
        "dipole_mae",
        "dipole_rmse",
    ]
    assert dipole.compared.headline == ("dipole_relative_rmse_percent", "%")
    assert find("energy").compared.headline == ("energy_per_atom_rmse_meV_per_atom", "meV/atom")


def test_labels_are_read_by_the_row():
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, charges=[-0.8, 0.4, 0.4])
    assert to_frame(atoms, TABLE).labels["charges"].tolist() == [-0.8, 0.4, 0.4]
    assert "charges" not in to_frame(atoms).labels
    atoms.arrays["mulliken"] = np.zeros(3)
    assert to_frame(atoms, [replace(CHARGES, key="mulliken")]).labels["charges"].tolist() == [0, 0, 0]
    atoms.arrays["REF_charges"] = np.zeros((3, 2))
    with pytest.raises(DataError, match=r"charges must have 3 numbers, shape \(3,\), got shape \(3, 2\)"):
        to_frame(atoms, TABLE)
    with pytest.raises(DataError, match="no charges in this or any other frame; looked under REF_charges, charges and"):
        require_labels([to_frame(molecule("H2O"), TABLE)], [CHARGES])


def test_batches_know_which_frames_have_a_label():
    dataset = Dataset.build(list(frames(4)), 3.0, ELEMENTS, TABLE)
    graph, labels = dataset.batch([0, 1, 2])
    assert labels.has["charges"].tolist() == [False, True, False]
    assert labels.has["energy"].tolist() == [False, True, True]
    assert labels.values["charges"].shape == (6,)
    assert labels.values["forces"].shape == (14, 3)
    assert labels.values["stress"].shape == (0, 3, 3)
    rows = CHARGES.rows(labels.has["charges"], graph)
    torch.testing.assert_close(labels.values["charges"], TRUE_CHARGES[graph.species[rows]])


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_loss_is_of_labelled_entries_alone(loss):
    """The terms of a batch, and of its frames one by one: a frame without a label changes nothing."""
    dataset, settings = Dataset.build(list(frames(6)), 3.0, ELEMENTS, TABLE), TrainingConfig(loss=loss)
    model, weights = WithCharges(), {q: q.weight for q in TABLE}

    def terms(numbers):
        graph, labels = dataset.batch(numbers)
        prediction = model(graph, **request(TABLE[:2] + TABLE[3:]), training=True)
        return loss_terms(prediction, labels, graph, weights, settings)

    together, alone = terms(range(6)), [terms([n]) for n in range(6)]
    assert list(together) == ["energy", "forces", "charges"]
    for name, (total, count) in together.items():
        assert count == sum(t[name][1] for t in alone)
        assert count > 0
        torch.testing.assert_close(total, sum(t[name][0] for t in alone), rtol=1e-5, atol=0)
    assert together["charges"][1] == 6 * 3


def test_a_new_kind_of_label_is_learned_compared_and_shown(tmp_path):
    dataset, settings = Dataset.build(list(frames(8)), 3.0, ELEMENTS, TABLE), TrainingConfig()
    model, weights = WithCharges(), dict.fromkeys(QUANTITIES, 0.0) | {CHARGES: CHARGES.weight}
    rows = []
    for epoch in range(3):
        comparison = compare(model, dataset, batch_size=3)
        loss = validation_loss(comparison, weights, settings)
        errors = {f"valid_{key}": error for key, error in comparison.errors().items()}
        rows.append({"epoch": epoch, "train_loss": loss, "valid_loss": loss, **errors})
        graph, labels = dataset.batch(range(8))
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=20)

        def closure(graph=graph, labels=labels, optimizer=optimizer):
            optimizer.zero_grad()
            terms = loss_terms(model(graph, **request([CHARGES])), labels, graph, weights, settings)
            value = mean_loss(terms, entries(terms))
            value.backward()
            return value

        optimizer.step(closure)
    torch.testing.assert_close(model.charge.detach(), TRUE_CHARGES, atol=1e-3, rtol=0)
    assert rows[0]["valid_charges_rmse_me"] > 100
    assert rows[0]["valid_loss"] == pytest.approx(2e-6 * rows[0]["valid_charges_rmse_me"] ** 2)
    assert rows[-1]["valid_charges_rmse_me"] < 1
    assert "me" in progress_note(rows[-1], TABLE).split()
    learning_curve(rows, TABLE, tmp_path / "curve.png")
    comparison = compare(model, dataset)
    parity(comparison, tmp_path / "parity.png")
    assert [(tmp_path / name).stat().st_size > 10_000 for name in ("curve.png", "parity.png")] == [True, True]
    assert [report.name for report in comparison.compared] == ["energy_per_atom", "forces", "charges"]
    table = errors_table(comparison.errors(), "test", TABLE)
    assert list(table.columns[0].cells) == ["energy", "energy per atom", "forces", "charges"]
    assert list(table.columns[3].cells) == ["meV", "meV/atom", "meV/A", "me"]
    with Console(quiet=True) as console:
        console.print(table)


def test_stress_is_per_volume_and_open_frames_do_not_spoil_gradients():
    """A batch of a crystal with a stress and of a molecule without a volume."""
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=0)
    crystal.calc = EMT()
    crystal.info["stress"] = crystal.get_stress()
    crystal.calc = None
    pair = [to_frame(crystal), to_frame(molecule("CO"))]
    dataset = Dataset.build(pair, 4.0, ("C", "O", "Cu"))
    torch.manual_seed(0)
    model = Potential(
        ModelConfig(cutoff=4.0, channels=2, edge_rank=1, correlation=1, radial_hidden=(4,)), ("C", "O", "Cu")
    )
    graph, labels = dataset.batch([0, 1])
    stress = find("stress")
    prediction = model(graph, **request([stress]), training=True)
    predicted = stress.predicted(prediction, graph, labels.has["stress"])
    torch.testing.assert_close(predicted[0], prediction.virial[0].double() / abs(np.linalg.det(crystal.cell.array)))
    terms = loss_terms(prediction, labels, graph, {stress: 1.0}, TrainingConfig())
    mean_loss(terms, entries(terms)).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    values = compare(model, dataset).values[stress.compared]
    assert values.pair()[0].shape == (1, 6)


def test_configuration_and_command_line_have_a_key_for_each_row():
    """In a process where the table has one row more before anything else is imported."""
    program = """
import cartalg.quantities as table
table.QUANTITIES += (table.Quantity("charges", 0, atomic=True, unit=table.Unit("e", "me", 1e3)),)
from typer.testing import CliRunner
from cartalg.cli import app
from cartalg.train.config import parse_config
config = parse_config(
    {"data": {"train": "a.xyz", "charges_key": "q"},
     "training": {"charges_weight": 3, "stages": [{"epoch": 5, "charges_weight": 0}]}}, "test")
charges = config.quantities[-1]
print(charges.name, charges.key, config.weights_at(0)[charges], config.weights_at(5)[charges])
print("--charges-key" in CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "200"}).stdout)
from cartalg.interfaces.ase import CartalgCalculator
print("charges" in CartalgCalculator.implemented_properties)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:3] == ["charges q 3.0 0.0", "True", "True"], done.stderr
