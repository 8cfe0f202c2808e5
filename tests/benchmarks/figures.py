"""The figures of docs/benchmarks.md: roofline, growth with rank, radial knots. `make figures`.

    python tests/benchmarks/figures.py roofline growth knots

Each writes a picture to docs/images/ and prints its numbers as Markdown. One thread throughout.
"""

import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from roofline import roofline, seconds
from structures import acetylacetone

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph, collate
from cartalg.model import Potential
from cartalg.ops import Edges, KernelSet, bind, open_kernels
from cartalg_codegen import emit
from cartalg_codegen.counts import counts
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import ConvolutionSpec

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"


def convolution_calls(
    kernels: KernelSet, spec: ConvolutionSpec, channels: int, stages: tuple[str, ...], degree: int = 26
) -> dict:
    """Bound calls of a convolution on 250 atoms, and the bytes that each must move at least once."""
    atoms, generator = 250, torch.Generator().manual_seed(0)
    receiver = torch.arange(atoms).repeat_interleave(degree)
    sender = torch.randint(0, atoms, (len(receiver),), generator=generator)
    edges = Edges.build(sender, receiver, atoms, atoms)
    lengths = 1 + 3.9 * torch.rand(len(sender), 1, generator=generator)
    vectors = torch.nn.functional.normalize(torch.randn(len(sender), 3, generator=generator), dim=1) * lengths
    new = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    shapes = {
        "x": (atoms, spec.components["x"], channels),
        "vectors": (len(sender), 3),
        "table": (259, spec.components["table"], channels),
        "out": (atoms, spec.components["out"], channels),
    }
    result = {}
    for stage in stages:
        about, tensors = spec.stages()[stage], {}
        for name, role in spec.roles(stage).items():
            tensors[name] = vectors if name == "vectors" else new(*shapes[role.name])
            if name in about.writes and role.role == "parameter":
                tensors[name] = torch.zeros(1, *shapes[role.name])
        call = bind(kernels, spec, stage, {"step": 5 / 256, **edges.index}, tensors, 1)
        moved = sum(4 * t.numel() for t in tensors.values()) + 8 * 3 * len(sender)
        result[stage] = (call, moved, len(sender) * channels)
    return result


def growth() -> None:
    """Cost of one edge and channel of the forward convolution as rank grows."""
    ranks, times, listed = range(2, 7), [], []
    for rank in ranks:
        spec = ConvolutionSpec("natural", rank, rank)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            emit.write(emit.render(Set(rank, only=(spec.name,))), Path(folder) / "set")
            emitted = time.perf_counter() - start
            kernels = open_kernels(str(Path(folder) / "set"))
            start = time.perf_counter()
            ((call, _, size),) = convolution_calls(kernels, spec, 64, ("forward",)).values()
            compiled = time.perf_counter() - start
            times.append(seconds(call, 7) / size * 1e9)
        listed.append((counts(spec), emitted, compiled))
        print(f"rank {rank}: {times[-1]:.3g} ns, compiled in {compiled:.0f} s", file=sys.stderr, flush=True)
    print("| rank | paths | ours | Clebsch-Gordan | 3^l | ns per edge and channel | emitted, s | compiled, s |")
    print("|---|---|---|---|---|---|---|---|")
    for rank, nano, (c, emitted, compiled) in zip(ranks, times, listed, strict=True):
        print(
            f"| {rank} | {c.paths} | {c.ours} | {c.sparse} | {c.dense} | {nano:.3g} | {emitted:.1f} | {compiled:.0f} |"
        )
    exponents = {}
    columns = {"time": times, "ours": [c.ours for c, *_ in listed], "sparse": [c.sparse for c, *_ in listed]}
    for key, values in {**columns, "dense": [c.dense for c, *_ in listed]}.items():
        exponents[key] = np.polyfit(np.log(list(ranks)), np.log(values), 1)[0]
    print("\nFitted exponents of the rank: " + ", ".join(f"{k} {v:.1f}" for k, v in exponents.items()))
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.loglog(ranks, times, "ko-", label="measured, ns per edge and channel")
    for label, values in (
        ("multiply-adds, ours", [c.ours for c, *_ in listed]),
        ("multiply-adds, sparse Clebsch-Gordan", [c.sparse for c, *_ in listed]),
        ("multiply-adds, 3^l components", [c.dense for c, *_ in listed]),
    ):
        axes.loglog(ranks, values, "--", label=label)
    axes.set(xlabel="hidden rank = edge rank", title="Edge convolution, forward, float32, 64 channels")
    axes.set_xticks(list(ranks), [str(r) for r in ranks])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    save(figure, "growth")


def knots() -> None:
    """Force error of the tabulated radial weights against direct evaluation, and time, for several knot numbers."""
    frames = acetylacetone(10)
    numbers, errors, times = (32, 64, 128, 256, 512, 1024), [], []
    state, forces = None, {}
    for count in (*numbers, None):
        torch.manual_seed(0)
        mode = {"radial_mode": "direct"} if count is None else {"knots": count}
        model = Potential(ModelConfig(dtype="float64", **mode), ("C", "H", "O"), mean_neighbours=12.0)
        state = state or dict(model.state_dict())
        model.load_state_dict(state)
        graph = collate([build_graph(a, 5.0, model.elements) for a in frames])
        forces[count] = model(graph).forces.detach()
        if count is not None:
            single = Potential(ModelConfig(**mode), ("C", "H", "O"), mean_neighbours=12.0)
            times.append(
                (seconds(lambda single=single, graph=graph: single(graph)) * 1e3, training(single, graph) * 1e3)
            )
    print("| knots | relative force error | energy and forces, ms | training step, ms |\n|---|---|---|---|")
    for count, (inference, train) in zip(numbers, times, strict=True):
        errors.append(float((forces[count] - forces[None]).norm() / forces[None].norm()))
        print(f"| {count} | {errors[-1]:.1e} | {inference:.2f} | {train:.1f} |")
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.loglog(numbers, errors, "ko-", label="force error")
    axes.set(xlabel="knots", ylabel="relative force error against direct evaluation", xticks=numbers)
    axes.set_xticks(numbers, [str(n) for n in numbers])
    other = axes.twinx()
    other.plot(numbers, [t[0] for t in times], "C0s--", label="energy and forces")
    other.plot(numbers, [t[1] for t in times], "C1^--", label="training step")
    other.set(ylabel="ms, ten acetylacetone molecules, setting S", ylim=(0, None))
    figure.legend(loc="upper center", bbox_to_anchor=(0.55, 0.97))
    save(figure, "knots")


def training(model: Potential, graph: object) -> float:
    """Seconds of a training step with force loss."""
    parameters = list(model.parameters())

    def step() -> None:
        model(graph, training=True).forces.square().mean().backward(inputs=parameters)

    return seconds(step, 9)


def save(figure: plt.Figure, name: str) -> None:
    """Write a picture."""
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png", dpi=150)
    print(f"\nwrote docs/images/{name}.png\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[1:] or ("roofline", "growth", "knots"):
        {"roofline": lambda: roofline(save), "growth": growth, "knots": knots}[wanted]()
