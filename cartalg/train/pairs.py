"""Where two atoms meet that the data keep apart: the energy of every pair of elements, from 0.3 angstrom on.

A potential knows nothing of distances that its data lack, and a simulation falls into any hole there. The scan looks
for them in every trained model: alone in space, two atoms of each pair must repel each other all the way in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from rich.console import Console

from cartalg.data.coverage import pair_name
from cartalg.data.graphs import build_graph, collate
from cartalg.model import Potential
from cartalg.train.plots import pair_curves

PAIRS_FILE = "pairs.png"
#: In angstrom: where a scan starts, and its steps.
NEAREST, STEP = 0.3, 0.02
#: A scan looks for holes below this part of the shortest distance in the data.
INSIDE = 0.8
#: What an energy may fall by on the way in, in eV.
DEEP = 0.05


@dataclass(frozen=True)
class PairScan:
    """The energy of two atoms alone.

    Attributes:
        pair: Chemical symbols.
        distances: In angstrom, [n], rising.
        energies: Less the atoms' own, in eV, [n].
        shortest: Distance of the pair in the training data, in angstrom; of its covalent radii where they lack it.
        known: Whether the data have it.
    """

    pair: tuple[str, str]
    distances: np.ndarray[Any, Any]
    energies: np.ndarray[Any, Any]
    shortest: float
    known: bool

    @cached_property
    def hole(self) -> tuple[float, float] | None:
        """Where, below 0.8 of the shortest distance, the energy lies farthest below one farther out, and by how much:
        (angstrom, eV). None if it nowhere falls by more than 0.05 eV on the way in.
        """
        inside = self.distances <= INSIDE * self.shortest
        inward = self.energies[inside][::-1]
        if not len(inward):
            return None
        falls = np.where(np.isfinite(inward), np.maximum.accumulate(inward) - inward, np.inf)
        deepest = int(falls.argmax())
        return (float(self.distances[inside][::-1][deepest]), float(falls[deepest])) if falls[deepest] > DEEP else None

    def __str__(self) -> str:
        name = pair_name(*self.pair)
        if self.hole is None:
            return f"{name}: repulsive below {INSIDE * self.shortest:.2f} A"
        where, depth = self.hole
        return f"{name}: a hole at {where:.2f} A, {depth:.3g} eV deep (shortest distance {self.shortest:.2f} A)"


def report_pairs(model: Potential, shortest: Mapping[str, float], picture: Path, console: Console) -> None:
    """Scan, say where there are holes, and draw all curves. Arguments as of `scan_pairs`."""
    scans, advice = [*scan_pairs(model, shortest)], "" if model.config.zbl else "; model.zbl: true fills it"
    for scan in scans:
        if scan.hole:
            console.print(f"[yellow]{scan}[/yellow]: a simulation can fall in{advice}", highlight=False)
    if scans:
        names, energies = [pair_name(*scan.pair) for scan in scans], [scan.energies for scan in scans]
        pair_curves(names, scans[0].distances, energies, [scan.shortest for scan in scans], picture)


def scan_pairs(model: Potential, shortest: Mapping[str, float]) -> Iterator[PairScan]:
    """Scan every pair of elements that the training data have, from 0.3 angstrom to the cutoff.

    Args:
        model: A potential.
        shortest: Shortest distance in the training data, in angstrom, under ``"C-H"``, symbols by the alphabet.
    """
    cutoff, elements = model.config.cutoff, sorted({element for pair in shortest for element in pair.split("-")})
    distances = np.arange(NEAREST, cutoff, STEP)

    def energies(frames: list[Atoms]) -> np.ndarray[Any, Any]:
        graphs = [build_graph(atoms, cutoff, model.elements, "scan") for atoms in frames]
        return model(collate(graphs), forces=False).energy.numpy()  # type: ignore[no-any-return]

    alone = dict(zip(elements, energies([Atoms(e) for e in elements]), strict=True))
    for pair in combinations_with_replacement(elements, 2):
        found = energies([Atoms(pair, [[0, 0, 0], [0, 0, r]]) for r in distances])
        radii = sum(float(covalent_radii[atomic_numbers[e]]) for e in pair)
        known = shortest.get(pair_name(*pair))
        yield PairScan(pair, distances, found - alone[pair[0]] - alone[pair[1]], known or radii, known is not None)
