"""A static site of every rule: formulas, tables, pictures, kernels, proofs."""

from cartalg.extras import require

require("atlas", "cartalg.atlas")
