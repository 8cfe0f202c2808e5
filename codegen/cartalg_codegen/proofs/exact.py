"""Run emitted source as plain Python over exact numbers: quotients of integers stay exact, arrays hold objects.

The numbers may be fractions, or polynomials (`identities`), which turns a run of the source into a proof about it.
"""

import ast
import math
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np


class _ExactConstants(ast.NodeTransformer):
    """Turn every quotient of two integer literals into a fraction, and every other quotient into an exact one."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        fraction = ast.Name("Fraction", ast.Load())
        if isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant):
            return ast.Call(fraction, [node.left, node.right], [])
        one = ast.Call(fraction, [ast.Constant(1)], [])
        return ast.BinOp(ast.BinOp(node.left, ast.Mult(), one), ast.Div(), node.right)


class ExactTensor(np.ndarray):
    """The few tensor methods that emitted Torch code of row kernels uses, on arrays of exact numbers."""

    def index_add(self, dim: int, index: Any, source: Any) -> "ExactTensor":
        """As torch.Tensor.index_add along the first axis."""
        if dim != 0:
            raise ValueError(f"rows are added along axis 0, not {dim}")
        result = self.copy()
        np.add.at(result, index, source)
        return result

    def index_select(self, dim: int, index: Any) -> "ExactTensor":
        """As torch.Tensor.index_select."""
        return np.take(self, index, axis=dim)  # type: ignore[return-value]

    def unbind(self, dim: int) -> list["ExactTensor"]:
        """As torch.Tensor.unbind."""
        return list(np.moveaxis(self, dim, 0))  # type: ignore[arg-type]


def _torch() -> SimpleNamespace:
    def stack(parts: Any, dim: int = 0) -> ExactTensor:
        return np.stack([np.asarray(p, dtype=object) for p in parts], axis=dim).view(ExactTensor)

    def zeros_like(array: Any) -> ExactTensor:
        return (np.asarray(array, dtype=object) * 0).view(ExactTensor)

    return SimpleNamespace(stack=stack, zeros_like=zeros_like)


def square_root(x: Any) -> Fraction:
    """The root of a square of a rational.

    Raises:
        ValueError: If `x` is no such square.
    """
    value = Fraction(x)
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    if root * root != value:
        raise ValueError(f"{x} is no square of a rational")
    return root


def load(text: str, name: str, sqrt: Callable[[Any], Any] = square_root) -> dict[str, Any]:
    """The functions of an emitted file, Numba's or Torch's, as plain Python.

    Args:
        text: Source of the file; decorators and imports are left out.
        name: Shown in tracebacks.
        sqrt: Square root of the numbers in use.
    Raises:
        SyntaxError: If the text is no Python.
    """
    tree = ast.parse(text)
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    namespace: dict[str, Any] = {
        "Fraction": Fraction,
        "np": SimpleNamespace(empty=np.empty, int64=np.int64, sqrt=sqrt),
        "torch": _torch(),
        "njit": lambda **options: lambda function: function,
    }
    exec(compile(ast.fix_missing_locations(_ExactConstants().visit(tree)), name, "exec"), namespace)
    return namespace
