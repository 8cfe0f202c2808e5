"""A static site of every rule: formulas, tables, pictures, kernels, proofs."""
