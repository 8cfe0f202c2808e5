"""Models made with mace-torch, turned into potentials: the same function of the atoms, on generated kernels."""
