"""The generated kernels as differentiable functions, on any of the backends."""

from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from cartalg.ops.autograd import OPERATORS
from cartalg.ops.edges import Edges
from cartalg.ops.kernel_sets import KernelSet, open_kernels
from cartalg_codegen.backends import BACKENDS, Backend
from cartalg_codegen.specs import CouplingSpec, EdgeSumSpec, HarmonicsSpec, KernelSpec, ProductSpec, parse

AUTO = "auto"
S = TypeVar("S", bound=KernelSpec)


def resolve(backend: str, *tensors: Tensor) -> Backend:
    """The backend that a call runs on.

    ``auto`` is the first that runs where the tensors are: numba on the CPU, torch elsewhere. A backend that is asked
    for by name is used or the call fails: nothing falls back silently.

    Raises:
        ValueError: If the name is unknown.
        RuntimeError: If the backend does not run on a tensor's device.
    """
    if backend != AUTO and backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join((AUTO, *BACKENDS))}, got {backend!r}")
    devices = [t.device.type for t in tensors]
    if backend == AUTO:
        return next(b for b in BACKENDS.values() if b.runs_on(devices))
    chosen = BACKENDS[backend]
    if not chosen.runs_on(devices):
        where = " or ".join(chosen.devices)
        raise RuntimeError(f"backend {backend!r} runs on {where} only; move the tensors, or use another backend")
    return chosen


def evaluate(
    spec: KernelSpec,
    *tensors: Tensor,
    index: tuple[Tensor, ...] = (),
    backend: str = AUTO,
    kernels: KernelSet | None = None,
) -> Tensor:
    """Any kernel that works row by row, differentiable: what the functions below call when shapes are checked.

    Args:
        spec: The kernel.
        tensors: What its forward reads, [rows, components, channels] or [rows, components].
        index: Its index arguments.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Raises:
        KernelNotFound: If the set has no such kernel.
    """
    return _forward(spec, (kernels or open_kernels()).holding(spec), backend, index, tensors)


def _forward(
    spec: KernelSpec, kernels: KernelSet, backend: str, index: tuple[Tensor, ...], tensors: tuple[Tensor, ...]
) -> Tensor:
    chosen = resolve(backend, *tensors)
    if chosen.autograd:
        return kernels.functions(spec, chosen.name).forward(*index, *tensors)  # type: ignore[no-any-return]
    contiguous = (t.contiguous() for t in tensors)
    return OPERATORS[type(spec)]("forward", chosen.name, str(kernels.folder), spec.name, *index, *contiguous)  # type: ignore[no-any-return]


def known(kind: type[S], kernel: S | str, kernels: KernelSet | None) -> tuple[S, KernelSet]:
    """A kernel of one kind, given or named, and the set that has it.

    Raises:
        ValueError: If the name stands for a kernel of another kind.
        KernelNotFound: If the set has no such kernel.
    """
    spec = parse(kernel) if isinstance(kernel, str) else kernel
    if not isinstance(spec, kind):
        raise ValueError(f"{spec.name} is no {kind.kind}")
    home = (kernels or open_kernels()).holding(spec)
    return home.get(spec), home


@cache
def _spec(kind: type[S], *ranks: int) -> S:
    """A specification, made once: what it derives is kept with it."""
    return kind(*ranks)


def check(what: str, tensors: dict[str, tuple[Tensor, int]]) -> None:
    """Dimensions as documented, one floating dtype."""
    dtypes = set()
    for name, (tensor, dimensions) in tensors.items():
        if tensor.ndim != dimensions:
            raise ValueError(f"{what}: {name} must have {dimensions} dimensions, got shape {tuple(tensor.shape)}")
        dtypes.add(tensor.dtype)
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        raise ValueError(f"{what}: tensors must share float32 or float64, got {', '.join(sorted(map(str, dtypes)))}")


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
    return evaluate(_spec(HarmonicsSpec, max_rank), vectors, backend=backend, kernels=kernels)


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
    Source: docs/theory.md, eqs. 16-18; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    spec = _spec(CouplingSpec, *ranks)
    check("couple", {"a": (a, 3), "b": (b, 3)})
    expected = tuple((a.shape[0], spec.components[name], a.shape[2]) for name in ("a", "b"))
    if (tuple(a.shape), tuple(b.shape)) != expected:
        raise ValueError(f"couple: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit ranks {ranks}: {expected}")
    return evaluate(spec, a, b, backend=backend, kernels=kernels)


