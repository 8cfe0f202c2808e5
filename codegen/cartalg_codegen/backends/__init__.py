"""Backends: what prints a kernel, loads what was printed, and binds it to arrays. Each is a folder here and a line in
BACKENDS.

A folder `backends/<name>/` holds three modules, whatever the backend:

    printer.py   modules(spec) -> texts of the emitted files, by part of the kernel; none if there is no such kernel
    loader.py    load(package, spec) -> the emitted functions of a kernel, in whatever form the binder takes them
    binder.py    bind(functions, spec, stage, index, tensors, threads) -> a call that may be repeated

Printers know no arrays; loaders and binders are imported when a kernel runs (docs/extending.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from cartalg_codegen.specs import KernelSpec


@dataclass(frozen=True)
class Backend:
    """One backend.

    Attributes:
        name: Of its folder here, and of the folder ``<name>_kernels`` of a kernel set.
        suffix: Of emitted files.
        devices: Types of devices that it runs on, as Torch names them; none named: any.
        autograd: Its functions are differentiated by Torch; otherwise derivatives are emitted stages.
    """

    name: str
    suffix: str
    devices: tuple[str, ...]
    autograd: bool

    def file(self, spec: KernelSpec, part: str = "") -> str:
        """Path of a kernel's file in a kernel set, or of a part of it that has a file of its own."""
        name = f"{spec.name}__{part}" if part else spec.name
        return f"{self.name}_kernels/{spec.kind}/{name}{self.suffix}"

    def print(self, spec: KernelSpec) -> dict[str, str]:
        """The emitted files below their headers, by part, "" for the kernel's own; none if there is no such kernel."""
        return self._part("printer").modules(spec)  # type: ignore[no-any-return]

    def load(self, package: str, spec: KernelSpec) -> Any:
        """The emitted functions of a kernel of the kernel set that is importable as `package`."""
        return self._part("loader").load(package, spec)

    def bind(
        self,
        functions: Any,
        spec: KernelSpec,
        stage: str,
        index: Mapping[str, Any],
        tensors: Mapping[str, Any],
        threads: int,
    ) -> Callable[[], None]:
        """A call of a stage on tensors, by the names of the emitted arguments; it keeps them alive and may be repeated.

        Args:
            functions: From `load`.
            index: Arguments without a gradient, by name.
            tensors: What the stage reads and writes, contiguous.
            threads: Number of threads.
        """
        return self._part("binder").bind(functions, spec, stage, index, tensors, threads)

    def runs_on(self, devices: Sequence[str]) -> bool:
        """Whether all these devices are its own."""
        return not self.devices or set(devices) <= set(self.devices)

    def _part(self, name: str) -> Any:
        return _module(f"cartalg_codegen.backends.{self.name}.{name}")


@cache
def _module(name: str) -> Any:
    return import_module(name)


#: In the order in which ``auto`` takes the first that runs on the tensors' devices.
BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("numba", ".py", ("cpu",), autograd=False),
        Backend("torch", ".py", (), autograd=True),
    )
}
