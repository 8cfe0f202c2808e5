"""The calls of an MD step and of a training step, one by one: what each computes, moves, and takes.

A model is run once with its binding of kernels watched; its plans are then run call by call, in order, on one thread,
so that every call finds the caches as the step leaves them.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
from ase import Atoms

from cartalg import ops
from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph, collate
from cartalg.model import Potential
from cartalg.nn import mixing
from cartalg.nn.plan import Plan, Program
from cartalg_codegen.counts import operations
from cartalg_codegen.specs import EdgeSumSpec, KernelSpec, LinearSpec

MD, TRAINING = ("result", "gradient"), ("result", "gradient", "tangent", "learn")


@dataclass
class Share:
    """What a stage costs in one step.

    Attributes:
        name: Kernel and stage, or ``rows added, copied``.
        work: Multiply-adds.
        moved: Bytes of all that it reads and writes, each once.
        seconds: Of all its calls together.
    """

    name: str
    work: float = 0.0
    moved: float = 0.0
    seconds: float = 0.0


class Watched:
    """Calls that kernels have been bound to, with what each computes and moves, by identity."""

    def __init__(self, edges: int) -> None:
        self.edges = edges
        self.about: dict[int, tuple[str, float, float]] = {}
        self.programs: list[Program] = []
        self._kept: list[Callable] = []  # identities stay unique while calls live

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within this, every plan and every kernel that is bound is noted."""
        of_kernels, of_plans = ops.bind, Plan.bind

        def bind(kernels, spec, stage, index, tensors, threads, *others):
            call = of_kernels(kernels, spec, stage, index, tensors, threads, *others)
            moved = sum(t.numel() * t.element_size() for t in {t.data_ptr(): t for t in tensors.values()}.values())
            self.about[id(call)] = f"{spec.name} {stage}", self._work(spec, stage, index, tensors), moved
            self._kept.append(call)
            return call

        def bind_plan(plan, *results):
            program = of_plans(plan, *results)
            self.programs.append(program)
            return program

        with patch.object(ops, "bind", bind), patch.object(mixing, "bind", bind), patch.object(Plan, "bind", bind_plan):
            yield

    def _work(self, spec: KernelSpec, stage: str, index: dict, tensors: dict) -> float:
        """Multiply-adds of a call: half the operations counted on its loops; of a matrix product, all of them."""
        first = next(iter(tensors.values()))
        if isinstance(spec, LinearSpec):
            width = tensors["g" if stage == "backward_weight" else "out"].shape[-1]
            return float((index["layout"][:, 0] * index["layout"][:, 3]).sum()) * len(first) * width
        rows = self.edges if isinstance(spec, EdgeSumSpec) else len(first)
        channels = max((t.shape[-1] for t in tensors.values() if t.ndim == 3), default=1)
        total = 0.0
        for key, count in operations(spec).items():
            name, _, axes = key.partition(", per ")
            total += count * rows * (channels if "channel" in axes else 1) / 2 if name == stage else 0
        return total


def shares(
    setting: dict, frames: list[Atoms], elements: list[str], training: bool, options: dict, repeats: int = 15
) -> tuple[float, list[Share]]:
    """Seconds of the whole step, and the stages of its plan, the most costly first."""
    torch.manual_seed(0)
    given = {"channels": setting["channels"], "hidden_rank": setting["hidden"], "edge_rank": setting["edge"]}
    config = ModelConfig(**given | {"zbl": False} | options)
    model = Potential(config, tuple(elements), mean_neighbours=20.0)
    graph = collate([build_graph(a, config.cutoff, model.elements) for a in frames])
    parameters = list(model.parameters())

    def step() -> None:
        prediction = model(graph, training=training)
        if training:
            loss = prediction.forces.square().mean() + prediction.energy.square().mean()
            torch.autograd.grad(loss, parameters, allow_unused=True)

    watched = Watched(len(graph.edges.sender))
    with watched.watching():
        step()
    (*_, program) = watched.programs
    calls = [call for section in (TRAINING if training else MD) for call in program.sections[section]]
    whole: list[float] = []
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 2):
        begin = time.thread_time()
        step()
        whole.append(time.thread_time() - begin)
        with torch.no_grad():
            for call, taken in zip(calls, times, strict=True):
                begin = time.thread_time()
                call()
                taken.append(time.thread_time() - begin)
    found: dict[str, Share] = {}
    for call, taken in zip(calls, times, strict=True):
        name, work, moved = watched.about.get(id(call), (_torch(call), 0.0, 0.0))
        share = found.setdefault(name, Share(name))
        share.work, share.moved = share.work + work, share.moved + moved
        share.seconds += statistics.median(taken[2:])
    return statistics.median(whole[2:]), sorted(found.values(), key=lambda s: -s.seconds)


def _torch(call: Callable) -> str:
    """What a call without a kernel is filed under."""
    inner = call.func if isinstance(call, partial) else call
    return f"Torch: {getattr(inner, '__qualname__', type(inner).__name__).split('.')[0].strip('_')}"
