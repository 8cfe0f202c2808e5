"""The atlas: a static site that needs no network and no server, one page a rank, coupling and tensor.

rules -> pages (Jinja2 templates, MathML)      emitted kernels -> source      proof report -> proofs
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import sympy as sp
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from cartalg import __version__
from cartalg.atlas.pictures import sparsity, surface
from cartalg.files import write_file
from cartalg.render.formats import mathml
from cartalg.symbolic.basis import basis_polynomials, cartesian_harmonic, squared_norms, to_sympy
from cartalg.symbolic.contraction import Contraction, contraction_constant
from cartalg.symbolic.coupling import Coupling, coupling
from cartalg.symbolic.formulas import contraction_formula, coupling_formula, harmonic_formula, projector_formula
from cartalg.symbolic.general import general_formulas
from cartalg.symbolic.notation import Exact, Node
from cartalg.symbolic.ranks import check_rank
from cartalg.symbolic.reducible import Decomposition, decompose
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.counts import operations
from cartalg_codegen.proofs.report import CLAIMS, Row
from cartalg_codegen.sets import SYMMETRIES
from cartalg_codegen.specs import CouplingSpec, HarmonicsSpec, KernelSpec, PackSpec, UnpackSpec
from cartalg_codegen.specs.pack import encoded
from cartalg_codegen.text import function_source

STATIC = Path(__file__).parent / "static"
#: What tensors of the usual index symmetries are in physics.
EXAMPLES = {
    "i": "vector: dipole moment, force",
    "ij": "general matrix: shielding tensor, stress with torques",
    "ij=ji": "symmetric matrix: polarizability, stress, quadrupole with trace",
    "ij=-ji": "antisymmetric matrix: an axial vector",
    "ijk": "general third-rank tensor",
    "ijk=ikj": "first hyperpolarizability, piezoelectric tensor",
    "ijk=jik=ikj": "hyperpolarizability with Kleinman symmetry, octupole with traces",
    "ijkl=jikl=klij": "elastic tensor, 21 constants",
}


def build(
    max_rank: int,
    folder: Path,
    rows: list[Row],
    progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Write the site.

    Args:
        max_rank: Highest rank, at least 1.
        folder: New or empty, or an atlas to be written anew.
        rows: The proof report to `max_rank`.
        progress: Called with (page, number done, number in all).
    Returns:
        Number of pages.
    Raises:
        ValueError: If the rank is not a positive integer.
        FileExistsError: If the folder holds something else: nothing of the user's is overwritten.
    """
    if check_rank(max_rank, "max_rank") < 1:
        raise ValueError("max_rank must be at least 1")
    if folder.exists() and any(folder.iterdir()) and not (folder / "search.js").exists():
        raise FileExistsError(f"{folder} is not empty and holds no atlas; choose an empty folder")
    pages = list(_pages(max_rank, rows))
    for number, (name, make) in enumerate(pages, start=1):
        for file, content in make().items():
            write_file(folder / file, content)
        if progress:
            progress(name, number, len(pages))
    entries = json.dumps(list(_search_entries(max_rank)), ensure_ascii=False)
    script = (STATIC / "search.js").read_text().replace("/*ENTRIES*/[]", entries)
    colours = HtmlFormatter(style="xcode").get_style_defs(".highlight")
    write_file(folder / "search.js", script)
    write_file(folder / "style.css", (STATIC / "style.css").read_text() + colours)
    return len(pages)


Page = tuple[str, Callable[[], dict[str, str | bytes]]]


