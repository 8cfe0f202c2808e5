"""Proofs about a kernel set as a whole: what its manifest says, which files it holds, and their hashes.

Every number that code reads from a specification, kept in the manifest or derived from the ranks, is derived here
again from the rules (`closed`, `convolutions`), and compared.
"""

import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cartalg.files import OBJECTS
from cartalg.symbolic.aligned import diagonal
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.counts import operations
from cartalg_codegen.emit import GENERATOR, MANIFEST, Manifest
from cartalg_codegen.proofs.aligned import AlignedRule
from cartalg_codegen.proofs.closed import harmonic_norm_squared, norm_squared, row_rule
from cartalg_codegen.proofs.convolutions import Convolution
from cartalg_codegen.proofs.dialect import NUMBA, TORCH
from cartalg_codegen.proofs.exact import Sources
from cartalg_codegen.proofs.identities import Disproved, require
from cartalg_codegen.specs import (
    AlignedConvolutionSpec,
    ConvolutionSpec,
    CouplingSpec,
    HarmonicsSpec,
    KernelSpec,
    LinearSpec,
    PackSpec,
    ProductSpec,
    UnpackSpec,
    from_json,
    parse,
)

#: Backends that emit no file for a kind of kernel.
NONE = {LinearSpec.kind: ("torch",)}


def prove_facts(name: str, entry: Mapping[str, Any]) -> KernelSpec:
    """The specification of a kernel, with every number that is read from it derived again.

    Args:
        name, entry: From the manifest.
    Raises:
        Disproved: With the number that is wrong.
    """
    try:
        spec = from_json(entry)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Disproved(f"the manifest does not describe {name}: {type(error).__name__}: {error}") from None
    keys = {"kind", *(f.name for f in fields(spec)), *spec.kept, "operations", "sha256"}
    require(set(entry) == keys, f"the manifest says {sorted(set(entry) ^ keys)} of {name}, or does not")
    require(spec.name == name and parse(name).name == name, f"{name} is described as {spec.name}")
    require(dict(entry["operations"]) == operations(spec), f"the operations of {name} are not those of its programs")
    if isinstance(spec, ConvolutionSpec):
        _convolution(spec)
    elif isinstance(spec, AlignedConvolutionSpec):
        _aligned(spec)
    elif isinstance(spec, HarmonicsSpec | CouplingSpec | PackSpec | UnpackSpec | ProductSpec):
        _rows(spec)
    # what is kept is what would be derived
    plain = parse(name).to_json()
    require(
        {k: entry[k] for k in plain} == json.loads(json.dumps(plain)), f"the manifest's numbers of {name} are others"
    )
    return spec


def _rows(spec: KernelSpec) -> None:
    rule = row_rule(spec)
    for slot, kind in {**rule.inputs, "out": rule.out}.items():
        require(spec.transforms(slot) == kind, f"{spec.name}: {slot} does not transform as {kind}")
    for slot, size in rule.sizes.items():
        require(spec.components[slot] == size, f"{spec.name}: {slot} has {size} components")
    if isinstance(spec, ProductSpec):
        ours = [(w.label, w.order, w.out, w.orthonormal_squared) for w in rule.weights]
        said = [(w.label, w.order, w.out, w.orthonormal_squared) for w in spec.weights]
        for a, b in zip(ours, said, strict=False):
            require(a == b, f"{spec.name}: the weight {b} should be {a}")
        require(len(ours) == len(said), f"{spec.name}: {len(said)} weights, not {len(ours)}")
        # a weighted triple inside a weighted tree of order 4
        twice = spec.correlation == 4 and spec.basis != "independent"
        degree = 2 if twice and any(w.order == 4 for w in rule.weights) else 1
        require(spec.degree_in_weights == degree, f"{spec.name}: the degree in the weights is {degree}")


def _convolution(spec: ConvolutionSpec) -> None:
    rule = Convolution(spec.parity, spec.hidden, spec.edge)
    require(spec.left == rule.left and spec.outputs == rule.outputs, f"{spec.name}: irreps are others")
    require(len(spec.paths) == len(rule.paths), f"{spec.name}: {len(spec.paths)} paths, not {len(rule.paths)}")
    for n, (said, path) in enumerate(zip(spec.paths, rule.paths, strict=True)):
        ours = {
            "left": path.left,
            "edge": path.edge,
            "out": path.out,
            "index": n,
            "left_offset": path.x.start,
            "out_offset": path.rows[0],
            "out_stride": rule.outputs.count(path.out),
            "orthonormal_squared": norm_squared(path.left, path.edge, path.out),
            "edge_squared_norm": harmonic_norm_squared(path.edge.l),
        }
        for what, value in ours.items():
            require(
                getattr(said, what) == value, f"{spec.name}: {what} of path {n} is {value}, not {getattr(said, what)}"
            )


def _aligned(spec: AlignedConvolutionSpec) -> None:
    rule = AlignedRule(spec.hidden, spec.edge)
    require(spec.left == rule.left and spec.outputs == rule.outputs, f"{spec.name}: irreps are others")
    require(list(map(tuple, spec.message.weights)) == rule.listed, f"{spec.name}: weights are others")
    for (l1, l3, m), said in zip(rule.listed, spec.variances, strict=True):
        paths = sum(path.out.l == l3 for path in rule.paths)
        squares = [
            norm_squared(p.left, p.edge, p.out)
            * p.edge.dim
            / harmonic_norm_squared(p.edge.l)
            * diagonal(l1, p.edge.l, l3)[m] ** 2
            for p in rule.paths
            if (p.left.l, p.out.l) == (l1, l3)
        ]
        require(said == sum(squares) / paths, f"{spec.name}: the variance of {(l1, l3, m)} is another")


