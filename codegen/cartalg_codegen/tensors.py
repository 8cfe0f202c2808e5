"""Packing of Cartesian tensors with index symmetries into irreducible parts, as programs."""

import re

import sympy as sp

from cartalg.symbolic.basis import packing_matrix
from cartalg.symbolic.formulas import rational
from cartalg.symbolic.reducible import Decomposition, decompose
from cartalg_codegen.names import decoded
from cartalg_codegen.program import Program, Ref, Slot, statement

#: Vector, matrices, dipole derivatives and piezoelectricity, hyperpolarizability, elasticity: in every kernel set.
USUAL = ("i", "ij", "ij=ji", "ij=-ji", "ijk", "ijk=ikj", "ijk=jik=ikj", "ijkl=jikl=klij")


def named_formula(name: str) -> tuple[str, str] | None:
    """(kind, index formula) of a kernel name, or None. Raises ValueError for a formula that cannot be."""
    match = re.fullmatch(r"(pack|unpack)_([a-zM_]+)", name)
    return (match[1], decompose(decoded(match[2])).formula) if match else None


def program(kind: str, formula: str) -> Program:
    """The forward program: pack takes t, the tensor row by row, to its parts; unpack takes parts to the tensor."""
    found: Decomposition = decompose(formula)
    return _linear(found.packing if kind == "pack" else found.unpacking, f"{kind.capitalize()} tensors {formula}.")


def projection(rank: int) -> Program:
    """The symmetric traceless part of any tensor of a rank, row by row, as packed components; for people to read."""
    return _linear(packing_matrix(rank), f"Symmetric traceless part of tensors of rank {rank}, packed.")


def _linear(matrix: sp.Matrix, summary: str) -> Program:
    """out = matrix t."""
    body = []
    for r in range(matrix.rows):
        entries = [(matrix[r, c], Ref("t", c)) for c in range(matrix.cols) if matrix[r, c] != 0]
        body.append(statement(Ref("out", r), [(rational(v), (ref,)) for v, ref in entries]))
    return Program("forward", summary, (Slot("t", matrix.cols),), (Slot("out", matrix.rows),), tuple(body))
