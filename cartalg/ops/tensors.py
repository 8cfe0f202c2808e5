"""Cartesian tensors with index symmetries, packed into irreducible parts and back, by generated kernels."""

from torch import Tensor

from cartalg.ops.functions import check, evaluate
from cartalg.ops.kernel_sets import KernelSet
from cartalg_codegen.specs import PackSpec, UnpackSpec


def pack(tensor: Tensor, formula: str, *, backend: str = "auto", kernels: KernelSet | None = None) -> Tensor:
    """The irreducible parts of Cartesian tensors; what breaks the index symmetry is projected out.

    Args:
        tensor: Shape [n, 3, .., 3, channels], one axis of 3 for each index.
        formula: Index symmetry, such as ``"ij=ji"``: a kernel of the set (`cartalg inspect tensor` explains formulas).
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Returns:
        Parts one after the other, m = -l..l, in the order of `cartalg.symbolic.decompose`: [n, dimension, channels].
    Raises:
        ValueError: If a shape or dtype is wrong.
        KernelNotFound: If the set has no kernel for this formula.
    Source: docs/theory.md, eqs. 49-51.
    """
    spec = PackSpec(formula)
    order = spec.order
    if tensor.ndim != order + 2 or set(tensor.shape[1:-1]) != {3}:
        shape = ", ".join(["n", *["3"] * order, "channels"])
        raise ValueError(f"pack: tensors {formula} must have shape [{shape}], got {list(tensor.shape)}")
    return _run(spec, tensor.reshape(tensor.shape[0], 3**order, tensor.shape[-1]), backend, kernels)


def unpack(packed: Tensor, formula: str, *, backend: str = "auto", kernels: KernelSet | None = None) -> Tensor:
    """Cartesian tensors from their irreducible parts, the inverse of `pack`.

    Args:
        packed: Shape [n, dimension, channels].
        formula, backend, kernels: As for `pack`.
    Returns:
        Shape [n, 3, .., 3, channels].
    Raises:
        ValueError: If a shape or dtype is wrong.
        KernelNotFound: If the set has no kernel for this formula.
    Source: docs/theory.md, eq. 49.
    """
    spec = UnpackSpec(formula)
    flat = _run(spec, packed, backend, kernels)
    return flat.reshape(flat.shape[0], *[3] * spec.order, flat.shape[-1])


def _run(spec: PackSpec | UnpackSpec, tensor: Tensor, backend: str, kernels: KernelSet | None) -> Tensor:
    check(spec.kind, {"tensor": (tensor, 3)})
    size = spec.components["t"]
    if tensor.shape[1] != size:
        raise ValueError(f"{spec.kind}: {spec.symmetry} has {size} components, got shape {list(tensor.shape)}")
    return evaluate(spec, tensor, backend=backend, kernels=kernels)