def prove_hashes(
    spec: KernelSpec, entry: Mapping[str, Any], backend: str, sources: Sources, read: Callable[[str], str]
) -> None:
    """Every file of a kernel for one backend has the hash that the manifest lists."""
    main = BACKENDS[backend].file(spec)
    path = own_path(spec)
    own = [file for file in sources.files if file == path or file.startswith(f"{path}__")]
    listed = entry["sha256"]
    for file in own:
        relative = f"{backend}_kernels/{file}{BACKENDS[backend].suffix}"
        require(bool(listed.get(relative)), f"the manifest has no hash of {relative}")
        found = hashlib.sha256(read(file).encode()).hexdigest()
        wrong = f"{relative} is not the file that was generated: its sha256 is not the manifest's"
        require(found == listed[relative], wrong)
    more = {f for f in listed if f.startswith(f"{backend}_")} - {f"{backend}_kernels/{f}.py" for f in own}
    require(main in listed and not more, f"the manifest lists {sorted(more)}, which {main} does not import")
    expected = {part.name for part in spec.parts}
    imported = {file.rpartition("/")[2].partition("__")[0] for file in sources.files if file not in own}
    require(imported <= expected, f"{main} imports {sorted(imported - expected)}, which are no parts of it")


def own_path(spec: KernelSpec) -> str:
    """Of its file, below a backend's folder and without a suffix."""
    return f"{spec.kind}/{spec.name}"


def backends_of(kind: str) -> tuple[str, ...]:
    """Backends whose files are read here, where they have files for a kind of kernel."""
    return tuple(backend for backend in (NUMBA, TORCH) if backend not in NONE.get(kind, ()))


def _machine_code(folder: Path) -> set[str]:
    """Files that hold machine code of these kernels: found by hash, and tested, not proved."""
    try:
        objects = json.loads((folder / OBJECTS).read_text())["objects"]
    except FileNotFoundError:
        return set()
    strange = [name for name in objects if not re.fullmatch(r"[0-9a-f]{64}\.o", name)]
    require(not strange, f"{OBJECTS} lists what is no machine code: {', '.join(strange[:5])}")
    return {OBJECTS, *(str(Path(OBJECTS).parent / name) for name in objects)}


def prove_folder(folder: Path) -> None:
    """The folder holds the files of its manifest and no others; its package does nothing; the manifest is complete."""
    manifest = read_manifest(folder)
    try:
        chosen = Manifest.from_json(manifest).chosen
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Disproved(f"{MANIFEST} is no manifest: {type(error).__name__}: {error}") from None
    keys = {"generator", "max_rank", "also", "only", "kernels"}
    require(set(manifest) == keys and manifest["generator"] == GENERATOR, f"{MANIFEST} has other entries")
    names, wanted = list(manifest["kernels"]), [spec.name for spec in chosen.specs()]
    asked = {part.name for name in (*chosen.only, *chosen.also) for part in (*parse(name).parts, parse(name))}
    require(not (lost := sorted(asked - {*names})), f"{MANIFEST} lacks kernels that it was made for: {lost}")
    require(names == wanted, f"{MANIFEST} lists other kernels than its set: {sorted({*names} ^ {*wanted})}")
    files = {MANIFEST, "__init__.py", *(["py.typed"] if (folder / "py.typed").is_file() else [])}
    for name, entry in manifest["kernels"].items():
        for backend in backends_of(entry["kind"]):
            require(bool(entry["sha256"].get(BACKENDS[backend].file(parse(name)))), f"{name} has no hash for {backend}")
        files |= set(entry["sha256"])
        for file, digest in entry["sha256"].items():  # those of other backends have no row
            if not file.startswith((f"{NUMBA}_kernels/", f"{TORCH}_kernels/")):
                found = hashlib.sha256((folder / file).read_bytes()).hexdigest()
                require(found == digest, f"{file} is not the file that was generated")
    files |= _machine_code(folder)
    caches = "__pycache__"
    present = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir() and caches not in p.parts}
    require(not (stray := sorted(present - files)), f"files that are not part of the set: {', '.join(stray[:5])}")
    require(not (gone := sorted(files - present)), f"files of the set that are missing: {', '.join(gone[:5])}")
    require("py.typed" not in files or not (folder / "py.typed").read_bytes(), "py.typed holds something")
    package = ast.parse((folder / "__init__.py").read_text())
    require(not package.body, "__init__.py does something: it should be a comment")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError for a key that is there twice, of which readers see the last alone."""
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"{', '.join(twice)} is there twice")
    return dict(pairs)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest as it lies there. Raises FileNotFoundError if there is none, Disproved if it is no JSON."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no kernel set in {folder}: make one with `cartalg generate --out {folder}`")
    try:
        found = json.loads(path.read_text(), object_pairs_hook=_each_once)
    except ValueError as error:
        raise Disproved(f"{path} is no JSON: {error}") from None
    require(isinstance(found, dict) and isinstance(found.get("kernels"), dict), f"{path} lists no kernels")
    return found  # type: ignore[no-any-return]
