"""Exact proofs over Q: each function returns None, or raises `ProofError` with what failed.

error -> actions -> spaces (basis, projector, full tensors, tensors with index symmetry), couplings

A map is O(3)-equivariant if and only if it commutes with the three generators of so(3) and with one reflection: four
matrix identities. Source: docs/theory.md, section 3.
"""

from cartalg.symbolic.proofs.couplings import (
    prove_complete,
    prove_constants,
    prove_coupling,
    prove_equivariant,
    prove_harmonic,
)
from cartalg.symbolic.proofs.error import ProofError, require
from cartalg.symbolic.proofs.spaces import (
    prove_basis,
    prove_decomposition,
    prove_full_tensor,
    prove_generators,
    prove_projector,
    trace_of_symmetriser,
)

__all__ = [
    "ProofError",
    "prove_basis",
    "prove_complete",
    "prove_constants",
    "prove_coupling",
    "prove_decomposition",
    "prove_equivariant",
    "prove_full_tensor",
    "prove_generators",
    "prove_harmonic",
    "prove_projector",
    "require",
    "trace_of_symmetriser",
]
