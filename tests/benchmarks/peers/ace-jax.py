"""ace-jax under the benchmark: linear ACE of the order and degree of its documentation, with random coefficients.

Evaluated in float32 with what its documentation names for speed on a CPU: tabulated radial functions and a list of
neighbours that is kept.
"""

import dataclasses

import jax

jax.config.update("jax_enable_x64", True)  # the basis is made in float64, as its documentation asks

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from ace_jax import ACECalculator  # noqa: E402
from ace_jax.basis.model import build_model  # noqa: E402


def _own(order, degree):
    def build(frames, elements, cutoff):
        lengths = 1.2 if "H" in elements else None  # it has no bond length for hydrogen
        model, meta = build_model(elements, order, degree, rcut=cutoff, r0=lengths).eval_pair()
        random = np.random.default_rng(0)
        weights = {n: jnp.asarray(0.01 * random.standard_normal(getattr(model, n).shape)) for n in ("WB", "Wpair")}
        model = dataclasses.replace(model, **weights)
        return ACECalculator(model, meta, dtype="float32", radial_table=True, skin=0.5)

    return build


OWN = {f"linear ACE, order {o}, degree {d}": _own(o, d) for o, d in ((2, 8), (3, 10))}
