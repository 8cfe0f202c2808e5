"""Emitted Torch files are modules as they are."""

from importlib import import_module
from types import ModuleType

from cartalg_codegen.specs import KernelSpec


def load(package: str, spec: KernelSpec) -> ModuleType:
    """The emitted module."""
    return import_module(f"{package}.torch_kernels.{spec.kind}.{spec.name}")
