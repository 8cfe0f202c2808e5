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
from cartalg_codegen.counts import counts, operations
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import AlignedConvolutionSpec, ConvolutionSpec, EdgeSumSpec

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
KNOTS = ModelConfig().knots


def convolution_calls(kernels: KernelSet, spec: EdgeSumSpec, channels: int, stages: tuple[str, ...]) -> dict:
    """Bound calls of a sum over the edges of 250 atoms with 26 neighbours, and its edges times channels."""
    atoms, generator = 250, torch.Generator().manual_seed(0)
    receiver = torch.arange(atoms).repeat_interleave(26)
    sender = torch.randint(0, atoms, (len(receiver),), generator=generator)
    edges = Edges.build(sender, receiver, atoms, atoms)
    lengths = 1 + 3.9 * torch.rand(len(sender), 1, generator=generator)
    vectors = torch.nn.functional.normalize(torch.randn(len(sender), 3, generator=generator), dim=1) * lengths
    rows = {"x": atoms, "vectors": len(sender), "table": KNOTS + 3, "out": atoms}
    result = {}
    for stage in stages:
        tensors = {"vectors": vectors}
        for name, role in spec.roles(stage).items():
            shape = rows[role.name], spec.components[role.name], channels
            tensors.setdefault(name, torch.randn(*shape[: 2 if role.name == "vectors" else 3], generator=generator))
        index = {"step": 5 / KNOTS, "intervals": float(KNOTS), "block": torch.zeros_like(sender), **edges.index}
        call = bind(kernels, spec, stage, index, tensors, 1)
        result[stage] = (call, len(sender) * channels)
    return result


def growth() -> None:
    """Cost of one edge and channel of both kinds of convolution as rank grows; forward, and the gradient for forces."""
    ranks, stages = range(2, 7), ("forward", "backward")
    kinds = {
        "paths": lambda rank: ConvolutionSpec("natural", rank, rank),
        "summed": lambda r: AlignedConvolutionSpec(r, r),
    }
    times: dict[tuple[str, str], list[float]] = {(kind, stage): [] for kind in kinds for stage in stages}
    work: dict[str, list[float]] = {kind: [] for kind in kinds}
    print("| rank | messages | multiply-adds | ns forward | ns backward | emitted, s | compiled, s |")
    print("|---|---|---|---|---|---|---|")
    for rank in ranks:
        for kind, make in kinds.items():
            spec = make(rank)
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                emit.write(emit.render(Set(rank, only=(spec.name,))), Path(folder) / "set")
                emitted = time.perf_counter() - start
                kernels = open_kernels(str(Path(folder) / "set"))
                start = time.perf_counter()
                calls = convolution_calls(kernels, spec, 64, stages)
                for call, _ in calls.values():
                    call()
                compiled = time.perf_counter() - start
                for stage, (call, size) in calls.items():
                    times[kind, stage].append(seconds(call, 9) / size * 1e9)
            work[kind].append(operations(spec)["forward, per edge and channel"] / 2)
            forward, backward = (times[kind, stage][-1] for stage in stages)
            line = f"| {rank} | {kind} | {work[kind][-1]:.0f} | {forward:.3g} | {backward:.3g} |"
            print(f"{line} {emitted:.1f} | {compiled:.1f} |", flush=True)
    listed = [counts(ConvolutionSpec("natural", rank, rank)) for rank in ranks]
    columns = {f"{k} {s}, time": v for (k, s), v in times.items()} | {f"{k}, multiply-adds": v for k, v in work.items()}
    columns |= {"Clebsch-Gordan": [c.sparse for c in listed], "3^l components": [c.dense for c in listed]}
    exponents = {k: np.polyfit(np.log(list(ranks)), np.log(v), 1)[0] for k, v in columns.items()}
    print("\nFitted exponents of the rank: " + ", ".join(f"{k} {v:.1f}" for k, v in exponents.items()))
    print("\nRank 6 over rank 3: " + ", ".join(f"{k} {v[4] / v[1]:.1f}" for k, v in columns.items()))
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for n, kind in enumerate(kinds):
        for stage, marker in zip(stages, "os", strict=True):
            axes.loglog(ranks, times[kind, stage], f"C{n}{marker}-", label=f"{kind}, {stage}, ns per edge and channel")
        axes.loglog(ranks, work[kind], f"C{n}:", label=f"{kind}, multiply-adds, forward")
    for label in ("Clebsch-Gordan", "3^l components"):
        axes.loglog(ranks, columns[label], "--", color="0.6", lw=1)
        axes.text(6, columns[label][-1], f" {label}", fontsize=7, va="bottom", ha="right")
    axes.set(xlabel="hidden rank = edge rank", title="Edge convolution, float32, 64 channels")
    axes.set_xticks(list(ranks), [str(r) for r in ranks])
    axes.minorticks_off()
    axes.legend(fontsize=7)
    save(figure, "growth")


def knots() -> None:
    """Force error of the tabulated radial weights against direct evaluation, and time, for several knot numbers."""
    frames = acetylacetone(10)
    numbers, errors, times = (16, 32, 64, 128, 256, 512), [], []
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
