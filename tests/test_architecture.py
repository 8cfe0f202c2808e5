"""Who may import whom: imports run one way, from the rules to the command line."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"cartalg.symbolic"},
    {"cartalg_codegen"},
    {"cartalg_kernels"},
    {"cartalg.ops", "cartalg.architecture", "cartalg.cli.terminal"},
    {"cartalg.data.frames", "cartalg.data.graphs", "cartalg.data.statistics", "cartalg.data"},
    {"cartalg.nn"},
    {"cartalg.model"},
    {"cartalg.train", "cartalg.interfaces", "cartalg.datasets"},
    {"cartalg.atlas"},
    {"cartalg.demo"},
    {"cartalg.cli"},
    {"cartalg.__main__"},
]


def layer(module):
    matches = [
        (len(name), n) for n, names in enumerate(LAYERS) for name in names if (module + ".").startswith(name + ".")
    ]
    return max(matches)[1] if matches else None


def modules():
    for root in (ROOT, ROOT / "codegen"):
        for path in root.glob("cartalg*/**/*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            yield pytest.param(name, path, id=name)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_imports_run_one_way(name, path):
    own = layer(name)
    for target in imported(path):
        if own is not None and layer(target) is not None:
            assert layer(target) <= own, f"{name} imports {target}"


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_the_rules_and_the_generator_know_no_floating_point(name, path):
    """Arrays of exact numbers are the exception: tensors of any rank, and what emitted source is run on in proofs."""
    if name.startswith(("cartalg.symbolic", "cartalg_codegen")):
        holders = ("cartalg.symbolic.reducible", "cartalg.symbolic.spherical", "cartalg.symbolic.proofs")
        boxes = {"numpy"} if name.startswith((*holders, "cartalg_codegen.proofs")) else set()
        assert not {t.split(".")[0] for t in imported(path)} & ({"numpy", "torch", "numba"} - boxes)


def test_generated_files_import_nothing_of_the_library():
    for path in (ROOT / "generated").rglob("*.py"):
        assert all(t.split(".")[0] in {"numpy", "numba", "torch"} for t in imported(path)), path


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_the_model_contains_no_einsum(name, path):
    if name.startswith(("cartalg.nn", "cartalg.model")):
        assert "einsum" not in path.read_text()
