import pytest
import torch

from cartalg.ops import Edges


@pytest.mark.parametrize(
    ("sender", "receiver", "says"),
    [
        ([0, 3], [0, 1], r"a sender index lies outside 0\.\.2"),
        ([-1, 0], [0, 1], r"a sender index lies outside 0\.\.2"),
        ([0, 0], [0, 2], r"a receiver index lies outside 0\.\.1"),
        ([0, 0], [-1, 0], r"a receiver index lies outside 0\.\.1"),
        ([0, 0], [1, 0], "edges must be sorted by receiver"),
        ([0, 0, 0], [1, 0, 1], "edges must be sorted by receiver"),
        ([0], [0, 1], "must be equal"),
    ],
)
def test_indices_that_cannot_be(sender, receiver, says):
    """Three senders, two receivers: each index is wrong by one at least."""
    with pytest.raises(ValueError, match=says):
        Edges.build(torch.tensor(sender), torch.tensor(receiver), 3, 2)


def test_senders_and_receivers_find_their_edges():
    """Sender 1 has no edges, sender 2 is a ghost: it receives none."""
    edges = Edges.build(torch.tensor([2, 0, 2, 0]), torch.tensor([0, 0, 1, 1]), 3, 2)
    assert edges.row_ptr.tolist() == [0, 2, 4]
    assert edges.col_ptr.tolist() == [0, 2, 2, 4]
    assert edges.col_edge.tolist() == [1, 3, 0, 2]
