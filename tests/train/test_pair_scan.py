"""Two atoms that meet: scans find a hole where there is one, and trained models have none."""

import numpy as np
import pytest
import torch

from cartalg.architecture import ModelConfig
from cartalg.model import Potential
from cartalg.train.pairs import PairScan, scan_pairs

R = np.arange(0.3, 3.0, 0.02)


def scan(energies, shortest=1.0):
    return PairScan(("H", "O"), R, energies, shortest, True)


def test_a_repulsion_has_no_hole():
    assert scan(1 / R).hole is None
    assert "repulsive below 0.80" in str(scan(1 / R))


@pytest.mark.parametrize("depth", [0.1, 3.0, 1e6])
def test_a_hole_is_found_where_it_is_and_as_deep(depth):
    where, found = scan(10 / R - (10 / 0.5 - 10 / 0.8 + depth) * (abs(R - 0.5) < 0.01)).hole
    assert where == pytest.approx(0.5, abs=0.011)
    assert found > depth / 2
    assert scan(10 / R - 100 * (abs(R - 0.9) < 0.05)).hole is None  # where there are data


def test_an_energy_that_is_no_number_is_a_hole():
    assert scan(np.where(R < 0.4, np.nan, 1 / R)).hole[1] == np.inf


SHORTEST = {"H-H": 1.2, "H-O": 0.9, "O-O": 2.4}


def model(shortest, zbl):
    torch.manual_seed(0)
    config = ModelConfig(channels=4, hidden_rank=1, edge_rank=1, correlation=2, zbl=zbl, dtype="float64")
    return Potential(config, ("O", "H"), scale=50.0, shortest=shortest)


def test_a_network_that_is_held_and_has_a_repulsion_has_no_holes():
    """Of random weights, which say anything of short distances."""
    assert any(scan.hole for scan in scan_pairs(model({}, False), SHORTEST))
    held, alone = ([*scan_pairs(model(SHORTEST, zbl), SHORTEST)] for zbl in (True, False))
    assert [scan.pair for scan in held] == [("H", "H"), ("H", "O"), ("O", "O")]
    inner = held[1].distances < 0.8 * 0.81
    for scan, network in zip(held, alone, strict=True):
        assert np.ptp(network.energies[inner]) < 1e-2 * np.ptp(network.energies)
        assert (np.diff(scan.energies[inner]) < 0).all()


def test_the_repulsion_reaches_to_the_shortest_distance_of_the_pair_and_no_further():
    """Water's atoms are known from 0.9 A on, its oxygens from 2.4 A: their radii end at 1.32 A."""
    with_term, without = ([*scan_pairs(model(SHORTEST, zbl), SHORTEST)] for zbl in (True, False))
    for scan, network, reach in zip(with_term, without, (1.2, 0.97, 2.4), strict=True):
        r, push = scan.distances, scan.energies - network.energies
        assert (push[r < reach - 0.05] > 0).all()
        assert (abs(push[r > reach + 0.02]) < 1e-9).all()


def test_pairs_that_the_data_lack_are_scanned_to_their_radii():
    found = {"-".join(scan.pair): scan for scan in scan_pairs(model({}, True), {"H-O": 0.9})}
    assert [*found] == ["H-H", "H-O", "O-O"]
    assert (found["O-O"].known, found["O-O"].shortest) == (False, pytest.approx(1.32))
    assert found["H-O"].shortest == 0.9
