"""Exported libraries beside the engine in Python: start-up, sizes, time per atom; one thread, turn by turn.

OMP_NUM_THREADS=1 python tests/benchmarks/exported.py
"""

import importlib.util
import statistics
import tempfile
import time
from pathlib import Path

import torch
from ase.build import bulk, molecule
from rich.console import Console
from rich.table import Table

from cartalg.architecture import ModelConfig
from cartalg.data.graphs import build_graph
from cartalg.export.build import export
from cartalg.model import Potential
from export.systems import arrays

S = {"channels": 32, "hidden_rank": 1, "edge_rank": 2}
MODELS = {
    "S": S,
    "S, gate, norm, zbl": {**S, "gate": True, "norm": True, "zbl": True},
    "M": {"channels": 64, "hidden_rank": 2, "edge_rank": 3},
}
STRUCTURES = {
    "acetic acid": (molecule("CH3COOH"), 300),
    "Cu, 256 atoms": (bulk("Cu", cubic=True) * (4, 4, 4), 40),
    "Cu, 2048 atoms": (bulk("Cu", cubic=True) * (8, 8, 8), 7),
}


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def exported(model, folder):
    """The artefact, and what makes a model of it."""
    found = export(model, folder)
    spec = importlib.util.spec_from_file_location("cartalg_model", folder / "cartalg_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return found, module.Model


def main():
    torch.set_num_threads(1)
    for atoms, _ in STRUCTURES.values():
        atoms.rattle(0.05, seed=3)
    table = Table(title="microseconds an atom, energy, forces, virial; medians")
    for column in ("model", "start-up", "file", "structure", "engine", "library", "ratio"):
        table.add_column(column)
    for name, settings in MODELS.items():
        model = Potential(ModelConfig(**settings), ("H", "C", "O", "Cu"), mean_neighbours=30.0)
        with tempfile.TemporaryDirectory() as folder:
            found, make = exported(model, Path(folder))
            start = statistics.median(timed(make) for _ in range(9))
            size, twin = found.artefact.stat().st_size, make()
        for structure, (atoms, count) in STRUCTURES.items():
            given, graph = arrays(atoms, twin.elements, twin.cutoff), build_graph(atoms, twin.cutoff, model.elements)
            calls = [lambda: model(graph, virial=True), lambda: twin.compute(*given)]  # noqa: B023
            times = [[timed(call) for call in calls] for _ in range(count)][1:]
            ours, theirs = (1e6 * statistics.median(column) / len(atoms) for column in zip(*times, strict=True))
            about = (f"{1e3 * start:.1f} ms", f"{size / 1e6:.2f} MB")
            table.add_row(name, *about, structure, f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
