"""The potential in the engines that people use."""

from cartalg.extras import require

require("train", "cartalg.interfaces")
