"""Numba kernels as `torch.library` operators, with fake implementations and first and second derivatives.

Every kernel file holds the same functions. For a kernel F of features, geometry and parameters theta:

    forward            F(theta)
    backward           d<g, F>/d(features, geometry)
    backward_P         d<g, F>/d(features, P), where the kernel has a parameter P
    forward_tangent    dF along a move of features and geometry    }  the double backward of force training
    backward_tangent   d(backward) along that move, at rest in g   }  [docs/theory.md, eqs. 16-18]
    backward_tangent_P d(backward_P) along that move               }

so the wiring of autograd is the same for all kernels and stands here once. It runs what the backward pass in progress
asks for and no more: forces need no gradient to parameters, a training step none to positions. Where F is linear in P
(all but products of correlation 4), a second derivative through the gradient to P is F, or `backward`, with the
cotangent in the place of P. What there is no kernel for, third derivatives above all, raises: the Torch
backend has it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NoReturn

import torch
from torch import Tensor

from cartalg.ops.kernels import Backend, open_kernels
from cartalg.ops.lanes import VECTOR_BYTES
from cartalg.ops.native import Argument, Entry, lane_width, pack

NAMESPACE = "cartalg"
_library = torch.library.Library(NAMESPACE, "DEF")
#: Below this many edges or atoms per thread a call is not worth sharing out.
ROWS_PER_THREAD = 8


@dataclass(frozen=True)
class Family:
    """A kind of kernel: its operators' names, arguments and shapes.

    Attributes:
        name: Operator name.
        index: Schema of the arguments that have no gradient, after ``str folder, str kernel``.
        features, geometry: Slots that move in a second derivative.
        parameter: Slot whose gradient sums over rows: threads write parts [thread, ..] that are added at the end.
        output: (facts, index, theta) -> shape of F.
        lanes: Slots and outputs with a channel axis, which is their last.
        flat: Of those, the ones that kernels take as [rows, channels].
        leading: (stage, index) -> arguments of an emitted function before its arrays.
        rows: (stage, index, theta) -> number of rows that are shared out to threads.
        scratch: (facts, threads, theta) -> shapes of scratch arrays for `backward` and `backward_tangent`.
    """

    name: str
    index: str
    features: tuple[str, ...]
    output: Callable[[dict[str, Any], Sequence[Any], Sequence[Tensor]], tuple[int, ...]]
    geometry: tuple[str, ...] = ()
    parameter: str | None = None
    lanes: frozenset[str] = frozenset()
    flat: frozenset[str] = frozenset()
    leading: Callable[[str, Sequence[Any]], tuple[Any, ...]] = lambda stage, index: ()
    rows: Callable[[str, Sequence[Any], Sequence[Tensor]], int] = lambda stage, index, theta: theta[0].shape[0]
    scratch: Callable[[dict[str, Any], int, Sequence[Tensor]], tuple[tuple[int, ...], ...]] = field(
        default=lambda facts, threads, theta: ()
    )

    @property
    def slots(self) -> tuple[str, ...]:
        """All differentiable arguments, in order."""
        return (*self.features, *self.geometry, *((self.parameter,) if self.parameter else ()))

    @cached_property
    def results(self) -> dict[str, tuple[str, ...]]:
        """Slots whose gradients a stage returns; none for a stage that returns a value of F's shape."""
        found: dict[str, tuple[str, ...]] = {}
        for stage in self.stages:
            if stage.startswith("forward"):
                found[stage] = ()
            elif self.parameter and stage.endswith(f"_{self.parameter}"):
                found[stage] = (*self.features, self.parameter)
            else:
                found[stage] = (*self.features, *self.geometry)
        return found

    @cached_property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """Names of the tensors that a stage reads; a cotangent has the layout of F, a move that of its slot."""
        moving = (*self.features, *self.geometry)
        return {
            stage: (
                *self.slots,
                *(("out",) if stage.startswith("backward") else ()),
                *(moving if "tangent" in stage else ()),
            )
            for stage in self.stages
        }

    @property
    def stages(self) -> tuple[str, ...]:
        """Functions of an emitted file."""
        derived = ("backward", "forward_tangent", "backward_tangent")
        with_parameter = (f"backward_{self.parameter}", f"backward_tangent_{self.parameter}") if self.parameter else ()
        return ("forward", *derived, *with_parameter)


def thread_count(rows: int) -> int:
    """Threads that a kernel over `rows` rows uses: Torch's number, fewer for little work."""
    return max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))


_entries: dict[tuple[Any, ...], Entry] = {}
_listeners: list[Callable[[str], None]] = []


