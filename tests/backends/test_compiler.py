"""The compiler of emitted functions, against Numba's own on the same files, and against plain Python."""

import ast
import ctypes

import numpy as np
import pytest
import torch

from cartalg.ops import Edges, bind, open_kernels
from cartalg_codegen.backends import BACKENDS
from cartalg_codegen.backends.numba.compiler import Functions
from cartalg_codegen.backends.numba.making import assembled
from cartalg_codegen.backends.numba.objects import Library
from cartalg_codegen.backends.numba.targets import level
from cartalg_codegen.backends.numba.values import Kind, Precision
from cartalg_codegen.specs import ConvolutionSpec, CouplingSpec, HarmonicsSpec, LinearSpec, PackSpec, ProductSpec

ROW_KERNELS = [
    HarmonicsSpec(3),
    CouplingSpec(2, 1, 2),
    PackSpec("ijk=ikj"),
    ProductSpec("natural", "limited", 2, 1, 3),
]


def by_numba(spec, stage, index, tensors):
    """Run an emitted function as Numba compiles it, on copies; what it writes."""
    from importlib import import_module

    module = import_module(f"cartalg_kernels.numba_kernels.{spec.kind}.{spec.name}")
    about, copies = spec.stages()[stage], {name: t.clone() for name, t in tensors.items()}
    arguments = [index[n].numpy() if isinstance(index[n], torch.Tensor) else float(index[n]) for n in about.index]
    for name, role in spec.roles(stage).items():
        array = copies[name].numpy()
        arguments.append(array.reshape(role.shape(array.shape)))
    rows = len(index[about.over]) - 1 if about.over else len(tensors[about.reads[0]])
    getattr(module, stage)(0, rows, 0, *arguments)
    return {name: copies[name] for name in about.writes}


def agree(spec, index, shapes, dtype):
    generator = torch.Generator().manual_seed(0)
    for stage, about in spec.stages().items():
        tensors = {}
        for name, role in spec.roles(stage).items():
            tensors[name] = torch.randn(*shapes[role.name], generator=generator, dtype=torch.float64).to(dtype)
            if name in about.writes:
                tensors[name] = torch.zeros(
                    *((1,) if role.role == "parameter" else ()), *shapes[role.name], dtype=dtype
                )
        expected = by_numba(spec, stage, index, tensors)
        bind(open_kernels(), spec, stage, index, tensors, 1, "numba")()
        tolerance = 1e-12 if dtype == torch.float64 else 2e-4
        for name in about.writes:
            scale = max(float(expected[name].abs().max()), 1.0)
            torch.testing.assert_close(tensors[name], expected[name], rtol=0, atol=tolerance * scale)


@pytest.mark.campaign
@pytest.mark.parametrize("spec", ROW_KERNELS, ids=lambda s: s.name)
def test_row_kernels_are_what_numba_makes_of_them(spec):
    rows, channels = 5, 3
    shapes = {a.name: (rows, spec.components[a.name], *((channels,) if a.lanes else ())) for a in spec.arguments}
    shapes["w"] = (2, spec.components.get("w", 0), channels)
    agree(spec, {"species": torch.tensor([0, 1, 1, 0, 1])}, shapes, torch.float64)


@pytest.mark.campaign
@pytest.mark.parametrize("spec", [ConvolutionSpec("natural", 1, 1)], ids=lambda s: s.name)
def test_a_convolution_is_what_numba_makes_of_it(spec):
    atoms, channels = 4, 2
    receiver = torch.arange(atoms).repeat_interleave(20)
    edges = Edges.build(
        torch.randint(0, atoms, (80,), generator=torch.Generator().manual_seed(1)), receiver, atoms, atoms
    )
    shapes = {
        "x": (atoms, spec.components["x"], channels),
        "vectors": (80, 3),
        "table": (22, spec.components["table"], channels),
        "out": (atoms, spec.components["out"], channels),
    }
    of_tables = {"step": 0.3, "intervals": 8.0, "block": torch.arange(80) % 2}
    agree(spec, {**of_tables, **edges.index}, shapes, torch.float64)


