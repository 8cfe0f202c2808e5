"""The generated kernels as differentiable functions, on any of the backends."""

import torch
from torch import Tensor

from cartalg.ops.edges import Edges
from cartalg.ops.kernels import Backend, KernelSet, open_kernels
from cartalg.ops.operators import CONVOLUTION, COUPLE, HARMONICS, PRODUCT, apply


def resolve(backend: str | Backend, *tensors: Tensor) -> Backend:
    """The backend that a call runs on.

    `auto` is numba if every tensor is on the CPU, torch otherwise. A backend that is asked for by name is used or the
    call fails: nothing falls back silently.

    Raises:
        ValueError: If the name is unknown.
        RuntimeError: If numba is asked for and a tensor is not on the CPU.
    """
    try:
        chosen = Backend(backend)
    except ValueError:
        raise ValueError(f"backend must be one of {', '.join(Backend)}, got {backend!r}") from None
    on_cpu = all(t.device.type == "cpu" for t in tensors)
    if chosen is Backend.AUTO:
        return Backend.NUMBA if on_cpu else Backend.TORCH
    if chosen is Backend.NUMBA and not on_cpu:
        raise RuntimeError("backend 'numba' runs on the CPU only; move the tensors, or use backend 'torch'")
    return chosen


def check(what: str, tensors: dict[str, tuple[Tensor, int]]) -> None:
    """Dimensions as documented, one floating dtype."""
    dtypes = set()
    for name, (tensor, dimensions) in tensors.items():
        if tensor.ndim != dimensions:
            raise ValueError(f"{what}: {name} must have {dimensions} dimensions, got shape {tuple(tensor.shape)}")
        dtypes.add(tensor.dtype)
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        raise ValueError(f"{what}: tensors must share float32 or float64, got {', '.join(sorted(map(str, dtypes)))}")


def _folder(kernels: KernelSet) -> str:
    return str(kernels.folder)


def harmonics(vectors: Tensor, max_rank: int, *, backend: str = "auto", kernels: KernelSet | None = None) -> Tensor:
    """Cartesian harmonics T_0..T_L of vectors, packed; for unit vectors T_l(n).n^l = 1.

    Args:
        vectors: Unit vectors, shape [n, 3]; other lengths scale rank l by length^l.
        max_rank: L, at most the kernel set's maximum rank.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Returns:
        Packed harmonics, shape [n, (L+1)^2], ranks one after the other, m = -l..l.
    Raises:
        ValueError: If a shape or dtype is wrong.
        KernelNotFound: If the set does not reach `max_rank`.
    Source: docs/theory.md, eq. 7; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    check("harmonics", {"vectors": (vectors, 2)})
    if vectors.shape[1] != 3:
        raise ValueError(f"harmonics: vectors must have shape [n, 3], got {tuple(vectors.shape)}")
    kernels, name = kernels or open_kernels(), f"harmonics_l{max_rank}"
    if resolve(backend, vectors) is Backend.NUMBA:
        kernels.facts(name)
        return apply(HARMONICS, "forward", _folder(kernels), name, vectors.contiguous())
    return kernels.module(name, Backend.TORCH).forward(vectors)  # type: ignore[no-any-return]


def couple(
    a: Tensor, b: Tensor, ranks: tuple[int, int, int], *, backend: str = "auto", kernels: KernelSet | None = None
) -> Tensor:
    """Couple two packed tensors channel by channel, harmonic normalisation.

    Args:
        a: Shape [n, 2*l1+1, channels].
        b: Shape [n, 2*l2+1, channels].
        ranks: (l1, l2, l3).
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Returns:
        Shape [n, 2*l3+1, channels].
    Raises:
        ValueError: If the triangle rule does not hold, or a shape or dtype is wrong.
        KernelNotFound: If a rank is above the kernel set's maximum.
    Source: docs/theory.md, eqs. 10-12; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    l1, l2, l3 = ranks
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"couple: ranks {ranks} break the triangle rule |l1-l2| <= l3 <= l1+l2")
    check("couple", {"a": (a, 3), "b": (b, 3)})
    expected = ((a.shape[0], 2 * l1 + 1, a.shape[2]), (a.shape[0], 2 * l2 + 1, a.shape[2]))
    if (tuple(a.shape), tuple(b.shape)) != expected:
        raise ValueError(f"couple: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit ranks {ranks}: {expected}")
    kernels, name = kernels or open_kernels(), f"coupling_{l1}_{l2}_{l3}"
    if resolve(backend, a, b) is Backend.NUMBA:
        kernels.facts(name)
        return apply(COUPLE, "forward", _folder(kernels), name, a.contiguous(), b.contiguous())
    return kernels.module(name, Backend.TORCH).forward(a, b)  # type: ignore[no-any-return]


