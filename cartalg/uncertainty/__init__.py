"""Uncertainty of one model or of a committee: how far atoms are from the training data, and what that means in eV."""
