"""Who may import whom, and what may stand only in one place: read off the source, imports inside functions included."""

import ast
import re
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from cartalg.extras import EXTRAS

ROOT = Path(__file__).parent.parent
#: From the bottom up. A name stands for its submodules too, where they are not named themselves; the three packages
#: alone, for their `__init__`, which is run whenever a module of theirs is imported.
LAYERS = (
    {"cartalg", "cartalg_codegen", "cartalg_kernels"},
    {"cartalg.collector", "cartalg.extras", "cartalg.files", "cartalg.quantities"},
    {"cartalg.symbolic"},
    {"cartalg.physics"},
    {"cartalg.render"},
    {"cartalg_codegen.program"},
    {"cartalg_codegen.derive", "cartalg_codegen.text", "cartalg_codegen.tree"},
    {"cartalg_codegen.specs"},
    {"cartalg_codegen.lowering", "cartalg_codegen.sets"},
    {"cartalg_codegen.counts", "cartalg_codegen.backends"},
    {"cartalg_codegen.emit"},
    {"cartalg_codegen.proofs"},
    {"cartalg.ops"},
    {"cartalg.cli.terminal"},
    {"cartalg.architecture"},
    {"cartalg.data"},
    {"cartalg.nn"},
    {"cartalg.inference"},
    {"cartalg.chunks"},
    {"cartalg.learning"},
    {"cartalg.model"},
    {"cartalg.flow"},
    {"cartalg.compilation"},
    {"cartalg.export"},
    {"cartalg.train", "cartalg.datasets", "cartalg.uncertainty"},
    {"cartalg.interfaces", "cartalg.atlas"},
    {"cartalg.simulate"},
    {"cartalg.testing"},
    {"cartalg.demo", "cartalg.benchmark"},
    {"cartalg.cli"},
    {"cartalg.__main__"},
)
OWN = {"cartalg", "cartalg_codegen", "cartalg_kernels"}

#: Third-party modules that a module may import; others take none. The longest prefix counts.
KERNELS, NUMBA = {*EXTRAS["torch"]}, "cartalg_codegen.backends.numba"  # printers know no arrays
NUMBERS = {"sympy", "numpy"}  # arrays of exact numbers, or of floats at the boundary to other conventions
THIRD_PARTY = {
    "cartalg.symbolic": {"sympy"},
    "cartalg.symbolic.irreducible": NUMBERS,
    "cartalg.symbolic.isotropic": NUMBERS,
    "cartalg.symbolic.proofs": NUMBERS,
    "cartalg.symbolic.reducible": NUMBERS,
    "cartalg.symbolic.spherical": NUMBERS,
    "cartalg.symbolic.streaming": NUMBERS,
    "cartalg.symbolic.symbols": NUMBERS,
    "cartalg.physics": NUMBERS,
    "cartalg.render": {"sympy"},
    "cartalg.render.formats.mathml": {"latex2mathml"},
    "cartalg_codegen.specs.independent": {"flint"},
    "cartalg_codegen.specs.pack": {"sympy"},
    "cartalg_codegen.backends.folders": {"platformdirs"},
    **dict.fromkeys(
        (f"{NUMBA}.{part}" for part in ("binder", "entry", "making", "objects", "targets", "team")), KERNELS
    ),
    "cartalg_codegen.proofs": {"sympy", "numpy", "flint"},
    "cartalg.cli": {"typer", "rich"},
    "cartalg.cli.kernels": {"typer", "rich", "torch"},
    "cartalg.ops": {"torch"},
    "cartalg.nn": {"torch"},
    "cartalg.nn.repulsion": {"torch", "ase"},  # atomic numbers and radii
    "cartalg.nn.pairs": {"torch", "ase"},  # radii
    "cartalg.inference": {"torch"},
    "cartalg.chunks": {"torch"},
    "cartalg.learning": {"torch"},
    "cartalg.model": {"torch", "ase"},
    "cartalg.flow": {"torch"},
    "cartalg.architecture": {"pydantic"},
    "cartalg.compilation": {"torch", "ase", "llvmlite"},
    "cartalg.export": {"torch"},
    "cartalg.export.runtime": {"numpy"},
    "cartalg.data": {"torch", "numpy", "ase", "vesin", "scipy"},
    "cartalg.datasets": {"numpy", "ase", "pooch", "rich"},
    # run by hand, once, where these are installed
    "cartalg.datasets.acetamide": {"numpy", "ase", "pyscf", "tblite", "labels"},
    "cartalg.train": {"rich", "numpy", *EXTRAS["train"]},
    "cartalg.uncertainty": {"rich", "numpy", *EXTRAS["train"]},
    "cartalg.interfaces": {"numpy", "ase", "torch"},
    "cartalg.interfaces.lammps": {"numpy", "ase", "torch", *EXTRAS["lammps"]},
    "cartalg.interfaces.ipi_driver": {"numpy", "ase", "ipi"},
    "cartalg.interfaces.torchsim": {"torch", "torch_sim"},
    "cartalg.interfaces.openmm": {"numpy", "ase", "openmm"},
    "cartalg.interfaces.mace": {"numpy", "ase", "torch", "flint", "mace", "e3nn", "yaml"},
    "cartalg.simulate": {"rich", "numpy", *EXTRAS["train"]},
    "cartalg.simulate.phonons": {"rich", "numpy", "ase", "phonopy"},
    "cartalg.simulate.options": set(),  # read by a command line without them
    "cartalg.atlas": {*NUMBERS, *EXTRAS["atlas"]},
    "cartalg.testing": {"numpy", "torch", "ase", "pytest"},
    "cartalg.benchmark": {"rich", *EXTRAS["train"]},
    "cartalg.demo": {"rich", "numpy", *EXTRAS["train"]},
}

