"""Frames and labels from extended XYZ, neighbour graphs, statistics, batches."""
