"""Proofs about emitted kernels: their source run on polynomials over Q."""