def convolution(
    kernel: EdgeSumSpec | str,
    edges: Edges,
    x: Tensor,
    vectors: Tensor,
    table: Tensor,
    step: float,
    *,
    block: Tensor | None = None,
    backend: str = "auto",
    kernels: KernelSet | None = None,
) -> Tensor:
    r"""Fused edge convolution: sum over edges i <- j and paths of w_p(r) C_p x_j T(n), of either kind.

    .. math:: A_{i,k,\gamma} = \sum_{i \leftarrow j} w_\gamma(r) \sum_{ab} C^\gamma_{kab} H_{j,a} T_b(n)
        \quad\text{or}\quad A_i = \sum_{i \leftarrow j} D(g)\, W(r)\, D(g)\, H_j, \quad g z = n

    A `ConvolutionSpec` keeps paths apart [eq. 35]. An `AlignedConvolutionSpec` adds those of one output, with a weight
    for each (l1, l3, |m|) in the frame of the edge [eq. 53]: any sum of paths is such weights, at a cost like l^3.

    The radial weights w_p are cubic splines: row s of the table belongs to the B-spline centred at knot s-1. They are
    interpolated inside the kernel. Edges at or beyond the end of the table contribute nothing. Weights of edges of
    several kinds, as of pairs of elements, are tables of their own, all of the same size.

    Args:
        kernel: ``ConvolutionSpec(parity, hidden, edge)`` or ``AlignedConvolutionSpec(hidden, edge)``, or its name
            ``convolution_<parity>_h<hidden>_e<edge>`` or ``aligned_natural_h<hidden>_e<edge>``.
        edges: Edges sorted by receiver.
        x: Sender features, shape [senders, components, channels].
        vectors: Edge vectors r_j - r_i in angstrom, shape [edges, 3]. An edge of no length contributes nothing.
        table: B-spline coefficients, shape [intervals + 3, paths or weights, channels]; with `block` [tables,
            intervals + 3, ..].
        step: Knot distance in angstrom.
        block: The table of each edge, int64 [edges].
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Returns:
        Shape [receivers, rows, channels]; for each output irrep rows are ordered [component, path], or just components.
    Raises:
        ValueError: If a shape or dtype does not fit the kernel.
        KernelNotFound: If the set has no such kernel.
    Source: docs/theory.md, eqs. 35 and 53; Zaverkin et al. 2024 (arXiv:2405.14253); Passaro & Zitnick 2023
    (arXiv:2302.03655).
    """
    spec, kernels = known(EdgeSumSpec, kernel, kernels)  # type: ignore[type-abstract]
    check(spec.name, {"x": (x, 3), "vectors": (vectors, 2), "table": (table, 3 if block is None else 4)})
    knots = max(table.shape[-3], 4)
    sizes = {
        "x": (x, (edges.col_ptr.shape[0] - 1, spec.components["x"], x.shape[2])),
        "vectors": (vectors, (edges.sender.shape[0], 3)),
        "table": (table, (*table.shape[:-3], knots, spec.components["table"], x.shape[2])),
    }
    for key, (tensor, shape) in sizes.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{spec.name}: {key} must have shape {shape}, got {tuple(tensor.shape)}")
    block = torch.zeros_like(edges.sender) if block is None else _checked(spec.name, block, edges, table.shape[0])
    table = table.reshape(-1, *table.shape[-2:])
    chosen = resolve(backend, x, vectors, table)
    if chosen.autograd:
        forward = kernels.functions(spec, chosen.name).forward
        out = _empty_paths(spec, edges, x)
        return forward(step, knots - 3, block, edges.sender, edges.receiver, x, vectors, table, out)  # type: ignore[no-any-return]
    index = (float(step), float(knots - 3), block, *edges.index.values())
    theta = (x.contiguous(), vectors.contiguous(), table.contiguous())
    run = OPERATORS[type(spec)]
    return run("forward", chosen.name, str(kernels.folder), spec.name, *index, *theta)  # type: ignore[no-any-return]


