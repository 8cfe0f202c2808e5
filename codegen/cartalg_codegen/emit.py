"""From a plan to files: programs are derived once, printed for each backend, and listed in a manifest.

    rules (cartalg.symbolic) -> forms -> derive -> printers -> files + manifest.json

Output is deterministic: no date, no machine, no order that depends on a hash seed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartalg.files import write_file
from cartalg.symbolic.reducible import decompose
from cartalg_codegen import convolution_numba, convolution_torch, linear, numba_printer, plan, tensors, torch_printer
from cartalg_codegen.derive import gradient, tangent
from cartalg_codegen.forms import harmonic_squared_norm, harmonics, pair
from cartalg_codegen.names import tensor_kernel_name
from cartalg_codegen.program import Program, degree
from cartalg_codegen.text import header

GENERATOR = "1"
BACKENDS = ("numba", "torch")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Kernel:
    """One kernel of a set: its facts and its text for each backend."""

    name: str
    facts: dict[str, Any]
    texts: dict[str, str]


def stages(forward: Program, features: tuple[str, ...], parameter: str | None = None) -> tuple[Program, ...]:
    """forward, backward and the tangents of both; with a parameter, also the stages that have its gradient."""
    programs = [forward, tangent(forward, features, "forward_tangent", f"Tangent of: {forward.summary}")]
    for suffix, wrt in (("", features), *([(f"_{parameter}", (*features, parameter))] if parameter else [])):
        gradients = f"Gradient to {', '.join(wrt)} of: {forward.summary}"
        backward = gradient(forward, wrt, f"backward{suffix}", gradients)
        programs += [backward, tangent(backward, features, f"backward_tangent{suffix}", f"Tangent of: {gradients}")]
    return tuple(programs)


def _finish(name: str, rule: str, layout: str, source: str, facts: dict[str, Any], bodies: dict[str, str]) -> Kernel:
    described = [("Rule", rule), ("Layout", layout)]
    described += [("Operations", ", ".join(f"{k} {v}" for k, v in facts["operations"].items()))]
    texts = {}
    for backend, body in bodies.items():
        digest = hashlib.sha256(f"{GENERATOR}\n{backend}\n{rule}\n{body}".encode()).hexdigest()[:16]
        origin = [("Derivation", f"{source}, generator {GENERATOR}, sha256 {digest}")]
        texts[backend] = header(name, described + origin) + "\n" + body.rstrip() + "\n"
    return Kernel(name, facts, texts)


def _rows_kernel(
    name: str,
    forward: Program,
    features: tuple[str, ...],
    rule: str,
    layout: str,
    source: str,
    facts: dict[str, Any],
    parameter: str | None = None,
) -> Kernel:
    programs = stages(forward, features, parameter)
    species = (parameter,) if parameter else ()
    numba = "from numba import njit\n\n\n"
    numba += "\n\n".join(numba_printer.row_kernel(p, p.name, species) for p in programs)
    torch = "import torch\n\n\n" + "\n\n".join(torch_printer.function(p, p.name, species) for p in programs)
    facts = {**facts, "operations": {p.name: p.operations for p in programs}}
    return _finish(name, rule, layout, source, facts, {"numba": numba, "torch": torch})


def harmonics_kernel(max_rank: int) -> Kernel:
    """Cartesian harmonics with their derivatives."""
    return _rows_kernel(
        plan.harmonics_name(max_rank),
        harmonics(max_rank),
        ("v",),
        "T_l(v) = (2l-1)!!/l! P_l v..v, homogeneous of degree l   [docs/theory.md, eq. 7]",
        f"v [n, 3] -> y [n, {(max_rank + 1) ** 2}], ranks one after the other, m = -l..l, orthogonal rational basis",
        "cartalg/symbolic/basis.py",
        {"kind": "harmonics", "max_rank": max_rank},
    )


def coupling_kernel(l1: int, l2: int, l3: int) -> Kernel:
    """One pair coupling with its derivatives."""
    odd = (l1 + l2 + l3) % 2
    k = (l1 + l2 - l3 - odd) // 2
    rule = f"T = {'P(eps a b)' if odd else 'P(a b)'}, {k} further contractions, harmonic normalisation"
    return _rows_kernel(
        plan.coupling_name(l1, l2, l3),
        pair(l1, l2, l3),
        ("a", "b"),
        f"{rule}   [docs/theory.md, eqs. 10-12]; couples ({l1}, {l2}) -> {l3}, {'odd' if odd else 'even'}",
        f"a [n, {2 * l1 + 1}, channels], b [n, {2 * l2 + 1}, channels] -> out [n, {2 * l3 + 1}, channels]",
        "cartalg/symbolic/coupling.py",
        {"kind": "coupling", "ranks": [l1, l2, l3], "parity": "odd" if odd else "even"},
    )


def convolution_kernel(parity: plan.Parity, hidden: int, edge: int) -> Kernel:
    """The fused edge convolution with its derivatives."""
    form = plan.convolution(parity, hidden, edge)
    bodies = {"numba": convolution_numba.body(form), "torch": convolution_torch.body(form)}
    facts = {
        "kind": "convolution",
        "chunk": convolution_numba.CHUNK,
        "edge_size": form.edge_size,
        "parity": parity,
        "hidden": hidden,
        "edge": edge,
        "left": plan.layout(form.left),
        "outputs": plan.layout(form.reached),
        "paths": [
            {
                "left": list(p.left),
                "edge": list(p.edge),
                "out": list(p.out),
                "orthonormal_squared": str(p.orthonormal_squared),
                "edge_squared_norm": str(harmonic_squared_norm(p.edge[0])),
            }
            for p in form.paths
        ],
        "operations": convolution_numba.operations(form),
    }
    listed = ", ".join(f"({p.left[0]},{p.edge[0]})->{p.out[0]}" for p in form.paths)
    rule = (
        "out_i = sum over edges i <- j of w_p(r) C_p x_j T(n), v = r n, paths kept apart   [docs/theory.md, eq. 14]; "
        f"{len(form.paths)} paths {listed}"
    )
    layout = "x [atoms, component, channel] -> out [atoms, (irrep, component, path), channel]; edges in CSR order"
    return _finish(plan.convolution_name(parity, hidden, edge), rule, layout, "cartalg_codegen/forms.py", facts, bodies)


def linear_kernel() -> Kernel:
    """Channel mixing for each irrep, for code that runs without a framework."""
    facts = {"kind": "linear", "operations": {"forward, per row and pair of channels": 2}}
    rule = "out[n, k] = sum_q x[n, k, q] W[q] for every irrep; components do not mix   [docs/theory.md, section 5]"
    layout = "x [atoms, numbers], weight [rows, channel] -> out [(atom, component), channel]; `layout` lists the irreps"
    return _finish("linear", rule, layout, "cartalg_codegen/linear.py", facts, {"numba": linear.body()})


def product_kernel(parity: plan.Parity, basis: plan.Basis, features: int, outputs: int, correlation: int) -> Kernel:
    """The product basis with its derivatives."""
    form = plan.product(parity, basis, features, outputs, correlation)
    forward, weights = form.build()
    facts = {
        "kind": "product",
        "parity": parity,
        "basis": basis,
        "correlation": correlation,
        "degree_in_weights": degree(forward, "w"),
        "features": plan.layout(form.features),
        "outputs": plan.layout(form.outputs),
        "weights": [
            {"order": w.order, "label": w.label, "out": list(w.out), "orthonormal_squared": str(w.orthonormal_squared)}
            for w in weights
        ],
    }
    return _rows_kernel(
        plan.product_name(parity, basis, features, outputs, correlation),
        forward,
        ("a",),
        f"out = sum over orders 1..{correlation} of weighted couplings A x .. x A, {basis} basis"
        "   [docs/theory.md, eq. 15]",
        f"a [atoms, component, channel], w [species, {len(weights)}, channel] -> out [atoms, component, channel]",
        "cartalg_codegen/forms.py",
        facts,
        "w",
    )


def tensor_kernel(kind: str, formula: str) -> Kernel:
    """Packing of Cartesian tensors with an index symmetry, or its inverse."""
    program, found = tensors.program(kind, formula), decompose(formula)
    full, packed = f"[n, 3^{found.order}, channels], row-major", f"[n, {found.dimension}, channels], parts {found}"
    facts = {
        "kind": kind,
        "formula": formula,
        "parts": [{"rank": part.rank, "squared_norm": str(part.squared_norm)} for part in found.parts],
        "sizes": [program.inputs[0].size, program.outputs[0].size],
    }
    return _rows_kernel(
        tensor_kernel_name(kind, formula),
        program,
        ("t",),
        f"{'parts of T' if kind == 'pack' else 'T from its parts'}, {formula}   [docs/theory.md, eqs. 34-36]",
        f"t {full if kind == 'pack' else packed} -> out {packed if kind == 'pack' else full}",
        "cartalg/symbolic/reducible.py",
        facts,
    )


def kernels(
    max_rank: int, also: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> Iterator[tuple[str, Callable[[], Kernel]]]:
    """Every kernel of a set as (name, function that derives it), in the order of the pipeline.

    Raises:
        ValueError: If a name in `only` stands for no kernel within `max_rank`.
    """
    every = dict(_kernels(plan.Plan(max_rank, also)))
    unknown = [name for name in only if name not in every]
    if unknown:  # beyond the usual: the plan knows whether it can be had
        every = dict(_kernels(plan.Plan(max_rank, (*also, *unknown))))
    yield from ((name, make) for name, make in every.items() if not only or name in only)


def _kernels(chosen: plan.Plan) -> Iterator[tuple[str, Callable[[], Kernel]]]:
    for rank in chosen.harmonics():
        yield plan.harmonics_name(rank), lambda rank=rank: harmonics_kernel(rank)  # type: ignore[misc]
    for ranks in chosen.couplings():
        yield plan.coupling_name(*ranks), lambda ranks=ranks: coupling_kernel(*ranks)  # type: ignore[misc]
    yield "linear", linear_kernel
    for conv in chosen.convolutions():
        yield plan.convolution_name(*conv), lambda conv=conv: convolution_kernel(*conv)  # type: ignore[misc]
    for kind, formula in chosen.tensors():
        yield tensor_kernel_name(kind, formula), lambda k=kind, f=formula: tensor_kernel(k, f)  # type: ignore[misc]
    for prod in chosen.products():
        yield plan.product_name(*prod), lambda prod=prod: product_kernel(*prod)  # type: ignore[misc]


def render(
    max_rank: int,
    progress: Callable[[str, int, int], None] | None = None,
    also: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
) -> dict[str, str]:
    """All files of a kernel set as {relative path: text}.

    Args:
        max_rank: Highest rank of any tensor, at least 1.
        progress: Called with (kernel name, number done, number in all) after each kernel.
        also: Names of convolutions and products beyond the usual ones.
        only: Names of the kernels to emit; by default all.
    Raises:
        ValueError: If `max_rank` is not a positive integer, or a name in `also` stands for no kernel within it.
    """
    files: dict[str, str] = {}
    listing: dict[str, Any] = {}
    todo = list(kernels(max_rank, also, only))
    for number, (name, make) in enumerate(todo, start=1):
        kernel = make()
        hashes = {}
        for backend, text in kernel.texts.items():
            files[f"{backend}_kernels/{name}.py"] = text
            hashes[backend] = hashlib.sha256(text.encode()).hexdigest()
        listing[name] = {**kernel.facts, "sha256": hashes}
        if progress:
            progress(name, number, len(todo))
    for package, title in (
        ("", "Kernels for irreducible Cartesian tensors"),
        *((f"{b}_kernels/", f"{b} kernels") for b in BACKENDS),
    ):
        files[f"{package}__init__.py"] = header(title, [("List", "manifest.json")])
    manifest: dict[str, Any] = {
        "generator": GENERATOR,
        "max_rank": max_rank,
        "also": sorted(set(also)),
        "only": sorted(set(only)),
    }
    manifest["kernels"] = listing
    files[MANIFEST] = json.dumps(manifest, indent=1) + "\n"
    return files


def write(files: dict[str, str], folder: Path) -> None:
    """Write a kernel set, each file whole; emitted files that are no longer in the set are removed.

    Raises:
        FileExistsError: If the folder holds files but no kernel set: nothing of the user's is overwritten.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise FileExistsError(f"{folder} is not empty and holds no kernel set ({MANIFEST}); choose an empty folder")
    for relative, text in files.items():
        write_file(folder / relative, text)
    for stale in _emitted(folder) - set(files):
        (folder / stale).unlink()


def differences(files: dict[str, str], folder: Path) -> list[str]:
    """What differs between a rendered set and a folder, one line a file; empty if the folder is current."""
    present = _emitted(folder)
    result = [f"missing: {name}" for name in files if name not in present]
    result += [f"not part of the set: {name}" for name in sorted(present - set(files))]
    result += [f"changed: {n}" for n, text in files.items() if n in present and (folder / n).read_text() != text]
    return sorted(result)


def _emitted(folder: Path) -> set[str]:
    kinds = ["*.py", MANIFEST, *(f"{b}_kernels/*.py" for b in BACKENDS)]
    return {str(p.relative_to(folder)) for kind in kinds for p in folder.glob(kind)}
