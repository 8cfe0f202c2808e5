"""Gaussians of features: what they are of, batch by batch, and what is chosen by held-out atoms."""

import numpy as np
import pytest
import torch

from cartalg.uncertainty.density import PRIORS, RIDGES, Moments


def drawn(count, seed, size=5, elements=2):
    """Atoms of elements 0 and 2 with correlated features, of very different sizes."""
    rng = np.random.default_rng(seed)
    species = torch.from_numpy(2 * rng.integers(0, elements, count))
    mixing = np.random.default_rng(9).normal(size=(3, size, size)) * 10.0 ** (np.arange(size) / 2)
    rows = rng.normal(size=(count, size))
    features = np.stack([mixing[s] @ row + 100 * s for s, row in zip(species.tolist(), rows, strict=True)])
    return species, torch.from_numpy(features)


def density_of(*batches, held_out):
    moments = Moments(4)
    for batch in batches:
        moments.add(*batch)
    return moments.fit([held_out])


def test_features_are_whitened_in_the_data():
    species, features = drawn(4000, 0)
    density = density_of((species, features), held_out=drawn(4000, 1))
    white = density.whitened(species, features)
    for number in (0, 2):
        of = white[species == number]
        torch.testing.assert_close(of.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-9, rtol=0)
        torch.testing.assert_close(of.T @ of / len(of), torch.eye(5, dtype=torch.float64), atol=0.02, rtol=0)
    assert density.distances(species, features).square().mean() == pytest.approx(1, abs=0.02)
    assert density.count.tolist() == [int((species == 0).sum()), 0, int((species == 2).sum()), 0]


def test_it_does_not_matter_how_atoms_come_in_batches():
    species, features = drawn(300, 0)
    whole = density_of((species, features), held_out=drawn(50, 1))
    parts = density_of(*((species[n::7], features[n::7]) for n in range(7)), held_out=drawn(50, 1))
    torch.testing.assert_close(parts.distances(species, features), whole.distances(species, features))


def test_an_element_that_the_data_lack_is_infinitely_far():
    species, features = drawn(100, 0)
    density = density_of((species, features), held_out=drawn(50, 1))
    assert density.distances(torch.tensor([1, 0, 3]), features[:3]).isfinite().tolist() == [False, True, False]


@pytest.mark.parametrize("count", [12, 40, 2000])
def test_what_is_chosen_makes_held_out_atoms_most_likely(count):
    """Against the covariance written out, for every prior and ridge; many atoms ask for neither."""
    (species, features), (held, others) = drawn(count, 0), drawn(200, 1)
    density = density_of((species, features), held_out=(held, others))
    x, z = features.numpy(), species.numpy()
    within = sum(np.cov(x[z == k].T, bias=True) * (z == k).sum() for k in (0, 2)) / count

    def surprise(prior, ridge):
        total = 0.0
        for k in (0, 2):
            number = (z == k).sum()
            cov = (np.cov(x[z == k].T, bias=True) * number + prior * 5 * within) / (number + prior * 5)
            cov = cov + ridge * np.diag(np.diag(within))
            away = others.numpy()[held == k] - x[z == k].mean(0)
            total += (away * np.linalg.solve(cov, away.T).T).sum() / 2 + len(away) * np.linalg.slogdet(cov)[1] / 2
        return total

    values = {(p, r): surprise(p, r) for p in PRIORS for r in RIDGES}
    own = 0.0
    for k in (0, 2):
        away = density.whitened(held, others)[held == k]
        own += float(away.square().sum() / 2 - len(away) * density.factor[k].diagonal().log().sum())
    assert own == pytest.approx(min(values.values()), rel=1e-6)
    if count == 2000:
        assert min(values, key=values.get)[0] == 0


def test_distances_are_those_of_whitened_features_in_either_precision():
    """Of the same species asked again, of others, and of one element alone."""
    (species, features), (others, more) = drawn(400, 0), drawn(30, 2)
    density = density_of((species, features), held_out=drawn(50, 1))
    for kinds, rows in (
        (species, features),
        (others, more),
        (others, 2 * more),
        (others[others == 0], more[others == 0]),
    ):
        expected = density.whitened(kinds, rows).square().mean(1).sqrt()
        torch.testing.assert_close(density.distances(kinds, rows), expected)
        torch.testing.assert_close(density.distances(kinds, rows.float()), expected, rtol=1e-3, atol=1e-3)


def test_nothing_to_measure_from_is_said():
    with pytest.raises(ValueError, match="no atoms"):
        Moments(2).fit([])
