"""What physicists do with Cartesian tensors, exactly: crystals, invariants, multipoles.

point_groups -> properties, magnetic (constants of crystals)
point_groups -> molien -> integrity, crystal_invariants (invariants, counted and found)
packed -> multipoles -> stone, steinhardt; fields, wigner_eckart (harmonics at work)
"""
