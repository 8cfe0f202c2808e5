"""Training and evaluation of a potential, in plain Torch."""

from cartalg.extras import require

require("train", "cartalg.train")
