"""Generated kernels in use: one interface, backends chosen explicitly or `auto`."""

# ruff: noqa: E402
from cartalg.extras import require

require("torch", "cartalg.ops")

from cartalg.ops import operators as operators
from cartalg.ops.edges import Edges
from cartalg.ops.functional import convolution, convolution_of_weights, couple, harmonics, product
from cartalg.ops.kernels import Backend, KernelNotFound, KernelSet, open_kernels
from cartalg.ops.tensors import pack, unpack

__all__ = [
    "Backend",
    "Edges",
    "KernelNotFound",
    "KernelSet",
    "convolution",
    "convolution_of_weights",
    "couple",
    "harmonics",
    "open_kernels",
    "pack",
    "product",
    "unpack",
]
