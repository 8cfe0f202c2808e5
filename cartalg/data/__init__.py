"""Frames and labels from extended XYZ, neighbour graphs, statistics, batches."""

from cartalg.extras import require

require("train", "cartalg.data")
