"""How close two numbers must be, in one place, by the precision they are computed in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """Errors are relative to the largest entry, or to 1 (eV, eV/angstrom, eV/angstrom^3) if all are smaller.

    Attributes:
        identity: Two ways to compute the same: turned and computed, computed and turned; a batch and its frames.
        derivative: A derivative beside differences of fourth order.
        step: Of these differences, in angstrom, or strain.
        instant: Distance in angstrom over which a smooth function counts as constant.
    """

    identity: float
    derivative: float
    step: float
    instant: float


#: Of double precision.
DOUBLE = Tolerance(identity=1e-9, derivative=1e-7, step=1e-4, instant=1e-7)
#: Of single precision.
SINGLE = Tolerance(identity=1e-4, derivative=2e-2, step=1e-2, instant=1e-4)
