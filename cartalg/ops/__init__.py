"""Generated kernels in use: one interface, backends chosen explicitly or `auto`."""

# ruff: noqa: E402
from cartalg.extras import require

require("torch", "cartalg.ops")

from cartalg.ops.calls import bind
from cartalg.ops.edges import Edges, Exchange
from cartalg.ops.functions import convolution, convolution_of_weights, couple, evaluate, harmonics, product
from cartalg.ops.kernel_sets import KernelNotFound, KernelSet, open_kernels
from cartalg.ops.tensors import pack, unpack

__all__ = [
    "Edges",
    "Exchange",
    "KernelNotFound",
    "KernelSet",
    "bind",
    "convolution",
    "convolution_of_weights",
    "couple",
    "evaluate",
    "harmonics",
    "open_kernels",
    "pack",
    "product",
    "unpack",
]