def convolution(
    name: str,
    edges: Edges,
    x: Tensor,
    vectors: Tensor,
    table: Tensor,
    step: float,
    *,
    backend: str = "auto",
    kernels: KernelSet | None = None,
) -> Tensor:
    """Fused edge convolution: sum over edges i <- j and paths of w_p(r) C_p x_j T(n), paths kept apart.

    The radial weights w_p are cubic splines: row s of the table belongs to the B-spline centred at knot s-1. They are
    interpolated inside the kernel. Edges at or beyond the end of the table contribute nothing.

    Args:
        name: Kernel name, ``convolution_<parity>_h<hidden>_e<edge>``.
        edges: Edges sorted by receiver.
        x: Sender features, shape [senders, components, channels].
        vectors: Edge vectors r_j - r_i in angstrom, shape [edges, 3]. An edge of no length contributes nothing.
        table: B-spline coefficients, shape [intervals + 3, paths, channels].
        step: Knot distance in angstrom.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Returns:
        Shape [receivers, rows, channels]; for each output irrep rows are ordered [component, path].
    Raises:
        ValueError: If a shape or dtype does not fit the kernel.
        KernelNotFound: If the set has no such kernel.
    Source: docs/theory.md, eq. 14; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    check(name, {"x": (x, 3), "vectors": (vectors, 2), "table": (table, 3)})
    kernels = kernels or open_kernels()
    facts = kernels.facts(name)
    sizes = {
        "x": (x, (edges.col_ptr.shape[0] - 1, sum(2 * rank + 1 for rank, _ in facts["left"]), x.shape[2])),
        "vectors": (vectors, (edges.sender.shape[0], 3)),
        "table": (table, (max(table.shape[0], 4), len(facts["paths"]), x.shape[2])),
    }
    for key, (tensor, shape) in sizes.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: {key} must have shape {shape}, got {tuple(tensor.shape)}")
    if resolve(backend, x, vectors, table) is Backend.NUMBA:
        index = (float(step), edges.row_ptr, edges.sender, edges.receiver, edges.col_ptr, edges.col_edge)
        theta = (x.contiguous(), vectors.contiguous(), table.contiguous())
        return apply(CONVOLUTION, "forward", _folder(kernels), name, *index, *theta)
    forward = kernels.module(name, Backend.TORCH).forward
    out = _empty_paths(kernels, name, edges, x)
    return forward(step, edges.sender, edges.receiver, x, vectors, table, out)  # type: ignore[no-any-return]


def convolution_of_weights(
    name: str, edges: Edges, x: Tensor, vectors: Tensor, w: Tensor, *, kernels: KernelSet | None = None
) -> Tensor:
    """`convolution` with the radial weights of each edge given, w [edges, paths, channels]: the Torch reference.

    Raises:
        KernelNotFound: If the set has no such kernel.
    Source: docs/theory.md, eq. 14.
    """
    kernels = kernels or open_kernels()
    apply = kernels.module(name, Backend.TORCH).apply
    out = _empty_paths(kernels, name, edges, x)
    return apply(edges.sender, edges.receiver, x, vectors, w, out)  # type: ignore[no-any-return]


def _empty_paths(kernels: KernelSet, name: str, edges: Edges, x: Tensor) -> Tensor:
    """Zeros in the shape of a convolution's output."""
    rows = sum(2 * p["out"][0] + 1 for p in kernels.facts(name)["paths"])
    return x.new_zeros(edges.row_ptr.shape[0] - 1, rows, x.shape[2])


def product(
    name: str, species: Tensor, a: Tensor, w: Tensor, *, backend: str = "auto", kernels: KernelSet | None = None
) -> Tensor:
    """Product basis: weighted couplings A x .. x A of each atom's features, channel by channel.

    Args:
        name: Kernel name, ``product_<parity>_<basis>_a<rank>_o<rank>_n<correlation>``.
        species: Index of each atom's weights, int64 [atoms].
        a: Features, shape [atoms, components, channels].
        w: Weights, shape [species, weights, channels], ordered as in the manifest.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Returns:
        Shape [atoms, output components, channels].
    Raises:
        ValueError: If a shape or dtype does not fit the kernel, or a species index is out of range.
        KernelNotFound: If the set has no such kernel.
    Source: docs/theory.md, eq. 15; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    check(name, {"a": (a, 3), "w": (w, 3)})
    kernels = kernels or open_kernels()
    facts = kernels.facts(name)
    components = sum(2 * rank + 1 for rank, _ in facts["features"])
    expected = ((species.shape[0], components, a.shape[2]), (w.shape[0], len(facts["weights"]), a.shape[2]))
    if (tuple(a.shape), tuple(w.shape)) != expected:
        raise ValueError(f"{name}: a {tuple(a.shape)} and w {tuple(w.shape)} must have shapes {expected}")
    if resolve(backend, a, w) is Backend.NUMBA:
        if len(species) and not 0 <= int(species.min()) <= int(species.max()) < w.shape[0]:
            raise ValueError(f"{name}: species indices must lie in 0..{w.shape[0] - 1}")
        return apply(PRODUCT, "forward", _folder(kernels), name, species, a.contiguous(), w.contiguous())
    return kernels.module(name, Backend.TORCH).forward(species, a, w)  # type: ignore[no-any-return]
