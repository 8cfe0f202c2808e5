"""Roofline of every stage of an MD step and of a training step: `figures.py roofline`."""

import ctypes
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import matplotlib.pyplot as plt
import numpy as np
import torch
from sections import SETTINGS
from steps import Share, shares
from structures import alloy

from cartalg_codegen.backends.numba import binder, targets

#: Settings whose steps are shown.
SHOWN = ("S", "M", "(128, 1, 3)")
#: The machine code of this level is measured; a lower one than the processor's on request.
if os.environ.get("BENCH_LEVEL"):
    binder.level = lambda: os.environ["BENCH_LEVEL"]


def seconds(function: Callable[[], object], repeats: int = 15) -> float:
    """Median seconds of this thread's CPU time after two warm-up calls: others may use the machine."""
    times = []
    for _ in range(repeats + 2):
        start = time.thread_time()
        function()
        times.append(time.thread_time() - start)
    return statistics.median(times[2:])


def peak_multiply_adds() -> float:
    """Multiply-adds a second that one core reaches in float32: independent sums in vector registers of the level."""
    lanes = 16 if binder.level() == "x86-64-v4" else 8
    vector, sums = f"<{lanes} x float>", 14
    fma = f"{vector} @llvm.fma.v{lanes}f32"
    lines = [
        f"declare {fma}({vector}, {vector}, {vector})",
        "define void @peak(i64 %n, ptr %p) {",
        "start:",
        f"  %x = load {vector}, ptr %p, align 4",
        f"  %q = getelementptr {vector}, ptr %p, i64 1",
        f"  %y = load {vector}, ptr %q, align 4",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %start], [%j, %loop]",
        *(f"  %s{k} = phi {vector} [%x, %start], [%t{k}, %loop]" for k in range(sums)),
        *(f"  %t{k} = call {fma}({vector} %s{k}, {vector} %y, {vector} %x)" for k in range(sums)),
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
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly("\n".join(lines)), targets.machine(binder.level())[0])
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address("peak"))
    numbers, turns = np.full(2 * lanes, 0.5, np.float32), 1_000_000
    return turns * sums * lanes / seconds(lambda: function(turns, numbers.ctypes.data))


def bandwidth() -> float:
    """Bytes a second of one core, reading and writing arrays larger than the caches."""
    a, b = torch.zeros(32_000_000), torch.ones(32_000_000)
    return 2 * 4 * a.numel() / seconds(lambda: b.copy_(a), 7)


def roofline(save: Callable[[plt.Figure, str], None]) -> None:
    """Every stage of both steps against the two bounds of one core; with the share of the step that it takes."""
    peak, stream = peak_multiply_adds(), bandwidth()
    print(
        f"Measured, one core, float32, {binder.level()}: {peak / 1e9:.1f} G multiply-adds/s, {stream / 1e9:.1f} GB/s\n"
    )
    frames, elements = alloy(), ["Mo", "Nb", "Ta", "W"]
    points = []
    for messages in ("paths", "summed"):
        for name in SHOWN:
            for training in (False, True):
                whole, found = shares(SETTINGS[name], frames, elements, training, {"messages": messages})
                title = f"{name}, messages: {messages}, {'training step' if training else 'energy and forces'}"
                print(f"**{title}: {1e3 * whole:.2f} ms**\n")
                table(found, whole, peak, stream)
                points += [(name, messages, training, share) for share in found if share.work]
    draw(points, peak, stream, save)


def table(found: list[Share], whole: float, peak: float, stream: float) -> None:
    """The stages of one step; `bound` is the larger of the times that arithmetic and memory would take."""
    head = "| stage | ms | of the step | G multiply-adds/s | of the peak | multiply-adds per byte | bound, ms |"
    print(f"{head}\n|---|---|---|---|---|---|---|")
    for share in found:
        line = f"| {share.name} | {1e3 * share.seconds:.3f} | {share.seconds / whole:.0%} |"
        if share.work:
            rate, bound = share.work / share.seconds, max(share.work / peak, share.moved / stream)
            line += f" {rate / 1e9:.1f} | {rate / peak:.0%} | {share.work / share.moved:.1f} | {1e3 * bound:.3f} |"
        print(line if share.work else line + " | | | |")
    rest = whole - sum(share.seconds for share in found)
    print(f"| outside the plan | {1e3 * rest:.3f} | {rest / whole:.0%} | | | | |\n", flush=True)


def draw(points: list, peak: float, stream: float, save: Callable[[plt.Figure, str], None]) -> None:
    """One panel for each kind of message; the area of a point is its share of its step."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained", sharey=True, sharex=True)
    kinds = list(dict.fromkeys(share.name.split()[1] for *_, share in points))
    x = np.geomspace(1, 150, 200)
    for axes, messages in zip(panels, ("paths", "summed"), strict=True):
        axes.loglog(x, np.minimum(peak, stream * x) / 1e9, color="0.3")
        shown = [p for p in points if p[1] == messages]
        for name, _, training, share in shown:
            longest = sum(s.seconds for n, _, t, s in shown if (n, t) == (name, training))
            axes.scatter(
                share.work / share.moved,
                share.work / share.seconds / 1e9,
                s=8 + 500 * share.seconds / longest,
                marker="os"[training],
                color=f"C{kinds.index(share.name.split()[1])}",
                alpha=0.6,
            )
        axes.set(xlabel="multiply-adds per byte of input and output", title=f"messages: {messages}")
        axes.set(xlim=(1, 150), ylim=(15, 1.4e-9 * peak))
    panels[0].set_ylabel("G multiply-adds/s")
    for n, kind in enumerate(kinds):
        panels[0].plot([], [], "-", lw=5, color=f"C{n}", label=kind)
    for n, step in enumerate(("energy and forces", "training step")):
        panels[0].plot([], [], "os"[n], color="0.5", label=step)
    figure.legend(loc="outside right center", fontsize=8)
    save(figure, "roofline")


if __name__ == "__main__":
    torch.set_num_threads(1)
    roofline(lambda figure, name: figure.savefig(Path(f"/tmp/{name}.png"), dpi=100))
