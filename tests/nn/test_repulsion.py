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
