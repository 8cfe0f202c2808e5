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
    energy = Repulsion(known)(species, edges, vectors)
    assert energy[0] == energy[1]
    assert energy.sum().item() * r == pytest.approx(COULOMB * charge, rel=1e-3)