#: Where a module is imported by a name that is computed, and what it can be.
COMPUTED = {
    "cartalg.symbolic": "what the package names, when it is asked for",
    "cartalg.render": "a format, from the folder of formats",
    "cartalg_codegen.backends": "the printer, loader or binder of a backend",
    "cartalg_codegen.backends.numba.loader": "a kernel set, for its folder",
    "cartalg_codegen.backends.torch.loader": "an emitted file",
}

#: Where interfaces are used that Numba and Torch do not promise to keep.
PRIVATE = {"cartalg.ops.private"}

#: Where numbers of several axes are summed at once, and why that is not a coupling of the model.
EINSUM = {
    "cartalg.symbolic.spherical": "Wigner D by recursion, equal to the exact rotation matrices in a test",
    "cartalg.symbolic.reducible": "embeddings of parts, exact, proved to be equivariant and complete",
    "cartalg.interfaces.ase": "positions in a deformed cell: no tensor of the model, and NumPy's product wakes threads",
    "cartalg.data.graphs": "squared lengths of edges: no tensor of the model yet",
    "cartalg.testing.equivariance": "an exact rotation is applied, which is what the assertion says",
}

#: Where a file is written otherwise than in a block `with whole(path)`, and why.
WRITERS = {
    "cartalg.files": "the place itself",
    "cartalg_codegen.backends.numba.worker": "an empty file, to lock",
    "cartalg.simulate.folder": "appends frames and lines, of which a state, written whole, says how much counts",
    "cartalg.datasets.fetch": "into a folder aside, renamed when all in it is there and checked",
    "cartalg.datasets.acetamide.make_acetamide": "run by hand, once",
    "cartalg.datasets.acetamide.make_scans": "run by hand, once",
    "cartalg.atlas.pictures": "a picture into memory",
}