@contextmanager
def announcing(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with the name of each kernel before it is compiled or loaded, and with "" after."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _entry(folder: str, kernel: str, stage: str, width: int, arguments: Sequence[Argument | float]) -> Entry:
    """The compiled function of a kernel; types of its arguments follow from the precision and the lane width."""
    key = (
        folder,
        kernel,
        stage,
        width,
        next(a.tensor.dtype for a in arguments if isinstance(a, Argument) and a.tensor.is_floating_point()),
    )
    found = _entries.get(key)
    if found is None:
        for listener in _listeners:
            listener(f"{kernel} {stage}")
        function = getattr(open_kernels(folder).module(kernel, Backend.NUMBA), stage)
        found = _entries[key] = Entry(function, arguments, width)
        for listener in _listeners:
            listener("")
    return found


def bind(
    folder: str,
    kernel: str,
    stage: str,
    rows: int,
    arguments: Sequence[Argument | float],
    width: int,
    threads: int,
) -> Callable[[], None]:
    """A call of an emitted function on these arguments, which it keeps alive; it may be repeated.

    Args:
        folder, kernel, stage: Kernel set, file and function.
        rows: What is shared out to threads.
        arguments: Those of the function after start, stop and thread.
        width: Lanes of a vector, from `lane_width`.
        threads: Number of threads.
    """
    run = _entry(folder, kernel, stage, width, arguments)
    words = pack(rows, arguments, width)

    def go(alive: Sequence[Any] = arguments) -> None:
        run(words, threads)

    return go


def launch(
    family: Family,
    stage: str,
    folder: str,
    kernel: str,
    index: Sequence[Any],
    inputs: Sequence[tuple[str, Tensor]],
    outputs: Sequence[tuple[str, Tensor]],
    threads: int,
) -> Callable[[], None]:
    """A call of an emitted function on these tensors, which may be repeated as long as they live.

    Args:
        inputs, outputs: (slot or output name, contiguous tensor), in the order of the emitted arguments.
        threads: Number of threads.
    """
    theta = [t for _, t in inputs]
    if family.lanes:
        width = lane_width(next(t.shape[-1] for name, t in inputs if name in family.lanes), theta[0].dtype)
    else:
        # lanes are rows; worth it where rows fill vectors, for they are transposed
        widest = max(t.shape[1] for _, t in (*inputs, *outputs))
        width = VECTOR_BYTES // theta[0].dtype.itemsize
        width = width if widest >= width else 1
    arguments: list[Argument | float] = [
        a if isinstance(a, float) else Argument(a, tuple(a.shape)) for a in family.leading(stage, index)
    ]
    for n, (name, tensor) in enumerate((*inputs, *outputs)):
        shape = tuple(tensor.shape)
        if name in family.flat:
            shape = (shape[0] * shape[1], shape[2])
        columns = 0
        if width > 1 and not family.lanes:
            columns = shape[1] if n < len(inputs) else -shape[1]
        arguments.append(Argument(tensor, shape, name in family.lanes, columns))
    if family.geometry and family.geometry[0] in family.results[stage]:
        for shape in family.scratch(open_kernels(folder).facts(kernel), threads, theta):
            arguments.append(Argument(theta[0].new_empty((*shape, width)), (*shape[:-1], shape[-1] * width), True))
    return bind(folder, kernel, stage, family.rows(stage, index, theta), arguments, width, threads)


def register(family: Family) -> None:
    """Define the operators of a family: CPU implementation, fake implementation, autograd."""
    name, slots, parameter = family.name, family.slots, family.parameter
    moving = (*family.features, *family.geometry)
    theta = ", ".join(f"Tensor {s}" for s in slots)
    tangents = ", ".join(f"Tensor t_{s}" for s in moving)
    head = "str folder, str kernel" + (f", {family.index}" if family.index else "")
    places, count = len(head.split(",")), len(slots)

    def schema(stage: str) -> str:
        parts = [head, theta, *(["Tensor g"] if stage.startswith("backward") else [])]
        parts += [tangents] if "tangent" in stage else []
        results = ", ".join("Tensor" for _ in family.results[stage]) or "Tensor"
        return f"({', '.join(parts)}) -> ({results})"

    def operator_name(stage: str) -> str:
        return name if stage == "forward" else f"{name}_{stage}"

    def new(stage: str, args: Sequence[Any], threads: int | None) -> list[tuple[str, Tensor]]:
        """Results of a stage, uninitialised; a parameter's gradient as zeros, in parts if threads are given."""
        first, wanted = args[places], family.results[stage]
        if not wanted:
            shape = family.output(open_kernels(args[0]).facts(args[1]), args[2:places], args[places : places + count])
            return [("out", first.new_empty(shape))]
        results = []
        for slot in wanted:
            shape = args[places + slots.index(slot)].shape
            if slot == parameter:
                results.append((slot, first.new_zeros((threads, *shape) if threads else shape)))
            else:
                results.append((slot, first.new_empty(shape)))
        return results

    def run(stage: str, *args: Any) -> Any:
        inputs = args[places:]
        threads = thread_count(family.rows(stage, args[2:places], inputs))
        outputs = new(stage, args, threads)
        tensors = [(n, t.contiguous()) for n, t in zip(family.inputs[stage], inputs, strict=True)]
        launch(family, stage, args[0], args[1], args[2:places], tensors, outputs, threads)()
        results = [(t[0] if threads == 1 else t.sum(0)) if n == parameter else t for n, t in outputs]
        return tuple(results) if len(results) > 1 else results[0]

    def fake(stage: str, *args: Any) -> Any:
        results = [t for _, t in new(stage, args, None)]
        return tuple(results) if len(results) > 1 else results[0]

    for stage in family.stages:
        _library.define(operator_name(stage) + schema(stage))
        _library.impl(operator_name(stage), partial(run, stage), "CPU")
        torch.library.register_fake(f"{NAMESPACE}::{operator_name(stage)}", partial(fake, stage), lib=_library)

    def call(stage: str, args: Sequence[Any]) -> dict[str, Tensor]:
        results = apply(family, stage, *args)
        names = family.results[stage] or ("out",)
        return dict(zip(names, results if len(names) > 1 else (results,), strict=True))

    def gradients(stage: str, needs: dict[str, bool], args: Sequence[Any]) -> dict[str, Tensor]:
        """Gradients to the slots that are needed, by one call where one has them all."""
        found: dict[str, Tensor] = {}
        if parameter and needs[parameter]:
            found = call(f"{stage}_{parameter}", args)
        if any(needs[s] and s not in found for s in moving):
            found |= call(stage, args)
        return found

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*[i for i in inputs if isinstance(i, Tensor)])
        ctx.others = [None if isinstance(i, Tensor) else (i,) for i in inputs]

    def backward_of_forward(ctx: Any, g: Tensor | None) -> tuple[Any, ...]:
        args = _saved(ctx)
        if g is None:
            return (None,) * len(args)
        needs = dict(zip(slots, _needed(ctx, places, count), strict=True))
        grads = gradients("backward", needs, [*args, g.contiguous()])
        return (*[None] * places, *(grads[s] if needs[s] else None for s in slots))

    def backward_of_backward(stage: str, ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        args = _saved(ctx)
        inputs = dict(zip(slots, args[places:], strict=False))
        cotangents = dict(zip(family.results[stage], given, strict=True))
        flags = _needed(ctx, places, count + 1)
        needs = dict(zip(slots, flags, strict=False))
        parts: list[dict[str, Tensor]] = []
        if any(cotangents.get(s) is not None for s in moving):
            moves = [
                torch.zeros_like(inputs[s]) if (h := cotangents.get(s)) is None else h.contiguous() for s in moving
            ]
            parts.append(gradients("backward_tangent", needs, [*args, *moves]))
            if flags[-1]:
                parts[-1]["g"] = call("forward_tangent", [*args[:-1], *moves])["out"]
        if parameter and (h := cotangents.get(parameter)) is not None:
            if open_kernels(args[0]).facts(args[1]).get("degree_in_weights", 1) > 1:
                no_more(ctx)
            swapped = [*args[: places + count - 1], h.contiguous()]
            moving_needs = {**needs, parameter: False}
            parts.append(gradients("backward", moving_needs, [*swapped, args[-1]]))
            if flags[-1]:
                parts[-1]["g"] = call("forward", swapped)["out"]
        total: dict[str, Tensor] = {}
        for part in parts:
            for slot, value in part.items():
                total[slot] = total[slot] + value if slot in total else value
        wanted = {**needs, "g": flags[-1]}
        return (*[None] * places, *(total.get(s) if wanted[s] else None for s in (*slots, "g")))

    def no_more(ctx: Any, *cotangents: Any) -> NoReturn:
        raise RuntimeError(
            f"cartalg::{name}: this derivative is not among the emitted Numba kernels; use backend='torch' for it"
        )

    firsts = [s for s in family.stages if s.startswith("backward") and "tangent" not in s]
    derivatives: dict[str, Callable[..., Any]] = {"forward": backward_of_forward}
    derivatives |= {s: partial(backward_of_backward, s) for s in firsts}
    for stage in family.stages:
        backward = derivatives.get(stage, no_more)
        operator = getattr(getattr(torch.ops, NAMESPACE), operator_name(stage))
        torch.library.register_autograd(
            f"{NAMESPACE}::{operator_name(stage)}", backward, setup_context=save, lib=_library
        )
        implementation = partial(run, stage)
        _routes[name, stage] = (operator, implementation, _eager(implementation, save, backward))


#: (family, stage) -> the operator, its implementation, and the same as an autograd function.
_routes: dict[tuple[str, str], tuple[Any, Callable[..., Any], Any]] = {}


def _eager(implementation: Callable[..., Any], save: Callable[..., None], backward: Callable[..., Any]) -> Any:
    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:  # type: ignore[override]
            out = implementation(*args)
            save(ctx, args, out)
            return out

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return backward(ctx, *grads)

    return Eager


def apply(family: Family, stage: str, *args: Any) -> Any:
    """Run a stage: through `torch.library` where something traces or transforms, else past its dispatch.

    The dispatcher costs some 50 microseconds a call, more than a small molecule's kernel.
    """
    operator, implementation, eager = _routes[family.name, stage]
    recorded = False
    for a in args:
        if isinstance(a, Tensor):
            if type(a) is not Tensor and type(a) is not torch.nn.Parameter:
                return operator(*args)
            recorded = recorded or a.requires_grad
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return operator(*args)
    if recorded and torch.is_grad_enabled():
        return eager.apply(*args)
    return implementation(*args)


def _saved(ctx: Any) -> list[Any]:
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if other is None else other[0] for other in ctx.others]


