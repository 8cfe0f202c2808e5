"""What physicists do with Cartesian tensors, exactly: crystals, invariants, multipoles.

point_groups -> properties (constants of crystals)
"""