def compiled(source, name, kinds, precision):
    """A function of a text, as machine code that ctypes calls."""
    tree = ast.parse(source)
    functions = Functions(lambda home, wanted: (home, next(f for f in tree.body if f.name == wanted)), precision)
    label = functions.compile("text", name, kinds)
    text = functions.text().replace(f'define internal void @"{label}"', f'define void @"{label}"')
    library = Library(assembled(text, level(), (label, label)))
    types = []
    for kind in kinds:
        number = ctypes.c_int64 if kind.scalar == "int" else ctypes.c_double
        types += [ctypes.c_void_p, *[ctypes.c_int64] * kind.axes] if kind.axes else [number]
    return ctypes.CFUNCTYPE(None, *types)(library.addresses[0]), library


SOURCE = """
@njit()
def f(start, stop, thread, step, index, x, out):
    real = x.dtype.type
    c1_3 = real(1 / 3)
    per = real(1 / step)
    total = np.empty((2, 3), x.dtype)
    for i in range(2):
        for j in range(3):
            total[i, j] = real(0)
    at = start
    while at < stop and at < index.shape[0]:
        k = index[at]
        at += 1
        if real(0) < x[k, 0]:
            total[0, k % 3] += x[k, 0] * per
        else:
            total[1, min(k, 2)] += -x[k, 1] - c1_3
    for n in range(0, 6, 2):
        out[n // 2] = total[0, n // 2] * x[0, 0] + total[1, n // 2] + np.sqrt(real(thread))
"""


@pytest.mark.parametrize("bits", [32, 64])
def test_every_form_means_what_it_means_in_python(bits):
    number = np.float32 if bits == 32 else np.float64
    kinds = [Kind("int"), Kind("int"), Kind("int"), Kind("double"), Kind("int", 1), Kind("real", 2), Kind("real", 1)]
    function, library = compiled(SOURCE, "f", kinds, Precision(bits, 1))
    random = np.random.default_rng(0)
    index, x = random.integers(0, 7, 9), random.standard_normal((7, 2)).astype(number)
    out, expected = np.zeros(3, number), np.zeros(3, number)
    function(1, 12, 4, 0.5, index.ctypes.data, 9, x.ctypes.data, 7, 2, out.ctypes.data, 3)
    namespace = {"np": np, "njit": lambda: lambda f: f}
    exec(SOURCE, namespace)
    namespace["f"](1, 12, 4, 0.5, index, x, expected)
    np.testing.assert_allclose(out, expected, rtol=1e-6 if bits == 32 else 1e-14)
    del library


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x[0, 0] = open", "open"),
        ("x[0, 0] = x[0, 0] ** 2", "Pow"),
        ("x[0, 0] = abs(x[0, 0])", "abs"),
        ("return", "return"),
        ("x[0, 0] = 1.5", "1.5"),
        ("if 0 < 1 or 1 < 2:\n        x[0, 0] = real(1)", "or"),
        ("c0 = real(1); c0 = real(2); x[0, 0] = c0", "c0 changes"),
        ("c0 = real(1); c0 = x[0, 0]; x[0, 1] = c0", "c0 changes"),
    ],
)
def test_what_an_emitted_file_never_says_is_not_compiled(line, says):
    source = f"@njit()\ndef f(x):\n    {line}\n"
    with pytest.raises((TypeError, KeyError), match=says):
        compiled(source, "f", [Kind("real", 2)], Precision(64, 1))


def test_every_shipped_kernel_compiles():
    """Printed and understood; LLVM sees one of each kind in other tests."""
    precision = Precision(32, 16)
    for listed in open_kernels().manifest.kernels.values():
        spec = listed.spec
        if spec.part or isinstance(spec, LinearSpec):
            continue
        source = BACKENDS["numba"].load("cartalg_kernels", spec)
        for stage, about in spec.stages().items():
            kinds = [Kind("double") if spec.index[n] == "float" else Kind("int", 1) for n in about.index]
            for name, role in spec.roles(stage).items():
                gradient = role.role == "parameter" and name in about.writes
                axes = len(role.shape([2] * ((3 if role.lanes else 2) + gradient)))
                kinds.append(Kind("lanes" if role.lanes else "real", axes))
            functions = Functions(source.find, precision)
            functions.compile(source.name, stage, [Kind("int")] * 3 + kinds)
            assert f'"{spec.kind}.{spec.name}' in functions.text()
