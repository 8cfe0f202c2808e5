import pytest
import torch

from cartalg.nn.repulsion import COULOMB, Repulsion
from cartalg.ops import Edges


@pytest.mark.parametrize(("elements", "charge"), [(("H", "H"), 1), (("C", "O"), 48)])
def test_close_nuclei_are_bare_and_each_pair_counts_once(elements, charge):
    """At a ten-thousandth of an angstrom nothing screens: the pair's energy is that of Coulomb's law."""
    known = tuple(dict.fromkeys(elements))
    species, r = torch.tensor([known.index(e) for e in elements]), 1e-4
    edges = Edges.build(torch.tensor([1, 0]), torch.tensor([0, 1]), 2, 2)
    vectors = torch.tensor([[r, 0.0, 0.0], [-r, 0.0, 0.0]], dtype=torch.float64)
    energy = Repulsion(known, direct=True)(species, edges, vectors)
    assert energy[0] == energy[1]
    assert energy.sum().item() * r == pytest.approx(COULOMB * charge, rel=1e-3)


def pair(r, elements=("O", "Mo")):
    species = torch.tensor([0, 1])
    edges = Edges.build(torch.tensor([1, 0]), torch.tensor([0, 1]), 2, 2)
    vectors = torch.tensor([[r, 0.0, 0.0], [-r, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    found = []
    for direct in (True, False):
        term = Repulsion(elements, shortest={"-".join(sorted(elements)): 2.2}, direct=direct)
        energy = term(species, edges, vectors).sum()
        found.append((energy.item(), torch.autograd.grad(energy, vectors)[0][0, 0].item()))
    return found


@pytest.mark.parametrize("r", [0.3, 0.51234, 1.0, 1.7])
def test_tables_are_the_formula(r):
    """Forces to 1e-5 at 0.3 angstrom, where they are thousands of eV/A, and far closer where atoms come."""
    formula, table = pair(r)
    assert table == pytest.approx(formula, rel=1e-5 * (0.3 / r) ** 2)
    assert formula[0] > 0 > formula[1]


def test_beyond_its_reach_there_is_nothing():
    formula, table = pair(2.25)
    assert formula == (0, 0)
    assert table == pytest.approx((0, 0), abs=1e-10)
    assert pair(2.1)[1][0] > 1e-5


def test_a_core_begins_where_the_data_are_far():
    """Below 0.8 of a pair's shortest distance there is 5 eV a tenth farther in; at its edge nothing bends."""
    r = torch.linspace(0.5, 1.6, 111, dtype=torch.float64)
    one, none = Repulsion(("H",), shortest={"H-H": 1.5}, direct=True), Repulsion(("H",), direct=True)
    zeros = torch.zeros(len(r), dtype=torch.int64)
    none.reach = one.reach
    core = 2 * (one.energy(r, zeros, zeros) - none.energy(r, zeros, zeros))
    assert (core[r >= 1.2] == 0).all()
    assert (core.diff()[r[:-1] < 1.19] < 0).all()
    assert float(core[(r - 1.05).abs().argmin()]) == pytest.approx(5.0)
    assert float(core[(r - 1.19).abs().argmin()]) == pytest.approx(5.0 * (0.01 / 0.15) ** 3)
    two = Repulsion(("H", "O"), shortest={"H-H": 1.5}, direct=True)
    assert two.core[1, 1] == pytest.approx(0.8 * 1.32)
    ones = torch.ones_like(zeros)
    oxygen, bare = (term.energy(r, ones[: len(r)], ones) for term in (two, Repulsion(("H", "O"), direct=True)))
    assert torch.equal(oxygen[r > 1.06], bare[r > 1.06])
    assert (oxygen[r < 1.05] > bare[r < 1.05]).all()
