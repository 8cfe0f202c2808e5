import torch

from cartalg.train.loss import entries, mean_loss


def test_each_quantity_counts_by_its_own_mean():
    """Three entries of one quantity and one of another: the sum of two means, not the mean of four entries."""
    terms = {"forces": (torch.tensor(6.0), 3), "energy": (torch.tensor(5.0), 1), "stress": (torch.tensor(0.0), 0)}
    assert mean_loss(terms, entries(terms)).item() == 7.0
