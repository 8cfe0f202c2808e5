"""Run emitted source over the rationals: integers divided stay exact, arrays hold Fractions."""

import ast
import types
from fractions import Fraction
from pathlib import Path

import numpy as np

from cartalg.ops.kernels import shipped_folder


class _ExactConstants(ast.NodeTransformer):
    """Turn every quotient of two integer literals into a Fraction."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if isinstance(node.op, ast.Div):
            left, right = node.left, node.right
            both = isinstance(left, ast.Constant) and isinstance(right, ast.Constant)
            name = ast.Name("Fraction", ast.Load())
            args = (
                [left, right] if both else [ast.BinOp(left, ast.Mult(), ast.Call(name, [ast.Constant(1)], [])), right]
            )
            if both:
                return ast.Call(name, args, [])
        return node


class ExactTensor(np.ndarray):
    """The few tensor methods that emitted Torch code of row kernels uses, on arrays of Fractions."""

    def index_add(self, dim, index, source):
        assert dim == 0
        result = self.copy()
        np.add.at(result, index, source)
        return result


def exact_torch():
    def stack(parts, dim):
        return np.stack([np.asarray(p, dtype=object) for p in parts], axis=dim).view(ExactTensor)

    def zeros_like(array):
        return (np.asarray(array, dtype=object) * 0).view(ExactTensor)

    return types.SimpleNamespace(stack=stack, zeros_like=zeros_like)


def _identity_njit(**_options):
    return lambda function: function


def load(backend, name, folder=None, source=None):
    """The functions of an emitted file as plain Python over Q."""
    folder = Path(folder or shipped_folder())
    text = source or (folder / f"{backend}_kernels" / f"{name}.py").read_text()
    tree = ast.parse(text)
    namespace = {"Fraction": Fraction, "np": np, "torch": exact_torch(), "njit": _identity_njit}
    body = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "messages":
            namespace.update(load(backend, "messages", folder))
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            body.append(node)
    tree.body = body
    exec(compile(ast.fix_missing_locations(_ExactConstants().visit(tree)), name, "exec"), namespace)
    return namespace


def fractions(rng, *shape):
    """Small random rationals."""
    flat = [Fraction(rng.randint(-12, 12), rng.randint(1, 5)) for _ in range(int(np.prod(shape, dtype=int)))]
    return np.array(flat, dtype=object).reshape(shape)


def zeros(*shape):
    return np.array([Fraction(0)] * int(np.prod(shape, dtype=int)), dtype=object).reshape(shape)


def derivative(function, degree):
    """d/dt at 0 of a polynomial of at most this degree, exactly: from its values at degree + 1 points."""
    nodes = [Fraction(n, 7) for n in range(degree + 1)]
    total = None
    for i, node in enumerate(nodes):
        # derivative at 0 of the Lagrange polynomial of node i
        weight = Fraction(0)
        for j, skip in enumerate(nodes):
            if j != i:
                product = 1 / (node - skip)
                for k, other in enumerate(nodes):
                    if k not in (i, j):
                        product *= (0 - other) / (node - other)
                weight += product
        term = weight * function(node)
        total = term if total is None else total + term
    return total
