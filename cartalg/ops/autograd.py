"""Emitted stages as `torch.library` operators, with fake implementations and first and second derivatives.

Every kernel file of a backend without autograd of its own holds the same functions. For a kernel F of features,
geometry and a parameter theta:

    forward            F(theta)
    backward           d<g, F>/d(features, geometry)
    backward_P         d<g, F>/d(features, P), where the kernel has a parameter P
    forward_tangent    dF along a move of features and geometry    }  the double backward of force training
    backward_tangent   d(backward) along that move, at rest in g   }  [docs/theory.md, eqs. 41-43]
    backward_tangent_P d(backward_P) along that move and one of g  }

so the wiring of autograd is the same for all kernels and stands here once. It runs what the backward pass in progress
asks for and no more: forces need no gradient to parameters, a training step none to positions. Where F is linear in P
(all but products of correlation 4), a second derivative through the gradient to P is F, or `backward`, with the
cotangent in the place of P. The move of g is zero here; training plans (`cartalg.nn.training`) have both parts of a
gradient by it in one call. What there is no kernel for, third derivatives above all, raises: the Torch
backend has it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor

from cartalg.ops.kernel_sets import open_kernels
from cartalg.ops.private import transforms_are_active, will_run
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.program import Where
from cartalg_codegen.specs import KINDS, KernelSpec, ProductSpec
from cartalg_codegen.specs.base import base

NAMESPACE = "cartalg"
#: Below this many edges or atoms per thread a call is not worth sharing out.
ROWS_PER_THREAD = 8
_library = torch.library.Library(NAMESPACE, "DEF")


def thread_count(rows: int) -> int:
    """Threads that a kernel over `rows` rows uses: Torch's number, fewer for little work."""
    return max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))


