"""Exact rules: bases, projectors and couplings of irreducible Cartesian tensors over the rationals.

What is named here is imported when it is asked for: SymPy takes a third of a second, and a model whose kernels are
there needs ranks and irreps alone.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cartalg.symbolic.basis import basis_polynomials, cartesian_harmonic, squared_norms
    from cartalg.symbolic.contraction import CouplingKind
    from cartalg.symbolic.coupling import Coupling, coupling
    from cartalg.symbolic.irreps import Irrep, Irreps, paths
    from cartalg.symbolic.projector import detrace, projector, projector_terms

_HOMES = {
    "basis": ("basis_polynomials", "cartesian_harmonic", "squared_norms"),
    "contraction": ("CouplingKind",),
    "coupling": ("Coupling", "coupling"),
    "irreps": ("Irrep", "Irreps", "paths"),
    "projector": ("detrace", "projector", "projector_terms"),
}

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


class _Package(ModuleType):
    """`coupling` and `projector` are functions here, though modules of these names lie in the package."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):  # as an import of the module would
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


sys.modules[__name__].__class__ = _Package
