"""Time and memory of exact algebra on one core: parts of tensors, couplings, projectors. For docs/benchmarks.md.

.venv/bin/python tests/benchmarks/algebra.py              # the table, each line in a process of its own
.venv/bin/python tests/benchmarks/algebra.py parts 9      # one line
"""

import itertools
import resource
import subprocess
import sys
import time

from sympy import QQ

from cartalg.physics.integrity import integrity_basis
from cartalg.physics.point_groups import CRYSTAL_CLASSES
from cartalg.physics.properties import property_tensor
from cartalg.symbolic.basis import basis_polynomials
from cartalg.symbolic.coupling import coupling
from cartalg.symbolic.polynomials import RING
from cartalg.symbolic.projector import detrace
from cartalg.symbolic.ranks import multi_indices
from cartalg.symbolic.streaming import streamed_parts


def parts(rank: int) -> str:
    """All embeddings of the irreducible parts of tensors of a rank."""
    sizes = [len(p.numbers) for p in streamed_parts(rank)]
    assert sum(sizes) == 3**rank
    return f"{len(sizes)} parts, {9**rank} numbers"


def couplings(rank: int) -> str:
    """Every coupling of ranks 0..rank to ranks 0..rank."""
    triples = [t for t in itertools.product(range(rank + 1), repeat=3) if abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]]
    entries = sum(len(coupling(*t).entries) for t in triples)
    return f"{len(triples)} couplings, {entries} entries"


def one(rank: int) -> str:
    """One coupling of three equal ranks."""
    return f"{len(coupling(rank, rank, rank).entries)} entries"


def projector(rank: int) -> str:
    """The projector: every distinct component as a polynomial, and the basis."""
    polynomials = [detrace(RING({e: QQ(1)}), rank) for e in multi_indices(rank)]
    basis_polynomials(rank)
    return f"{len(polynomials)} components of {sum(map(len, polynomials))} terms"


def crystals(rank: int) -> str:
    """Elastic constants of order two or three in all 32 classes: rank 4 or 6."""
    formula = {4: "ijkl=jikl=klij", 6: "ijklmn=jiklmn=klijmn=ijmnkl"}[rank]
    return f"{sum(len(property_tensor(formula, g).independent) for g in CRYSTAL_CLASSES)} constants"


def invariants(rank: int) -> str:
    """Integrity basis of one irrep to degree 12, rank 3 or 4."""
    irrep = f"{rank}{'eo'[rank % 2]}"
    return f"{len(integrity_basis(irrep, 12))} generators"


JOBS = {f.__name__: f for f in (parts, couplings, one, projector, crystals, invariants)}
TABLE = (
    ("parts", (6, 7, 8, 9, 10)),
    ("couplings", (6, 8)),
    ("one", (12,)),
    ("projector", (12, 20)),
    ("crystals", (4, 6)),
    ("invariants", (3, 4)),
)


def main() -> None:
    """One line, or the table."""
    if len(sys.argv) == 3:
        before, base = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = JOBS[sys.argv[1]](int(sys.argv[2]))
        spent, top = time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"| {sys.argv[1]} {sys.argv[2]} | {said} | {spent:.2f} | {top / 1024:.0f} ({base / 1024:.0f}) |", flush=True
        )
        return
    print("| what | result | s of one core | MB in all (after imports) |\n|---|---|---|---|", flush=True)
    for name, ranks in TABLE:
        for rank in ranks:
            subprocess.run([sys.executable, __file__, name, str(rank)], check=True)


if __name__ == "__main__":
    main()