class Operators:
    """The operators of one kind of kernel: ``torch.ops.cartalg.<kind>`` and ``<kind>_<stage>``.

    Their arguments are ``str backend, str folder, str kernel``, the kind's index arguments, then the tensors that the
    stage reads.

    Args:
        kind: A kind of kernel with derivative stages.
    """

    def __init__(self, kind: type[KernelSpec]) -> None:
        self.kind, self.stages = kind, kind.stages()
        self.slots, self.parameter = self.stages["forward"].reads, kind.parameter()
        self.moving, self.out = kind.named("feature", "geometry"), kind.argument("out")
        self.places, self.count = 3 + len(kind.index), len(self.slots)
        for name in self.stages:
            self._define(name)
        self._routes = {name: self._route(name) for name in self.stages}

    def __call__(self, stage: str, *args: Any) -> Any:
        """Run a stage: through `torch.library` where something traces or transforms, else past its dispatch.

        The dispatcher costs some 50 microseconds a call, more than a small molecule's kernel.
        """
        operator, implementation, eager = self._routes[stage]
        recorded = False
        for a in args:
            if isinstance(a, Tensor):
                if type(a) is not Tensor and type(a) is not torch.nn.Parameter:
                    return operator(*args)
                recorded = recorded or a.requires_grad
        if torch.compiler.is_compiling() or transforms_are_active():
            return operator(*args)
        if recorded and torch.is_grad_enabled():
            return eager.apply(*args)
        return implementation(*args)

    def name(self, stage: str) -> str:
        """Of an operator."""
        return self.kind.kind if stage == "forward" else f"{self.kind.kind}_{stage}"

    def _define(self, stage: str) -> None:
        about = self.stages[stage]
        index = "".join(f", {kind} {name}" for name, kind in self.kind.index.items())
        reads = ", ".join(f"Tensor {name}" for name in about.reads)
        results = ", ".join("Tensor" for _ in about.writes)
        _library.define(f"{self.name(stage)}(str backend, str folder, str kernel{index}, {reads}) -> ({results})")
        for device in {device: None for b in BACKENDS.values() if not b.autograd for device in b.devices}:
            _library.impl(self.name(stage), partial(self._run, stage), device.upper())
        torch.library.register_fake(f"{NAMESPACE}::{self.name(stage)}", partial(self._fake, stage), lib=_library)

    def _route(self, stage: str) -> tuple[Any, Callable[..., Any], Any]:
        """The operator, its implementation, and the same as an autograd function."""
        backward = self._backward_of(stage)
        torch.library.register_autograd(f"{NAMESPACE}::{self.name(stage)}", backward, setup_context=_save, lib=_library)
        implementation = partial(self._run, stage)
        return (
            getattr(getattr(torch.ops, NAMESPACE), self.name(stage)),
            implementation,
            _eager(implementation, backward),
        )

    def _run(self, stage: str, *args: Any) -> Any:
        backend, kernels = BACKENDS[args[0]], open_kernels(args[1])
        spec, about = kernels.spec(args[2]), self.stages[stage]
        given = (a.contiguous() if isinstance(a, Tensor) else a for a in args[3 : self.places])
        index = dict(zip(self.kind.index, given, strict=True))
        tensors = {n: t.contiguous() for n, t in zip(about.reads, args[self.places :], strict=True)}
        first = tensors[self.slots[0]]
        threads = thread_count(about.rows(index, first))
        written = {name: self._new(spec, name, index, tensors, threads) for name in about.writes}
        tensors.update(written)
        functions = kernels.functions(spec, backend.name)
        backend.bind(functions, spec, stage, index, tensors, threads)()
        results = [
            (t[0] if threads == 1 else t.sum(0)) if base(name) == self.parameter else t for name, t in written.items()
        ]
        return tuple(results) if len(results) > 1 else results[0]

    def _fake(self, stage: str, *args: Any) -> Any:
        spec, about = open_kernels(args[1]).spec(args[2]), self.stages[stage]
        index = dict(zip(self.kind.index, args[3 : self.places], strict=True))
        tensors = dict(zip(about.reads, args[self.places :], strict=True))
        results = [self._new(spec, name, index, tensors, None) for name in about.writes]
        return tuple(results) if len(results) > 1 else results[0]

    def _new(
        self, spec: KernelSpec, name: str, index: dict[str, Any], tensors: dict[str, Tensor], threads: int | None
    ) -> Tensor:
        """A result, uninitialised; a parameter's gradient as zeros, in parts if threads are given."""
        first, of = tensors[self.slots[0]], base(name)
        if of == "out":
            return first.new_empty(self._output_shape(spec, index, first))
        like = tensors[of]
        if of != self.parameter:
            return torch.empty_like(like, memory_format=torch.contiguous_format)
        return first.new_zeros((threads, *like.shape) if threads else like.shape)

    def _output_shape(self, spec: KernelSpec, index: dict[str, Any], first: Tensor) -> tuple[int, ...]:
        """Of F: rows of its own or receivers, components, channels."""
        rows = index["row_ptr"].shape[0] - 1 if self.out.where is Where.RECEIVER else first.shape[0]
        return (rows, spec.components["out"], *((first.shape[-1],) if self.out.lanes else ()))

    def _backward_of(self, stage: str) -> Callable[..., Any]:
        if stage == "forward":
            return self._backward_of_forward
        if stage.startswith("backward") and "tangent" not in stage:
            return partial(self._backward_of_backward, stage)
        return self._no_more

    def _call(self, stage: str, args: Sequence[Any]) -> dict[str, Tensor]:
        """Results by the name of what they are a gradient to, or out."""
        results, names = self(stage, *args), [base(w) for w in self.stages[stage].writes]
        return dict(zip(names, results if len(names) > 1 else (results,), strict=True))

    def _gradients(self, stage: str, needs: dict[str, bool], args: Sequence[Any]) -> dict[str, Tensor]:
        """Gradients to the slots that are needed, by one call where one has them all."""
        found: dict[str, Tensor] = {}
        if self.parameter and needs[self.parameter]:
            name = f"{stage}_{self.parameter}"
            at_rest = [torch.zeros_like(args[self.places + self.count])] if "t_g" in self.stages[name].reads else []
            found = self._call(name, [*args, *at_rest])
        if any(needs[s] and s not in found for s in self.moving):
            found |= self._call(stage, args)
        return found

    def _backward_of_forward(self, ctx: Any, g: Tensor | None) -> tuple[Any, ...]:
        args = _saved(ctx)
        if g is None:
            return (None,) * len(args)
        needs = dict(zip(self.slots, _needed(ctx, self.places, self.count), strict=True))
        grads = self._gradients("backward", needs, [*args, g.contiguous()])
        return (*[None] * self.places, *(grads[s] if needs[s] else None for s in self.slots))

    def _backward_of_backward(self, stage: str, ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        args = _saved(ctx)
        inputs = dict(zip(self.slots, args[self.places :], strict=False))
        cotangents = dict(zip((base(w) for w in self.stages[stage].writes), given, strict=True))
        flags = _needed(ctx, self.places, self.count + 1)
        needs = dict(zip(self.slots, flags, strict=False))
        parts: list[dict[str, Tensor]] = []
        if any(cotangents.get(s) is not None for s in self.moving):
            moves = [
                torch.zeros_like(inputs[s]) if (h := cotangents.get(s)) is None else h.contiguous() for s in self.moving
            ]
            parts.append(self._gradients("backward_tangent", needs, [*args, *moves]))
            if flags[-1]:
                parts[-1]["g"] = self._call("forward_tangent", [*args[:-1], *moves])["out"]
        if self.parameter and (h := cotangents.get(self.parameter)) is not None:
            parts.append(self._through_parameter(ctx, args, h.contiguous(), needs, flags[-1]))
        total: dict[str, Tensor] = {}
        for part in parts:
            for slot, value in part.items():
                total[slot] = total[slot] + value if slot in total else value
        wanted = {**needs, "g": flags[-1]}
        return (*[None] * self.places, *(total.get(s) if wanted[s] else None for s in (*self.slots, "g")))

    def _through_parameter(
        self, ctx: Any, args: list[Any], h: Tensor, needs: dict[str, bool], of_g: bool
    ) -> dict[str, Tensor]:
        """F is linear in its parameter: the gradient to it, contracted with h, is <g, F> with h in its place."""
        spec = open_kernels(args[1]).spec(args[2])
        if isinstance(spec, ProductSpec) and spec.degree_in_weights > 1:
            self._no_more(ctx)
        swapped = [*args[: self.places + self.count - 1], h]
        found = self._gradients("backward", {**needs, str(self.parameter): False}, [*swapped, args[-1]])
        return {**found, "g": self._call("forward", swapped)["out"]} if of_g else found

    def _no_more(self, ctx: Any, *cotangents: Any) -> NoReturn:
        raise RuntimeError(
            f"cartalg::{self.kind.kind}: this derivative is not among the emitted kernels; use backend='torch' for it"
        )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*[i for i in inputs if isinstance(i, Tensor)])
    ctx.others = [None if isinstance(i, Tensor) else (i,) for i in inputs]


def _eager(implementation: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:  # type: ignore[override]
            out = implementation(*args)
            _save(ctx, args, out)
            return out

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return backward(ctx, *grads)

    return Eager


def _saved(ctx: Any) -> list[Any]:
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if other is None else other[0] for other in ctx.others]


def _needed(ctx: Any, start: int, count: int) -> list[bool]:
    """Which inputs the backward pass in progress wants a gradient to.

    ``ctx.needs_input_grad`` says which could ever be wanted; whether the engine will run what follows is narrower.
    """
    wanted = ctx.needs_input_grad[start : start + count]
    if sum(wanted) <= 1:  # one alone is what the pass came for; the question costs 20 microseconds and more
        return [bool(needed) for needed in wanted]
    # the engine's nodes are those of tensors alone
    nodes = [sum(other is None for other in ctx.others[:place]) for place in range(start, start + count)]
    return [bool(needed and will_run(ctx.next_functions[n][0])) for needed, n in zip(wanted, nodes, strict=True)]


#: The operators of every kind that has derivative stages.
OPERATORS: dict[type[KernelSpec], Operators] = {
    kind: Operators(kind) for kind in KINDS if not kind.part and "backward" in kind.stages()
}
