"""cartalg: irreducible Cartesian tensors from exact algebra to molecular dynamics."""

__version__ = "0.1.0"
