"""The trees of a contraction beside the tensors that a model's file holds for them."""

import math

import torch
from torch import Tensor

from cartalg.interfaces.mace.contraction import ContractionMap
from cartalg.interfaces.mace.source import expect
from cartalg.symbolic.irreps import Irreps
from cartalg.symbolic.spherical import spherical_matrix
from cartalg_codegen.specs.labels import TreeReader


def signs(known: ContractionMap, features: int, rank: int, tensor: Tensor) -> list[int]:
    """The sign of each tree: e3nn's couplings are ours but for signs, which differ between its versions.

    Args:
        known: The trees, to this rank, of features to a rank.
        features, rank: Those ranks.
        tensor: Coefficients over e3nn's components, [components if there are several, .. features .., trees].
    Raises:
        NotConvertible: If a tree is another polynomial than its place says.
    """
    irreps = Irreps.natural(features)
    exact = [spherical_matrix(n, "e3nn").evalf(20) for n in range(max(features, rank) + 1)]
    maps = [torch.tensor([[float(v) for v in m.row(k)] for k in range(m.rows)], dtype=torch.float64) for m in exact]
    packed = torch.randn(irreps.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spherical = torch.block_diag(*maps[: features + 1]) @ packed
    theirs = tensor.double()
    for _ in range(theirs.ndim - 1 - (rank > 0)):
        theirs = theirs.movedim(int(rank > 0), -1) @ spherical
    theirs = theirs.reshape(-1, len(known.trees))
    reader, found = TreeReader(irreps, packed.tolist()), []
    for n, (label, square) in enumerate(zip(known.trees, known.squares, strict=True)):
        value = torch.tensor([float(v) for v in reader.tree(label)], dtype=torch.float64)
        ours = math.sqrt(square) * maps[rank] @ value
        near = [float((sign * ours - theirs[:, n]).norm()) <= 1e-4 * (1 + float(ours.norm())) for sign in (1, -1)]
        expect(any(near), f"its contraction {n} is not {label}")
        found.append(1 if near[0] else -1)
    return found
