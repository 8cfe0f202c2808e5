"""Kernels compiled before they are needed: those that a model asks for, found by running it without running them."""

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import as_completed
from pathlib import Path

import llvmlite
from ase import Atoms

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph
from cartalg.files import write_file
from cartalg.model import Potential
from cartalg_codegen.backends.numba.binder import collected
from cartalg_codegen.backends.numba.objects import INDEX, Job, content, keep, kept
from cartalg_codegen.backends.numba.targets import level
from cartalg_codegen.backends.numba.workers import Workers, cores

#: Models that come with machine code, by hidden and edge rank; channels in multiples of 32 all have the same.
USUAL = tuple(
    ModelConfig(hidden_rank=hidden, edge_rank=edge, correlation=correlation, messages=messages)
    for hidden, edge in ((0, 1), (1, 2), (1, 3), (2, 3))
    for correlation, messages in ((2, "paths"), (3, "paths"), (3, "summed"))
)
#: Called with (what is done, number done, number in all).
Progress = Callable[[str, int, int], None]


def asked_for(config: ModelConfig, target: str) -> set[Job]:
    """What a model has to have compiled to be trained and to predict everything that it can, on a level."""
    with collected(target) as jobs:
        model = Potential(config, ("H", "O"))
        graph = build_graph(Atoms("OH", [[0, 0, 0], [0, 0, config.cutoff / 2]]), config.cutoff, model.elements, "OH")
        model(graph, virial=True, properties=True)
        found = model(graph, virial=True, properties=True, training=True)
        total = found.energy.sum() + sum(t.sum() for t in (found.forces, found.virial, *found.properties.values()))
        total.backward(inputs=list(model.parameters()))
    return jobs


def jobs_of(configs: Iterable[ModelConfig], targets: Iterable[str] = ()) -> list[Job]:
    """What some models ask for, for some levels, in both precisions where levels are named."""
    targets = tuple(targets)
    found: set[Job] = set()
    for config in configs:
        for dtype in ("float32", "float64") if targets else (config.dtype,):
            for target in targets or (level(),):
                found |= asked_for(config.model_copy(update={"dtype": dtype}), target)
    return sorted(found, key=lambda job: (job.target, str(job), job.precision.bits))


def compile_all(jobs: Iterable[Job], progress: Progress) -> int:
    """Compile into the user's cache what is nowhere yet; how many that were."""
    todo = [job for job in jobs if kept(job) is None]
    _made(todo, True, progress)
    return len(todo)


def ship(jobs: Iterable[Job], folder: Path, progress: Progress) -> int:
    """Write a folder of objects that come with the library, and their list. Objects of other jobs are removed.

    Args:
        jobs: What it is to hold.
        folder: The folder; what is there and whole stays.
        progress: Called after each job.
    Returns:
        How many were compiled.
    """
    codes = {job: content(folder / job.file()) for job in jobs}
    made = _made([job for job, code in codes.items() if code is None], False, progress)
    listed = {}
    for job, code in {**codes, **made}.items():
        assert code is not None
        if job in made:
            keep(folder, job, code)
        what = {"function": str(job), "target": job.target, "precision": str(job.precision)}
        listed[job.file()] = {**what, "sha256": hashlib.sha256(code).hexdigest()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(about)}" for name, about in sorted(listed.items()))
    head = f'{{\n "llvmlite": {json.dumps(llvmlite.__version__)},\n "objects": {{\n'
    write_file(folder / INDEX, f"{head}{lines}\n }}\n}}\n")
    for path in folder.glob("*.o"):
        if path.name not in listed:
            path.unlink()
    return len(made)


def _made(jobs: list[Job], kept: bool, progress: Progress) -> dict[Job, bytes]:
    """Machine code of jobs, in parallel."""
    workers = Workers(cores(), kept)
    try:
        futures = {workers.submit(job): job for job in jobs}
        for number, future in enumerate(as_completed(futures), start=1):
            future.result()
            progress(str(futures[future]), number, len(jobs))
        return {job: future.result() for future, job in futures.items()}
    finally:
        workers.close()
