"""Training and evaluation of a potential, in plain Torch."""
