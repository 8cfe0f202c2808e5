"""Assertions for your own networks: equivariance of functions of tensors, and the contract of a potential.

`assert_equivariant` and `assert_invariant` are for functions of packed or Cartesian tensors; the suite that a test
class inherits is `cartalg.testing.potential.PotentialContract`.
"""

# ruff: noqa: E402
from cartalg.extras import require

require("torch", "cartalg.testing")

from cartalg.testing.equivariance import TURNS, Turn, assert_equivariant, assert_invariant, rotate
from cartalg.testing.tolerances import DOUBLE, SINGLE, Tolerance

__all__ = ["DOUBLE", "SINGLE", "TURNS", "Tolerance", "Turn", "assert_equivariant", "assert_invariant", "rotate"]
