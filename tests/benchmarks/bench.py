"""`make bench`: medians of the emitted kernels and of the potential on this machine, Markdown on standard output.

A benchmark is no timed test: it fails on nothing. Sizes follow the settings S of docs/benchmarks.md.
"""

import platform
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import torch
from ase.build import bulk, molecule
from rich.progress import track

from cartalg.data.graphs import build_graph, collate
from cartalg.model import ModelConfig, Potential
from cartalg.ops import Edges, convolution, harmonics, open_kernels


def median_ms(function: Callable[[], object], repeats: int = 15) -> float:
    """Median wall-clock milliseconds after two warm-up calls."""
    for _ in range(2):
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def convolution_rows(threads: int) -> list[tuple[str, float]]:
    """The fused convolution, 250 atoms with 58 neighbours, 64 channels, float32."""
    torch.set_num_threads(threads)
    rows, generator = [], torch.Generator().manual_seed(0)
    for name in ("convolution_even_h1_e2", "convolution_even_h2_e3"):
        facts = open_kernels().facts(name)
        atoms, degree, channels = 250, 58, 64
        receiver = torch.arange(atoms).repeat_interleave(degree)
        sender = torch.randint(0, atoms, (len(receiver),), generator=generator)
        edges = Edges.build(sender, receiver, atoms, atoms)
        directions = torch.nn.functional.normalize(torch.randn(len(sender), 3, generator=generator), dim=1)
        y = harmonics(directions, facts["edge"]).requires_grad_()
        x = torch.randn(atoms, sum(2 * rank + 1 for rank, _ in facts["left"]), channels, generator=generator)
        r = (5 * torch.rand(len(sender), generator=generator)).requires_grad_()
        table = torch.randn(259, len(facts["paths"]), channels, generator=generator)
        x.requires_grad_()

        def forward(name=name, edges=edges, x=x, y=y, r=r, table=table):  # type: ignore[no-untyped-def]
            return convolution(name, edges, x, y, r, table, 5 / 256)

        out = forward()
        g = torch.randn(out.shape, generator=generator)
        with torch.no_grad():
            rows.append((f"{name}, forward, {threads} threads", median_ms(forward)))

        def backward(out=out, x=x, y=y, r=r, g=g):  # type: ignore[no-untyped-def]
            return torch.autograd.grad(out, (x, y, r), g, retain_graph=True)

        rows.append((f"{name}, gradient to x, y, r, {threads} threads", median_ms(backward)))
    return rows


def potential_rows(threads: int) -> list[tuple[str, float]]:
    """Energy and forces, and a training step with force loss, setting S, float32."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    molecules = [molecule("CH3COOH") for _ in range(10)]
    crystal = bulk("Cu", cubic=True) * (4, 4, 4)
    for n, atoms in enumerate([*molecules, crystal]):
        atoms.rattle(0.05, rng=np.random.default_rng(n))
    model = Potential(ModelConfig(), ("H", "C", "O", "Cu"), mean_neighbours=20.0)
    rows = []
    for label, frames in (
        ("one acetic acid", molecules[:1]),
        ("ten acetic acids", molecules),
        ("256 Cu atoms", [crystal]),
    ):
        graph = collate([build_graph(a, 5.0, model.elements) for a in frames])

        def step(graph=graph):  # type: ignore[no-untyped-def]
            (model(graph, training=True).forces ** 2).mean().backward()

        rows.append((f"S, {label}, energy and forces, {threads} threads", median_ms(lambda graph=graph: model(graph))))
        rows.append((f"S, {label}, training step, {threads} threads", median_ms(step)))
    return rows


def main() -> None:
    """Run everything and print a table."""
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ", end="")
    print(f"torch {torch.__version__}, numba {numba.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| what | median ms |\n|---|---|")
    for threads in track((1, 2), description="measuring", transient=True):
        for what, value in [*convolution_rows(threads), *potential_rows(threads)]:
            print(f"| {what} | {value:.2f} |")


if __name__ == "__main__":
    main()