def _needed(ctx: Any, start: int, count: int) -> list[bool]:
    """Which inputs the backward pass in progress wants a gradient to.

    ``ctx.needs_input_grad`` says which could ever be wanted; whether the engine will run what follows is narrower.
    """
    flags = []
    wanted = ctx.needs_input_grad[start : start + count]
    # one alone is what the pass came for; the question costs 20 microseconds and more where it is refused
    will_run = getattr(torch._C, "_will_engine_execute_node", None) if sum(wanted) > 1 else None
    for place, needed in enumerate(wanted, start):
        if needed and will_run is not None:
            # the engine's nodes are those of tensors alone
            node = ctx.next_functions[sum(other is None for other in ctx.others[:place])][0]
            try:
                needed = node is not None and will_run(node)
            except RuntimeError:  # the engine does not tell for the leaves of torch.autograd.grad
                needed = True
        flags.append(bool(needed))
    return flags


def _components(irreps: Sequence[Sequence[int]]) -> int:
    return sum(2 * rank + 1 for rank, _ in irreps)


HARMONICS = Family(
    "harmonics", "", ("v",), lambda facts, index, theta: (theta[0].shape[0], (facts["max_rank"] + 1) ** 2)
)
COUPLE = Family(
    "couple",
    "",
    ("a", "b"),
    lambda facts, index, theta: (theta[0].shape[0], 2 * facts["ranks"][2] + 1, theta[0].shape[2]),
    lanes=frozenset({"a", "b", "out"}),
)
PRODUCT = Family(
    "product",
    "Tensor species",
    ("a",),
    lambda facts, index, theta: (theta[0].shape[0], _components(facts["outputs"]), theta[0].shape[2]),
    parameter="w",
    lanes=frozenset({"a", "w", "out"}),
    leading=lambda stage, index: (index[0],),
)


