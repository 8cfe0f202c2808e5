"""The figures of docs/benchmarks.md: roofline, growth with rank, radial knots. `make figures`.

    python tests/benchmarks/figures.py roofline growth knots

Each writes a picture to docs/images/ and prints its numbers as Markdown. One thread throughout.
"""

import ctypes
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import matplotlib.pyplot as plt
import numpy as np
import torch
from ase.io import read

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph, collate
from cartalg.model import Potential
from cartalg.ops import Edges, KernelSet, bind, open_kernels
from cartalg_codegen import emit
from cartalg_codegen.counts import counts
from cartalg_codegen.sets import Set
from cartalg_codegen.specs import ConvolutionSpec, ProductSpec

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
DATA = ROOT.parent / "shared" / "data"


def seconds(function: Callable[[], object], repeats: int = 15) -> float:
    """Median seconds after two warm-up calls."""
    times = []
    for n in range(repeats + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
        del n
    return statistics.median(times[2:])


def peak_multiply_adds() -> float:
    """Multiply-adds a second that one core reaches in float32: sixteen independent sums in vector registers."""
    vector, sums = "<16 x float>", 16
    lines = [
        f"declare {vector} @llvm.fma.v16f32({vector}, {vector}, {vector})",
        "define void @peak(i64 %n, ptr %p) {",
        "start:",
        f"  %x = load {vector}, ptr %p, align 4",
        f"  %q = getelementptr {vector}, ptr %p, i64 1",
        f"  %y = load {vector}, ptr %q, align 4",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %start], [%j, %loop]",
        *(f"  %s{k} = phi {vector} [%x, %start], [%t{k}, %loop]" for k in range(sums)),
        *(f"  %t{k} = call {vector} @llvm.fma.v16f32({vector} %s{k}, {vector} %y, {vector} %x)" for k in range(sums)),
        "  %j = add i64 %i, 1",
        "  %more = icmp slt i64 %j, %n",
        "  br i1 %more, label %loop, label %done",
        "done:",
        f"  %u0 = fadd {vector} %t0, %t1",
        *(f"  %u{k} = fadd {vector} %u{k - 1}, %t{k + 1}" for k in range(1, sums - 1)),
        f"  store {vector} %u{sums - 2}, ptr %p, align 4",
        "  ret void",
        "}",
    ]
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly("\n".join(lines))
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address("peak"))
    numbers, turns = np.full(32, 0.5, np.float32), 1_000_000
    return turns * sums * 16 / seconds(lambda: function(turns, numbers.ctypes.data))


def bandwidth() -> float:
    """Bytes a second of one core, reading and writing arrays larger than the caches."""
    a, b = torch.zeros(32_000_000), torch.ones(32_000_000)
    return 2 * 4 * a.numel() / seconds(lambda: b.copy_(a), 7)


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


def roofline() -> None:
    """Achieved multiply-adds a second of the kernels against the two bounds of one core."""
    peak, stream = peak_multiply_adds(), bandwidth()
    print(f"Measured, one core, float32: {peak / 1e9:.1f} G multiply-adds/s, {stream / 1e9:.1f} GB/s\n")
    print("| kernel | channels | multiply-adds per byte | G multiply-adds/s | of the peak |\n|---|---|---|---|---|")
    kernels, points = open_kernels(), []
    chosen = ("forward", "backward", "backward_table", "forward_tangent", "backward_tangent_table")
    for spec, channels in (
        (ConvolutionSpec("natural", 1, 2), 32),
        (ConvolutionSpec("natural", 2, 3), 64),
        (ConvolutionSpec("natural", 2, 3), 128),
    ):
        operations = kernels.manifest.kernels[spec.name].operations
        for stage, (call, moved, size) in convolution_calls(kernels, spec, channels, chosen).items():
            work = size * operations[f"{stage}, per edge and channel"] / 2
            points.append((f"{spec.name} {stage}", channels, work / moved, work / seconds(call)))
    product, atoms, channels = ProductSpec("natural", "limited", 3, 2, 3), 250, 64
    rows = {"a": (atoms, 16, channels), "w": (4, len(product.weights), channels), "out": (atoms, 9, channels)}
    for stage in ("forward", "backward"):
        tensors = {name: torch.randn(*rows[role.name]) for name, role in product.roles(stage).items()}
        call = bind(kernels, product, stage, {"species": torch.randint(0, 4, (atoms,))}, tensors, 1)
        work = atoms * channels * kernels.manifest.kernels[product.name].operations[f"{stage}, per row and channel"] / 2
        moved = sum(4 * t.numel() for t in tensors.values())
        points.append((f"{product.name} {stage}", channels, work / moved, work / seconds(call)))
    for label, channels, intensity, rate in points:
        print(f"| {label} | {channels} | {intensity:.1f} | {rate / 1e9:.1f} | {rate / peak:.0%} |")
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    x = np.geomspace(0.5, 60, 200)
    axes.loglog(x, np.minimum(peak, stream * x) / 1e9, color="0.3")
    axes.text(8, peak / 0.94e9, f"{peak / 1e9:.0f} G multiply-adds/s", ha="center", va="bottom", fontsize=9)
    axes.text(1.2, 1.0e-9 * stream, f"{stream / 1e9:.0f} GB/s", ha="left", va="top", fontsize=9)
    kernels_of = list(dict.fromkeys((p[0].split()[0], p[1]) for p in points))
    stages_of = list(dict.fromkeys(p[0].split()[1] for p in points))
    for label, channels, intensity, rate in points:
        name, stage = label.split()
        axes.plot(intensity, rate / 1e9, "osD^"[kernels_of.index((name, channels))], color=f"C{stages_of.index(stage)}")
    for n, (name, channels) in enumerate(kernels_of):
        axes.plot([], [], "osD^"[n], color="0.5", label=f"{name}, {channels} channels")
    for n, stage in enumerate(stages_of):
        axes.plot([], [], "-", lw=5, color=f"C{n}", label=stage)
    axes.set(xlabel="multiply-adds per byte of input and output", ylabel="G multiply-adds/s", title="Roofline, float32")
    axes.set(xlim=(0.5, 60), ylim=(10, 1.5e-9 * peak))
    figure.legend(loc="outside right center", fontsize=7)
    save(figure, "roofline")


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
    frames = read(DATA / "acetylacetone" / "train_300K.xyz", ":10")
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
        {"roofline": roofline, "growth": growth, "knots": knots}[wanted]()