def _checked(name: str, block: Tensor, edges: Edges, tables: int) -> Tensor:
    """The table of each edge. Raises ValueError if there is none for some."""
    if block.shape != edges.sender.shape or block.dtype != torch.int64:
        raise ValueError(f"{name}: block must be int64 of shape {tuple(edges.sender.shape)}, a table for each edge")
    if block.device.type == "cpu" and len(block) and not 0 <= int(block.min()) <= int(block.max()) < tables:
        raise ValueError(f"{name}: block must lie in 0..{tables - 1}")
    return block


def convolution_of_weights(
    kernel: EdgeSumSpec | str,
    edges: Edges,
    x: Tensor,
    vectors: Tensor,
    w: Tensor,
    *,
    kernels: KernelSet | None = None,
) -> Tensor:
    """`convolution` with the radial weights of each edge given, w [edges, paths, channels]: the Torch reference.

    Raises:
        KernelNotFound: If the set has no such kernel.
    Source: docs/theory.md, eq. 35.
    """
    spec, kernels = known(EdgeSumSpec, kernel, kernels)  # type: ignore[type-abstract]
    apply = kernels.functions(spec, "torch").apply
    return apply(edges.sender, edges.receiver, x, vectors, w, _empty_paths(spec, edges, x))  # type: ignore[no-any-return]


def _empty_paths(spec: EdgeSumSpec, edges: Edges, x: Tensor) -> Tensor:
    """Zeros in the shape of a convolution's output."""
    return x.new_zeros(edges.row_ptr.shape[0] - 1, spec.components["out"], x.shape[2])


def product(
    kernel: ProductSpec | str,
    species: Tensor,
    a: Tensor,
    w: Tensor,
    *,
    backend: str = "auto",
    kernels: KernelSet | None = None,
) -> Tensor:
    """Product basis: weighted couplings A x .. x A of each atom's features, channel by channel.

    Args:
        kernel: The kernel, a `ProductSpec`, or its name ``product_<parity>_<basis>_a<rank>_o<rank>_n<correlation>``.
        species: Index of each atom's weights, int64 [atoms].
        a: Features, shape [atoms, components, channels].
        w: Weights, shape [species, weights, channels], ordered as in `ProductSpec.weights`.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
        kernels: A kernel set; by default the shipped one.
    Returns:
        Shape [atoms, output components, channels].
    Raises:
        ValueError: If a shape or dtype does not fit the kernel, or a species index is out of range.
        KernelNotFound: If the set has no such kernel.
    Source: docs/theory.md, eq. 40; Zaverkin et al. 2024 (arXiv:2405.14253).
    """
    spec, kernels = known(ProductSpec, kernel, kernels)
    check(spec.name, {"a": (a, 3), "w": (w, 3)})
    expected = ((species.shape[0], spec.components["a"], a.shape[2]), (w.shape[0], spec.components["w"], a.shape[2]))
    if (tuple(a.shape), tuple(w.shape)) != expected:
        raise ValueError(f"{spec.name}: a {tuple(a.shape)} and w {tuple(w.shape)} must have shapes {expected}")
    if a.device.type == "cpu" and len(species) and not 0 <= int(species.min()) <= int(species.max()) < w.shape[0]:
        raise ValueError(f"{spec.name}: species indices must lie in 0..{w.shape[0] - 1}")
    return _forward(spec, kernels, backend, (species,), (a, w))