def _convolution_leading(stage: str, index: Sequence[Any]) -> tuple[Any, ...]:
    step, row_ptr, sender, receiver, col_ptr, col_edge = index
    if stage.startswith("forward"):
        return step, row_ptr, sender
    return step, col_ptr, col_edge, receiver


CONVOLUTION = Family(
    "convolution",
    "float step, Tensor row_ptr, Tensor sender, Tensor receiver, Tensor col_ptr, Tensor col_edge",
    ("x",),
    lambda facts, index, theta: (
        index[1].shape[0] - 1,
        sum(2 * p["out"][0] + 1 for p in facts["paths"]),
        theta[0].shape[2],
    ),
    geometry=("vectors",),
    parameter="table",
    lanes=frozenset({"x", "table", "out"}),
    flat=frozenset({"x", "out"}),
    leading=_convolution_leading,
    rows=lambda stage, index, theta: (index[1] if stage.startswith("forward") else index[4]).shape[0] - 1,
    scratch=lambda facts, threads, theta: ((threads * facts["chunk"], 2 * facts["edge_size"]),),
)
TENSORS = Family(
    "tensors",
    "",
    ("t",),
    lambda facts, index, theta: (theta[0].shape[0], facts["sizes"][1], theta[0].shape[2]),
    lanes=frozenset({"t", "out"}),
)
for _family in (HARMONICS, COUPLE, PRODUCT, CONVOLUTION, TENSORS):
    register(_family)
