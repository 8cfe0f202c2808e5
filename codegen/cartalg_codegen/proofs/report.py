"""The proof report: every rule and every emitted kernel of a set, one row each, all exact.

rules: cartalg.symbolic.proofs   kernels: rows, convolutions, parts   sets: facts, on the files as they lie there
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from cartalg.collector import at_rest
from cartalg.symbolic import proofs
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.ranks import check_rank
from cartalg_codegen import emit
from cartalg_codegen.counts import operations
from cartalg_codegen.proofs import aligned, facts, parts
from cartalg_codegen.proofs.convolutions import Convolution, ConvolutionKernel
from cartalg_codegen.proofs.dialect import NUMBA
from cartalg_codegen.proofs.exact import Sources, folder_reader
from cartalg_codegen.proofs.identities import Disproved
from cartalg_codegen.proofs.rows import RowKernel
from cartalg_codegen.sets import SYMMETRIES, Set
from cartalg_codegen.specs import (
    AlignedConvolutionSpec,
    AlignedMessageSpec,
    ConvolutionSpec,
    EdgeSpec,
    EdgeSumSpec,
    FrameSpec,
    KernelSpec,
    LinearSpec,
    MessageSpec,
    ProductSpec,
    parse,
)

#: What a row may state; a row's own claims are among these.
CLAIMS = ("symmetric", "traceless", "equivariant", "parity", "complete", "closed form", "derivatives", "facts")
_SHAPE = ("symmetric", "traceless", "equivariant", "parity")


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
    size: int = 0


def tasks(max_rank: int, folder: Path) -> Iterator[Task]:
    """Every row of a report: rules to `max_rank`, the kernels of `folder`, and others to that rank, emitted anew.

    Raises:
        ValueError: If the rank is not a positive integer.
        FileNotFoundError: If the folder holds no kernel set.
    """
    if check_rank(max_rank, "max_rank") < 1:
        raise ValueError("max_rank must be at least 1")
    ranks = range(max_rank + 1)
    for rank in ranks:
        yield Task(f"rank {rank}: basis, projector, harmonic", "rank", (rank,))
    for l1 in ranks:
        for l2 in ranks:
            yield Task(f"({l1}, {l2}): all couplings together", "pair", (l1, l2))
            for l3 in range(abs(l1 - l2), min(l1 + l2, max_rank) + 1):
                yield Task(f"({l1}, {l2}) -> {l3}", "rule", (l1, l2, l3))
    for formula in SYMMETRIES:
        yield Task(f"tensors {formula}", "decomposition", (formula,))
    yield Task("kernel set: files, manifest", "set", (str(folder),))
    listed = facts.read_manifest(folder)["kernels"]
    for name, entry in listed.items():
        yield from _kernels(name, entry.get("kind", ""), (entry, str(folder)))
    if not facts.read_manifest(folder).get("only"):
        for spec in others(max_rank):
            if spec.name not in listed:
                yield from _kernels(spec.name, spec.kind, ({}, ""))


def _kernels(name: str, kind: str, arguments: tuple[Mapping[str, Any], str]) -> Iterator[Task]:
    try:
        size = _size(parse(name))
    except ValueError:
        size = 0  # the row says what is wrong
    for backend in facts.backends_of(kind):
        yield Task(f"{backend} {name}", "kernel", (name, backend, *arguments), size if backend == NUMBA else 0)


def others(max_rank: int) -> Iterator[KernelSpec]:
    """Kernels to a rank: the usual ones, and variants that models can ask for.

    Variants are long: from rank 3 on they are those of the rank below.
    """
    last = max_rank if max_rank < 3 else max_rank - 1
    wanted = [*Set(max_rank).usual()]
    for edge in range(1, last + 1):
        wanted += [ConvolutionSpec("full", hidden, edge) for hidden in range(1, min(edge, 2) + 1)]
    for features in range(1, last + 1):
        for outputs in range(min(features, 2) + 1):
            if features <= 3:
                wanted.append(ProductSpec("natural", "ordered", features, outputs, 3))
            if features <= 2 and outputs <= 1:
                wanted.append(ProductSpec("natural", "limited", features, outputs, 4))
                wanted += [ProductSpec("natural", "complete", features, outputs, n) for n in (2, 3)]
                wanted += [ProductSpec("natural", "independent", features, outputs, n) for n in range(3, 6 - features)]
                wanted += [ProductSpec("full", "limited", features, outputs, n) for n in range(1, 5 - features)]
    yield from dict.fromkeys(part for spec in wanted for part in (*spec.parts, spec))


def prove(task: Task) -> Row:
    """Prove one row; a failure is part of the row."""
    start = time.perf_counter()
    claims: tuple[str, ...] = ()
    method = failure = ""
    try:
        with at_rest():  # polynomials are many small objects, none in a cycle
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
        processes: By default one for each core that this process may use.
    """
    todo = list(tasks(max_rank, folder))
    # long ones first, so that the last process does not end alone
    order = sorted(range(len(todo)), key=lambda n: -todo[n].size)
    rows: list[Row | None] = [None] * len(todo)
    workers = processes or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(prove, todo[n]): n for n in order}
        for done, future in enumerate(as_completed(futures), start=1):
            rows[futures[future]] = future.result()
            if progress:
                progress(todo[futures[future]].name, done, len(todo))
    return [row for row in rows if row is not None]


