"""The proof report: every rule and every emitted kernel of a set, one row each, all exact.

rules: cartalg.symbolic.proofs      kernels: rows, convolutions, on the source as it lies on the disk
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cartalg.symbolic import proofs
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.polynomials import check_rank
from cartalg_codegen import emit, tensors
from cartalg_codegen.proofs import exact
from cartalg_codegen.proofs.convolutions import EdgeKernel, TorchEdgeKernel
from cartalg_codegen.proofs.identities import Space, Sparse
from cartalg_codegen.proofs.rows import RowKernel, require, same

#: What a row may state; a row's own claims are among these.
CLAIMS = ("symmetric", "traceless", "equivariant", "parity", "complete", "closed form", "derivatives")
_RULE = ("symmetric", "traceless", "equivariant", "parity")
_KERNEL = ("symmetric", "traceless", "equivariant", "parity", "closed form", "derivatives")


@dataclass(frozen=True)
class Row:
    """One rule or kernel: what was proved of it, or what failed."""

    name: str
    kind: str
    claims: tuple[str, ...]
    seconds: float
    failure: str = ""
    method: str = ""


@dataclass(frozen=True)
class Task:
    """A row to be proved, as plain data, so that another process can do it."""

    name: str
    kind: str
    arguments: tuple[Any, ...]


def tasks(max_rank: int, folder: Path) -> Iterator[Task]:
    """Every row of a report: rules to `max_rank`, the kernels of `folder` and, beyond its rank, kernels emitted anew.

    Raises:
        ValueError: If the rank is not a positive integer.
        FileNotFoundError: If the folder holds no kernel set.
    """
    if check_rank(max_rank, "max_rank") < 1:
        raise ValueError("max_rank must be at least 1")
    manifest = json.loads((folder / emit.MANIFEST).read_text())
    ranks = range(max_rank + 1)
    for rank in ranks:
        yield Task(f"rank {rank}: basis, projector, harmonic", "rank", (rank,))
    for l1 in ranks:
        for l2 in ranks:
            yield Task(f"({l1}, {l2}): all couplings together", "pair", (l1, l2))
            for l3 in range(abs(l1 - l2), min(l1 + l2, max_rank) + 1):
                yield Task(f"({l1}, {l2}) -> {l3}", "rule", (l1, l2, l3))
    for formula in tensors.USUAL:
        yield Task(f"tensors {formula}", "decomposition", (formula,))
    listed = manifest["kernels"]
    for name, facts in listed.items():
        for backend, digest in facts["sha256"].items():
            file = folder / f"{backend}_kernels" / f"{name}.py"
            yield Task(f"{backend} {name}", "kernel", (facts, backend, name, str(file), digest))
    if max_rank > manifest["max_rank"]:
        for name, make in emit.kernels(max_rank):
            if name not in listed:
                kernel = make()
                for backend, text in kernel.texts.items():
                    yield Task(
                        f"{backend} {name}", "kernel", (json.loads(json.dumps(kernel.facts)), backend, name, text)
                    )


def prove(task: Task) -> Row:
    """Prove one row; a failure is part of the row."""
    start = time.perf_counter()
    claims: tuple[str, ...] = ()
    method = failure = ""
    try:
        claims, method = _PROOFS[task.kind](*task.arguments)
    except Exception as error:  # whatever goes wrong while running the source is a disproof
        failure = f"{type(error).__name__}: {error}"
    return Row(task.name, task.kind, claims, time.perf_counter() - start, failure, method)


def report(
    max_rank: int, folder: Path, progress: Callable[[str, int, int], None] | None = None, processes: int | None = None
) -> list[Row]:
    """All rows, in order, proved by several processes.

    Args:
        max_rank: Highest rank; rules and kernels beyond the folder's rank are derived anew.
        folder: A kernel set.
        progress: Called with (row, number done, number in all).
        processes: By default one for each core.
    """
    todo = list(tasks(max_rank, folder))
    # long ones first, so that the last process does not end alone
    order = sorted(range(len(todo)), key=lambda n: -_size(todo[n]))
    rows: list[Row | None] = [None] * len(todo)
    workers = processes or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(prove, todo[n]): n for n in order}
        for done, future in enumerate(as_completed(futures), start=1):
            rows[futures[future]] = future.result()
            if progress:
                progress(todo[futures[future]].name, done, len(todo))
    return [row for row in rows if row is not None]


def _size(task: Task) -> int:
    return (
        sum(task.arguments[0]["operations"].values())
        if task.kind == "kernel"
        else sum(a for a in task.arguments if isinstance(a, int))
    )


def _prove_rank(rank: int) -> tuple[tuple[str, ...], str]:
    proofs.prove_basis(rank)
    proofs.prove_projector(rank)
    proofs.prove_full_tensor(rank)
    return _RULE, "orthogonal basis, idempotent projector, unpacking and packing, over Q"


def _prove_pair(l1: int, l2: int) -> tuple[tuple[str, ...], str]:
    proofs.prove_complete(l1, l2)
    return ("complete",), "an orthogonal change of basis"


def _prove_rule(*ranks: int) -> tuple[tuple[str, ...], str]:
    proofs.prove_coupling(coupling(*ranks))
    return (*_RULE, "closed form"), "commutes with the generators of so(3); both constants in closed form"


def _prove_decomposition(formula: str) -> tuple[tuple[str, ...], str]:
    proofs.prove_decomposition(formula)
    return ("symmetric", "complete"), "orthogonal parts that fill the space of the index symmetry"


def _prove_kernel(
    facts: dict[str, Any], backend: str, name: str, source: str, digest: str | None = None
) -> tuple[tuple[str, ...], str]:
    text = source if digest is None else Path(source).read_text()
    claims: tuple[str, ...] = _KERNEL
    # what runs is proved first, so that a changed file is told by what is wrong with it
    if facts["kind"] == "convolution" and backend == "numba":
        EdgeKernel(facts, text, name).prove()
        method = "identities of polynomials; square root and knot at a rational point"
    elif facts["kind"] == "convolution":
        TorchEdgeKernel(facts, text, name).prove()
        claims, method = _KERNEL[:-1], "identities of polynomials; derivatives are autograd's"
    elif facts["kind"] == "linear":
        _prove_linear(text, name)
        claims, method = ("equivariant", "parity", "closed form"), "identities of polynomials on one layout"
    else:
        RowKernel(facts, text, backend, name).prove()
        claims = claims[2:] if facts["kind"] == "unpack" else claims
        method = "identities of polynomials"
    if digest is not None:
        found = hashlib.sha256(text.encode()).hexdigest()
        require(found == digest, f"{source} is not the file that was generated: its sha256 is not the manifest's")
    return claims, method


def _prove_linear(text: str, name: str) -> None:
    """Channel mixing of a scalar from two paths and a vector from one, three atoms, three channels."""
    space, atoms, channels = Space(), 3, 3
    x, weight = space.variables(atoms, 5 * channels), space.variables(3 * channels, channels)
    layout = [
        [1, 0, 2 * channels, 2 * channels, 0, 0, 4, 0],
        [3, 2 * channels, channels, channels, 2 * channels, 1, 4, 0],
    ]
    out = np.full((atoms * 4, channels), 0, dtype=object)
    exact.load(text, name)["forward"](0, atoms, 0, np.array(layout), x, weight, out)
    for n in range(atoms):
        rows = [(x[n, : 2 * channels], weight[: 2 * channels])]
        rows += [(x[n, (2 + m) * channels : (3 + m) * channels], weight[2 * channels :]) for m in range(3)]
        for row, (values, w) in enumerate(rows):
            expected = [sum((v * w[i, c] for i, v in enumerate(values)), Sparse({})) for c in range(channels)]
            require(same(out[4 * n + row], np.array(expected, dtype=object)), "forward is not a matrix product")


_PROOFS: dict[str, Callable[..., tuple[tuple[str, ...], str]]] = {
    "rank": _prove_rank,
    "pair": _prove_pair,
    "rule": _prove_rule,
    "decomposition": _prove_decomposition,
    "kernel": _prove_kernel,
}


def markdown(rows: list[Row]) -> str:
    """The report as a Markdown table."""
    head = ["rule or kernel", *CLAIMS, "s", "how, or what fails"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        marks = ["FAILS" if row.failure else ("proved" if claim in row.claims else "") for claim in CLAIMS]
        lines.append(f"| {row.name} | {' | '.join(marks)} | {row.seconds:.2f} | {row.failure or row.method} |")
    return "\n".join(lines) + "\n"
