"""Numba kernels as `torch.library` operators, with fake implementations and first and second derivatives.

Every kernel file holds four functions, and four operators wrap them. For a kernel F(theta):

    forward          F(theta)
    backward         B(theta, g) = d<g, F>/dtheta
    forward_tangent  dF along t                 = d<t, B>/dg       }  the double backward
    backward_tangent dB along t, g at rest      = d<t, B>/dtheta   }  [docs/theory.md, eqs. 16-18]

so the wiring of autograd is the same for all kernels and stands here once. A third derivative raises.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cartalg.ops.kernels import Backend, open_kernels

NAMESPACE = "cartalg"
_library = torch.library.Library(NAMESPACE, "DEF")


@dataclass(frozen=True)
class Family:
    """A kind of kernel: its operators' names, arguments and shapes.

    Attributes:
        name: Operator name.
        index: Schema of the arguments that have no gradient, after ``str folder, str kernel``.
        slots: The differentiable arguments theta.
        output: (facts, index, theta) -> a new tensor for F, of zeros.
        leading: (stage, index) -> arguments of an emitted function before its arrays.
        rows: (stage, index, theta) -> number of rows that are shared out to threads.
        shared: Slots whose gradient sums over rows: threads write parts [thread, ..] that are added at the end.
        flat: Slots and outputs that kernels take as [rows, channels].
    """

    name: str
    index: str
    slots: tuple[str, ...]
    output: Callable[[dict[str, Any], Sequence[Any], Sequence[Tensor]], Tensor]
    leading: Callable[[str, Sequence[Any]], tuple[Any, ...]] = lambda stage, index: ()
    rows: Callable[[str, Sequence[Any], Sequence[Tensor]], int] = lambda stage, index, theta: theta[0].shape[0]
    shared: frozenset[str] = frozenset()
    flat: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


#: Below this many edges or atoms per thread a call is not worth sharing out.
ROWS_PER_THREAD = 8


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="cartalg")


def share_out(function: Callable[..., None], rows: int, threads: int, arguments: Sequence[Any]) -> None:
    """Run an emitted function on blocks of rows, one block a thread; the calling thread takes the last block."""
    bounds = [rows * t // threads for t in range(threads + 1)]
    waiting = [_pool(threads - 1).submit(function, bounds[t], bounds[t + 1], t, *arguments) for t in range(threads - 1)]
    function(bounds[threads - 1], rows, threads - 1, *arguments)
    for future in waiting:
        future.result()


def thread_count(rows: int) -> int:
    """Threads that a kernel over `rows` rows uses: Torch's number, fewer for little work."""
    return max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))


def _array(tensor: Tensor, flat: bool) -> np.ndarray[Any, Any]:
    array = tensor.detach().contiguous().numpy()
    return array.reshape(-1, array.shape[-1]) if flat else array