def _size(spec: KernelSpec) -> int:
    """How long a proof takes, roughly."""
    if isinstance(spec, AlignedConvolutionSpec | AlignedMessageSpec):
        return 100 * (spec.hidden + 1) ** 2 * (spec.edge + 1) ** 2
    if isinstance(spec, ConvolutionSpec):
        return 100 * (spec.hidden + 1) ** 2 * (spec.edge + 1) ** 2 * (4 if spec.parity == "full" else 1)
    if isinstance(spec, ProductSpec):
        return (spec.features + 1) ** (spec.correlation + 1) * (spec.outputs + 1) * (2 if spec.parity == "full" else 1)
    return spec.rank


def _prove_rank(rank: int) -> tuple[tuple[str, ...], str]:
    proofs.prove_basis(rank)
    proofs.prove_projector(rank)
    proofs.prove_full_tensor(rank)
    return _SHAPE, "orthogonal basis, idempotent projector, packing: all commute with so(3) and a reflection, over Q"


def _prove_pair(l1: int, l2: int) -> tuple[tuple[str, ...], str]:
    proofs.prove_complete(l1, l2)
    return ("complete",), "an orthogonal change of basis"


def _prove_rule(*ranks: int) -> tuple[tuple[str, ...], str]:
    proofs.prove_coupling(coupling(*ranks))
    return (*_SHAPE, "closed form"), "commutes with so(3) and a reflection; both constants in closed form"


def _prove_decomposition(formula: str) -> tuple[tuple[str, ...], str]:
    proofs.prove_decomposition(formula)
    claims = ("symmetric", "equivariant", "parity", "complete")
    return claims, "orthogonal parts that fill the space and commute with so(3) and a reflection"


def _prove_set(folder: str) -> tuple[tuple[str, ...], str]:
    facts.prove_folder(Path(folder))
    return ("facts",), "the files of the manifest and no others, each with a hash"


@cache
def _emitted(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The manifest's entry and the files of a kernel with its parts, derived now."""
    spec = parse(name)
    texts = emit.kernel_files(spec)
    listed = emit.Listed(spec, operations(spec), {path: emit.digest(text) for path, text in texts.items()})
    files = dict(texts)
    for part in spec.parts:
        files |= _emitted(part.name)[1]
    return listed.to_json(), files


def _prove_kernel(name: str, backend: str, entry: Mapping[str, Any], folder: str) -> tuple[tuple[str, ...], str]:
    if folder:
        read = folder_reader(Path(folder) / f"{backend}_kernels")
    else:
        entry, files = _emitted(name)

        def read(path: str) -> str:
            if (file := f"{backend}_kernels/{path}.py") not in files:
                raise Disproved(f"{file} is missing")
            return files[file]

    spec = facts.prove_facts(name, entry)
    path = facts.own_path(spec)
    claims, method = _prove_source(spec, read, path, backend)
    # what runs is proved first, so that a changed file is told by what is wrong with it
    sources = Sources(backend, read)
    sources.load(path)
    facts.prove_hashes(spec, entry, backend, sources, read)
    return (*claims, "facts"), method


def _prove_source(spec: KernelSpec, read: Callable[[str], str], path: str, backend: str) -> tuple[tuple[str, ...], str]:
    """What is proved of the source of a kernel."""
    derivatives = ("derivatives",) if backend == NUMBA else ()
    trusted = "" if backend == NUMBA else "; derivatives are autograd's"
    if isinstance(spec, LinearSpec):
        parts.prove_linear(read, path)
        return ("equivariant", "parity", "closed form"), "a matrix product for each irrep, on layouts of many sizes"
    if isinstance(spec, EdgeSpec):
        parts.prove_edge(spec, read, path, backend)
        return ("closed form", *derivatives), "identities of polynomials in v and 1/|v|" + trusted
    if isinstance(spec, MessageSpec):
        message = parts.Message(spec, read, path, backend)
        if backend == NUMBA:
            message.prove()
        else:
            message.prove_torch()
        return ("closed form", *derivatives), "identities of polynomials" + trusted
    if isinstance(spec, FrameSpec):
        aligned.prove_frame(spec, read, path, backend)
        return ("closed form", *derivatives), "identities of polynomials in v, 1/|v| and 1/(1 + |n_z|)" + trusted
    if isinstance(spec, AlignedMessageSpec):
        summed = aligned.Message(spec, read, path, backend)
        if backend == NUMBA:
            summed.prove()
        else:
            summed.prove_torch()
        return ("closed form", *derivatives), "identities of polynomials" + trusted
    if isinstance(spec, EdgeSumSpec):
        rule = _rule_of(spec)
        if backend == NUMBA:
            ConvolutionKernel(spec, rule, read, path).prove()
        else:
            parts.prove_torch_convolution(rule, read, path)
        return (*_SHAPE, "closed form", *derivatives), "identities of polynomials on graphs" + trusted
    RowKernel(spec, read, path, backend).prove()
    claims = _SHAPE[2:] if spec.kind == "unpack" else _SHAPE
    return (*claims, "closed form", *derivatives), "identities of polynomials" + trusted


def _rule_of(spec: EdgeSumSpec) -> Convolution:
    if isinstance(spec, AlignedConvolutionSpec):
        return aligned.AlignedRule(spec.hidden, spec.edge)
    assert isinstance(spec, ConvolutionSpec)
    return Convolution(spec.parity, spec.hidden, spec.edge)


_PROOFS: dict[str, Callable[..., tuple[tuple[str, ...], str]]] = {
    "rank": _prove_rank,
    "pair": _prove_pair,
    "rule": _prove_rule,
    "decomposition": _prove_decomposition,
    "set": _prove_set,
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