def sources():
    for root in (ROOT, ROOT / "codegen"):
        for path in sorted(root.glob("cartalg*/**/*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            yield name, path


MODULES = dict(sources())
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
EACH = pytest.mark.parametrize("name", MODULES)


def longest(name, table):
    """The entry of a table whose name is the longest prefix of a module's name; of a package itself, only its own."""
    found = [
        prefix for prefix in table if (name + ".").startswith(prefix + ".") and (prefix not in OWN or name == prefix)
    ]
    return max(found, key=len, default=None)


def layer(name):
    home = longest(name, {prefix for names in LAYERS for prefix in names})
    return next((n for n, names in enumerate(LAYERS) if home in names), None)


def imports(tree, name, package=False, known=MODULES):
    """Full names of what a module imports, wherever the statement stands; `import_module` of a literal counts."""
    home = name.split(".")[: None if package else -1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                yield whole if whole in known else module
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant))


def computed_imports(tree):
    """Uses of `import_module` that are no call with a literal name."""
    literal = {
        n.func for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance((*n.args, None)[0], ast.Constant)
    }
    words, found = {"import_module", "__import__"}, []
    for node in set(ast.walk(tree)) - literal:
        renamed = isinstance(node, ast.ImportFrom) and any(a.name in words and a.asname for a in node.names)
        used = getattr(node, "id", getattr(node, "attr", "")) in words
        found += [node] if renamed or used else []
    return found


def private(tree):
    """Interfaces of Numba and Torch that are theirs alone: underscores, and what is behind `numba.core`."""
    found = []
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" for a in node.names]
        if isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        found += [n for n in names if re.match(r"(numba|llvmlite|torch)(\.\w+)*\._(?!_)|numba\.(core|np|cpython)\b", n)]
    return found


def called(node):
    """The last word of what a call calls."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def imported(name):
    return set(imports(TREES[name], name, MODULES[name].name == "__init__.py"))


def wrong_direction(name, targets):
    own = [t for t in targets if t.split(".")[0] in OWN]
    return [t for t in own if layer(t) is None or layer(t) > layer(name)]


def foreign(name, targets):
    """Third-party modules that are imported and may not be."""
    allowed = THIRD_PARTY.get(longest(name, THIRD_PARTY), set()) | OWN | set(sys.stdlib_module_names)
    return {t.split(".")[0] for t in targets} - allowed


def sums(tree):
    words = {"einsum", "tensordot", "inner", "vdot"}
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and called(n) in words]


def writes(tree):
    """Calls that write a file otherwise than inside `with whole(..)`."""
    found = []

    def visit(node, inside):
        if isinstance(node, ast.With):
            inside = inside or any(
                isinstance(i.context_expr, ast.Call) and called(i.context_expr) == "whole" for i in node.items
            )
        if isinstance(node, ast.Call) and not inside and writes_a_file(node):
            found.append(node)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(tree, False)
    return found


WRITING = {"write_text", "write_bytes", "savefig", "save_file", "savetxt", "tofile", "fdopen", "mkstemp", "to_csv"}
WRITING |= {"copyfile", "copytree", "copy2", "NamedTemporaryFile"}
#: Words that write a file only if these have them.
OWNERS = {
    "copy": {"shutil"},
    "dump": {"json", "pickle"},
    "move": {"shutil"},
    "rename": {"os"},
    "replace": {"os"},
    "save": {"np", "numpy", "torch"},
    "savez": {"np", "numpy"},
    "write": {"io", "ase"},
}


def writes_a_file(node):
    word, owner = called(node), node.func.value if isinstance(node.func, ast.Attribute) else None
    if word == "open":
        modes = [*node.args[owner is None :], *(k.value for k in node.keywords if k.arg == "mode")]
        return any(isinstance(m, ast.Constant) and set(str(m.value)) & set("wax+") for m in modes)
    if word in OWNERS:
        return getattr(owner, "attr", getattr(owner, "id", "")) in OWNERS[word]
    return word in WRITING


@EACH
def test_every_module_has_a_layer(name):
    assert layer(name) is not None, f"{name} stands in no layer of tests/test_architecture.py: say where it belongs"


@EACH
def test_imports_run_one_way(name):
    assert wrong_direction(name, imported(name)) == []


def test_no_module_imports_itself_by_way_of_others():
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for target in sorted(t for t in imported(name) if t in MODULES and t != name):
                visit(target)
            done.add(path.pop())

    for name in MODULES:
        visit(name)
    assert done == set(MODULES)


@EACH
def test_a_module_imports_what_its_extra_brings(name):
    """The rules and the generator know no floating point by this; the library itself needs no extra."""
    assert foreign(name, imported(name)) == set()


@EACH
def test_imports_by_computed_names_are_listed(name):
    assert bool(computed_imports(TREES[name])) == (name in COMPUTED)


@EACH
def test_private_interfaces_stand_in_one_file(name):
    assert name in PRIVATE or private(TREES[name]) == []


def test_the_tables_name_what_exists():
    for table in (COMPUTED, PRIVATE, {n for names in LAYERS for n in names}, THIRD_PARTY, EINSUM, WRITERS):
        for name in table:
            assert name in OWN or any((m + ".").startswith(name + ".") for m in MODULES), f"there is no {name}"
    assert sum(map(len, LAYERS)) == len({n for names in LAYERS for n in names})


def test_generated_files_import_nothing_of_the_library():
    paths = sorted((ROOT / "generated").rglob("*.py"))
    assert len(paths) > 100
    for path in paths:
        home = ".".join(path.relative_to(ROOT / "generated").with_suffix("").parts).removesuffix(".__init__")
        targets = imports(ast.parse(path.read_text()), home, path.name == "__init__.py")
        assert {t.split(".")[0] for t in targets} <= {"numpy", "numba", "torch", "cartalg_kernels"}, path


@EACH
def test_no_sum_over_components_but_where_it_is_proved(name):
    """Couplings, projectors and contractions of tensors are generated kernels; other sums are listed with a reason."""
    assert bool(sums(TREES[name])) == (name in EINSUM)


@EACH
def test_one_function_writes_files(name):
    lines = [node.lineno for node in writes(TREES[name])]
    assert bool(lines) == (name in WRITERS), f"{name}, lines {lines}: use cartalg.files.whole or write_file"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cartalg.symbolic.basis", "import cartalg.ops.kernels"),
        ("cartalg.symbolic.basis", "def f():\n    from cartalg import train"),
        ("cartalg.symbolic.basis", "def f():\n    import cartalg_codegen.emit as e"),
        ("cartalg.symbolic.basis", "from ..ops import kernels"),
        ("cartalg.symbolic.basis", "import importlib\nimportlib.import_module('cartalg.model')"),
        ("cartalg.files", "from cartalg import nn"),
        ("cartalg_codegen.program", "from cartalg_codegen import emit"),
        ("cartalg_codegen.emit", "if TYPE_CHECKING:\n    from cartalg_codegen.proofs import report"),
        ("cartalg.ops.edges", "from cartalg.nowhere import thing"),
    ],
)
def test_the_check_sees_an_import_upwards(name, source):
    assert wrong_direction(name, imports(ast.parse(source), name, known={*MODULES, "cartalg.nn", "cartalg.train"}))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cartalg.symbolic.basis", "import numpy as np"),
        ("cartalg_codegen.emit", "def f():\n    import numba"),
        ("cartalg.cli", "def f():\n    from torch import Tensor"),
        ("cartalg.files", "import sympy"),
    ],
)
def test_the_check_sees_a_foreign_import(name, source):
    assert foreign(name, imports(ast.parse(source), name))


@pytest.mark.parametrize(
    "source",
    [
        "open('a', 'w')",
        "path.open(mode='ab')",
        "path.write_text('')",
        "np.savez(path)",
        "torch.save(x, path)",
        "shutil.copyfile(a, b)",
        "with other(p) as t:\n    figure.savefig(t)",
        "json.dump(x, stream)",
    ],
)
def test_the_check_sees_a_file_written(source):
    assert writes(ast.parse(source))


def test_the_check_lets_files_be_read_and_written_whole():
    source = """
    with whole(path) as temporary:
        save_file(content, temporary)
    open("a"), path.open("rb"), tarfile.open(path), atoms.copy(), text.replace("a", "b"), model.dump()
    """
    assert not writes(ast.parse(dedent(source)))


@pytest.mark.parametrize("source", ["from importlib import import_module as f\nf(x)", "import_module(f'a.{b}')"])
def test_the_check_sees_a_computed_import(source):
    assert computed_imports(ast.parse(source))


@pytest.mark.parametrize(
    "source", ["torch._C.f(x)", "from torch._C import f", "import numba.core.types", "from numba.core import cgutils"]
)
def test_the_check_sees_a_private_interface(source):
    assert private(ast.parse(source))
    assert not private(ast.parse("import torch.nn\nfrom numba import types\ntorch.__version__\nself._core"))


@pytest.mark.parametrize("source", ["torch.einsum('ab,b->a', m, v)", "np.tensordot(a, b)"])
def test_the_check_sees_a_sum(source):
    assert sums(ast.parse(source))
