"""Torch on any device: vectorised code that autograd differentiates to any order; the reference."""
