"""Exact rules: bases, projectors and couplings of irreducible Cartesian tensors over the rationals."""

from cartalg.symbolic.basis import basis_polynomials, cartesian_harmonic, squared_norms
from cartalg.symbolic.contraction import CouplingKind
from cartalg.symbolic.coupling import Coupling, coupling, paths
from cartalg.symbolic.irreps import Irrep, Irreps
from cartalg.symbolic.projector import detrace, projector, projector_terms

__all__ = [
    "Coupling",
    "CouplingKind",
    "Irrep",
    "Irreps",
    "basis_polynomials",
    "cartesian_harmonic",
    "coupling",
    "detrace",
    "paths",
    "projector",
    "projector_terms",
    "squared_norms",
]