def _pages(max_rank: int, rows: list[Row]) -> Iterator[Page]:
    environment = Environment(
        loader=PackageLoader("cartalg.atlas"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["kind"] = lambda ranks: Contraction(*ranks).kind.value
    environment.filters["math"] = lambda formula: Markup(mathml.expression(_formula(formula)))
    environment.filters["alone"] = lambda equation: replace(equation, where=())
    environment.filters["meaning"] = lambda equation: Markup(mathml.meaning(equation))
    environment.filters["code"] = lambda text: Markup(highlight(text, PythonLexer(), HtmlFormatter()))
    environment.globals |= {"version": __version__, "max_rank": max_rank, "claims": CLAIMS}
    proofs: dict[str, list[Row]] = {}
    for row in rows:
        proofs.setdefault(row.name.removeprefix("numba ").removeprefix("torch "), []).append(row)
    triples = list(_triples(max_rank))

    def page(file: str, template: str, facts: Callable[[], dict[str, Any]]) -> Page:
        return file, lambda: {file: environment.get_template(template).render(**facts())}

    for rank in range(max_rank + 1):
        file = f"rank-{rank}.html"
        yield page(file, "rank.html", lambda rank=rank: _rank_facts(rank, triples, proofs))  # type: ignore[misc]
        for m in range(-rank, rank + 1):
            name = f"surface-{rank}-{m}.png"
            yield name, lambda name=name, rank=rank, m=m: {name: surface(rank, m)}  # type: ignore[misc]
    for place, ranks in enumerate(triples):
        around = {"before": triples[place - 1] if place else None, "after": (*triples, None)[place + 1]}
        file = "coupling-{}-{}-{}.html".format(*ranks)
        yield page(
            file,
            "coupling.html",
            lambda ranks=ranks, around=around: {**_coupling_facts(coupling(*ranks), proofs), **around},  # type: ignore
        )
    for formula in SYMMETRIES:
        file = f"tensor-{encoded(formula)}.html"
        yield page(file, "tensor.html", lambda f=formula: _tensor_facts(decompose(f), proofs))  # type: ignore[misc]
    yield page("general.html", "general.html", lambda: {"general": general_formulas()})
    yield page("proofs.html", "proofs.html", lambda: {"rows": rows, "failed": [r for r in rows if r.failure]})
    index = {"triples": triples, "examples": EXAMPLES, "encoded": encoded, "rows": rows}
    yield page("index.html", "index.html", lambda: index)


def _triples(max_rank: int) -> Iterator[tuple[int, int, int]]:
    for l1 in range(max_rank + 1):
        for l2 in range(max_rank + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, max_rank) + 1):
                yield l1, l2, l3


def _rank_facts(rank: int, triples: list[tuple[int, int, int]], proofs: dict[str, list[Row]]) -> dict[str, Any]:
    column = cartesian_harmonic(rank)
    basis = [
        {
            "m": m - rank,
            "norm": to_sympy(n),
            "polynomial": sp.factor_terms(p.as_expr()),
            "harmonic": sp.factor_terms(column[m]),
            "spherical": sp.sqrt(to_sympy(n)),
        }
        for m, (p, n) in enumerate(zip(basis_polynomials(rank), squared_norms(rank), strict=True))
    ]
    kernel = HarmonicsSpec(rank) if rank else None
    return {
        "rank": rank,
        "projector": projector_formula(rank),
        "harmonic": harmonic_formula(rank),
        "basis": basis,
        "couplings": [t for t in triples if rank in t],
        "operations": operations(kernel) if kernel else {},
        "source": _source(kernel, "forward") if kernel else "",
        "proofs": [*proofs.get(f"rank {rank}: basis, projector, harmonic", ()), *proofs.get(f"harmonics_l{rank}", ())],
    }


def _coupling_facts(rule: Coupling, proofs: dict[str, list[Row]]) -> dict[str, Any]:
    ranks = (rule.l1, rule.l2, rule.l3)
    kernel = CouplingSpec(*ranks)
    factor = rule.scale("orthonormal")
    entries = [
        (k - rule.l3, a - rule.l1, b - rule.l2, to_sympy(c), to_sympy(c) * factor)
        for (k, a, b), c in rule.entries.items()
    ]
    name, general = "coupling_{}_{}_{}".format(*ranks), general_formulas()
    return {
        "rule": rule,
        "ranks": ranks,
        "contraction": contraction_formula(*ranks),
        "explicit": coupling_formula(*ranks),
        "constant": to_sympy(contraction_constant(*ranks)),
        "orthonormal": factor,
        "general": [general[f"{rule.kind} {what}"].equation for what in ("coupling", "orthonormal")],
        "entries": entries,
        "size": (2 * rule.l1 + 1) * (2 * rule.l2 + 1) * (2 * rule.l3 + 1),
        "picture": Markup(sparsity(rule)),
        "operations": operations(kernel),
        "sources": {name: _source(kernel, "forward", name) for name in BACKENDS},
        "backward": _source(kernel, "backward"),
        "proofs": [*proofs.get("({}, {}) -> {}".format(*ranks), ()), *proofs.get(name, ())],
    }


def _tensor_facts(found: Decomposition, proofs: dict[str, list[Row]]) -> dict[str, Any]:
    kernel = PackSpec(found.formula)
    parts = [
        {
            "rank": part.rank,
            "norm": part.squared_norm,
            "paths": [("→".join(map(str, path)), c) for path, c in part.paths.items()],
            "entries": int((part.embedding != 0).sum()),
        }
        for part in found.parts
    ]
    names = (f"tensors {found.formula}", *(kind(found.formula).name for kind in (PackSpec, UnpackSpec)))
    return {
        "found": found,
        "example": EXAMPLES[found.formula],
        "parts": parts,
        "operations": operations(kernel),
        "source": _source(kernel, "forward"),
        "proofs": [row for name in names for row in proofs.get(name, ())],
    }


def _source(kernel: KernelSpec, function: str, backend: str = "numba") -> str:
    """One function of a kernel, as it is emitted."""
    (text,) = BACKENDS[backend].print(kernel).values()
    return function_source(text, function)


def _formula(value: Node | sp.Expr) -> Node:
    return value if isinstance(value, Node) else Exact(value)


def _search_entries(max_rank: int) -> Iterator[list[str]]:
    """[words, what is shown, link] of every page."""
    for rank in range(max_rank + 1):
        yield [f"rank {rank} projector harmonic basis l={rank}", f"Rank {rank}", f"rank-{rank}.html"]
    for l1, l2, l3 in _triples(max_rank):
        kind = Contraction(l1, l2, l3).kind
        words = f"coupling {l1} {l2} {l3} {l1}{l2}{l3} ({l1},{l2})->{l3} {kind.value}"
        yield [words, f"Coupling ({l1}, {l2}) → {l3}", f"coupling-{l1}-{l2}-{l3}.html"]
    for formula, example in EXAMPLES.items():
        yield [
            f"tensor {formula} {example}",
            f"Tensors {formula}: {example}",
            f"tensor-{encoded(formula)}.html",
        ]
    yield ["general any rank formula", "Formulas of any rank", "general.html"]
    yield ["proofs", "Proofs", "proofs.html"]