def register(family: Family) -> None:
    """Define the four operators of a family: CPU implementation, fake implementation, autograd."""
    name, slots = family.name, family.slots
    count = len(slots)
    theta = ", ".join(f"Tensor {s}" for s in slots)
    tangents = ", ".join(f"Tensor t_{s}" for s in slots)
    results = ", ".join("Tensor" for _ in slots)
    results = f"({results})" if count > 1 else results
    head = "str folder, str kernel" + (f", {family.index}" if family.index else "")
    places = len(head.split(","))
    schemas = {
        name: f"({head}, {theta}) -> Tensor",
        f"{name}_backward": f"({head}, {theta}, Tensor g, bool[] needs) -> {results}",
        f"{name}_forward_tangent": f"({head}, {theta}, {tangents}) -> Tensor",
        f"{name}_backward_tangent": f"({head}, {theta}, Tensor g, {tangents}, bool[] needs) -> {results}",
    }
    for operator, schema in schemas.items():
        _library.define(operator + schema)

    def like(tensors: Sequence[Tensor], needs: Sequence[bool], parts: int | None) -> list[Tensor]:
        """New tensors for gradients; an optional one that is not asked for gets no rows."""
        new = []
        for slot, t, needed in zip(slots, tensors, needs, strict=True):
            shape = [0, *t.shape[1:]] if slot in family.optional and not needed else list(t.shape)
            new.append(t.new_zeros([parts, *shape] if parts and slot in family.shared else shape))
        return new

    def run(stage: str, args: Sequence[Any], inputs: Sequence[Tensor], outputs: Sequence[Tensor], threads: int) -> None:
        function = getattr(open_kernels(args[0]).module(args[1], Backend.NUMBA), stage)
        flats = _flat_flags(family, stage)
        arrays = [_array(t, f) for t, f in zip([*inputs, *outputs], flats, strict=True)]
        rows = family.rows(stage, args[2:places], inputs)
        share_out(function, rows, threads, [*family.leading(stage, args[2:places]), *arrays])

    def threads_for(stage: str, args: Sequence[Any]) -> int:
        return thread_count(family.rows(stage, args[2:places], args[places : places + count]))

    def new_value(*args: Any) -> Tensor:
        return family.output(open_kernels(args[0]).facts(args[1]), args[2:places], args[places : places + count])

    def new_gradients(*args: Any) -> Any:
        outputs = like(args[places : places + count], args[-1], None)
        return tuple(outputs) if count > 1 else outputs[0]

    def value(stage: str, *args: Any) -> Tensor:
        out = new_value(*args)
        run(stage, args, args[places:], [out], threads_for(stage, args))
        return out

    def gradients(stage: str, *args: Any) -> Any:
        threads = threads_for(stage, args)
        outputs = like(args[places : places + count], args[-1], threads)
        run(stage, args, args[places:-1], outputs, threads)
        sums = [o.sum(0) if s in family.shared else o for s, o in zip(slots, outputs, strict=True)]
        return tuple(sums) if count > 1 else sums[0]

    for stage, implementation, fake in (
        ("forward", value, new_value),
        ("backward", gradients, new_gradients),
        ("forward_tangent", value, new_value),
        ("backward_tangent", gradients, new_gradients),
    ):
        operator = name if stage == "forward" else f"{name}_{stage}"
        _library.impl(operator, partial(implementation, stage), "CPU")
        torch.library.register_fake(f"{NAMESPACE}::{operator}", fake, lib=_library)

    operators = getattr(torch.ops, NAMESPACE)

    def setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _save(ctx, inputs)

    def backward_of_forward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        args = _saved(ctx)
        needs = list(ctx.needs_input_grad[places : places + count])
        grads = getattr(operators, f"{name}_backward")(*args, g.contiguous(), needs)
        grads = grads if count > 1 else (grads,)
        return (*[None] * places, *(d if n else None for d, n in zip(grads, needs, strict=True)))

    def setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        _save(ctx, inputs)

    def backward_of_backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        args = _saved(ctx)[:-1]
        index, inputs, g = args[:places], args[places : places + count], args[places + count]
        moves = []
        for slot, t, h in zip(slots, inputs, cotangents, strict=True):
            if h is not None and h.shape == t.shape:
                moves.append(h.contiguous())
            else:
                moves.append(t.new_zeros([0, *t.shape[1:]]) if slot in family.optional else torch.zeros_like(t))
        needs = list(ctx.needs_input_grad[places : places + count])
        d_theta: Sequence[Any] = [None] * count
        if any(needs):
            d_theta = getattr(operators, f"{name}_backward_tangent")(*index, *inputs, g, *moves, needs)
            d_theta = d_theta if count > 1 else (d_theta,)  # type: ignore[assignment]
        d_g = None
        if ctx.needs_input_grad[places + count]:
            d_g = getattr(operators, f"{name}_forward_tangent")(*index, *inputs, *moves)
        return (*[None] * places, *(d if n else None for d, n in zip(d_theta, needs, strict=True)), d_g, None)

    torch.library.register_autograd(
        f"{NAMESPACE}::{name}", backward_of_forward, setup_context=setup_forward, lib=_library
    )
    torch.library.register_autograd(
        f"{NAMESPACE}::{name}_backward", backward_of_backward, setup_context=setup_backward, lib=_library
    )


def _flat_flags(family: Family, stage: str) -> list[bool]:
    """Which arguments of an emitted function are passed as [rows, channels]."""
    slots, out = [s in family.flat for s in family.slots], "out" in family.flat
    parts = [s in family.flat and s not in family.shared for s in family.slots]
    return {
        "forward": [*slots, out],
        "backward": [*slots, out, *parts],
        "forward_tangent": [*slots, *slots, out],
        "backward_tangent": [*slots, out, *slots, *parts],
    }[stage]


def _save(ctx: Any, inputs: tuple[Any, ...]) -> None:
    ctx.save_for_backward(*[i for i in inputs if isinstance(i, Tensor)])
    ctx.others = [None if isinstance(i, Tensor) else (i,) for i in inputs]


def _saved(ctx: Any) -> list[Any]:
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if other is None else other[0] for other in ctx.others]


register(
    Family(
        "harmonics",
        "",
        ("v",),
        lambda facts, index, theta: theta[0].new_zeros(theta[0].shape[0], (facts["max_rank"] + 1) ** 2),
    )
)
register(
    Family(
        "couple",
        "",
        ("a", "b"),
        lambda facts, index, theta: theta[0].new_zeros(theta[0].shape[0], 2 * facts["ranks"][2] + 1, theta[0].shape[2]),
    )
)
register(
    Family(
        "product",
        "Tensor species",
        ("a", "w"),
        lambda facts, index, theta: theta[0].new_zeros(
            theta[0].shape[0], sum(2 * rank + 1 for rank, _ in facts["outputs"]), theta[0].shape[2]
        ),
        lambda stage, index: (index[0].numpy(),),
        shared=frozenset({"w"}),
    )
)


def _convolution_leading(stage: str, index: Sequence[Any]) -> tuple[Any, ...]:
    step, row_ptr, sender, receiver, col_ptr, col_edge = index
    if stage.startswith("forward"):
        return step, row_ptr.numpy(), sender.numpy()
    return step, col_ptr.numpy(), col_edge.numpy(), receiver.numpy()


register(
    Family(
        "convolution",
        "float step, Tensor row_ptr, Tensor sender, Tensor receiver, Tensor col_ptr, Tensor col_edge",
        ("x", "y", "r", "table"),
        lambda facts, index, theta: theta[0].new_zeros(
            index[1].shape[0] - 1, sum(2 * p["out"][0] + 1 for p in facts["paths"]), theta[0].shape[2]
        ),
        _convolution_leading,
        lambda stage, index, theta: (index[1] if stage.startswith("forward") else index[4]).shape[0] - 1,
        shared=frozenset({"table"}),
        flat=frozenset({"x", "out"}),
        optional=frozenset({"table"}),
    )
)
