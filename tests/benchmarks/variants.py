"""What rank, correlation, parity and the kind of product do for accuracy, and what they cost: same data, same epochs.

    python tests/benchmarks/variants.py CONFIG DATA_DIR OUTPUT            one training each; goes on if stopped
    python tests/benchmarks/variants.py CONFIG DATA_DIR OUTPUT --report   only the table and picture of what is there

CONFIG is a training configuration; each variant changes keys of its `model`. Prints the table of docs/results.md and
writes docs/images/variants.png.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import yaml

from cartalg.cli.terminal import progress_bar
from cartalg.data.frames import read_frames
from cartalg.data.graphs import build_graph, collate
from cartalg.model import Potential
from cartalg.train.checkpoint import load_model
from cartalg.train.run import train_run

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"

#: name -> (group, keys of the model)
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "hidden 0, edge 1": ("rank", {"hidden_rank": 0, "edge_rank": 1}),
    "hidden 0, edge 2": ("rank", {"hidden_rank": 0, "edge_rank": 2}),
    "hidden 0, edge 3": ("rank", {"hidden_rank": 0, "edge_rank": 3}),
    "hidden 1, edge 1": ("rank", {"hidden_rank": 1, "edge_rank": 1}),
    "hidden 1, edge 2": ("rank", {}),
    "hidden 1, edge 3": ("rank", {"hidden_rank": 1, "edge_rank": 3}),
    "hidden 2, edge 2": ("rank", {"hidden_rank": 2, "edge_rank": 2}),
    "hidden 2, edge 3": ("rank", {"hidden_rank": 2, "edge_rank": 3}),
    "hidden 3, edge 3": ("rank", {"hidden_rank": 3, "edge_rank": 3}),
    "correlation 1": ("correlation", {"correlation": 1}),
    "correlation 2": ("correlation", {"correlation": 2}),
    "correlation 3": ("correlation", {}),
    "correlation 4": ("correlation", {"correlation": 4}),
    "natural": ("parity", {}),
    "full": ("parity", {"parity": "full"}),
    "symmetric": ("product", {}),
    "symmetric, complete": ("product", {"product": "complete"}),
    "full product": ("product", {"product": "ordered"}),
    "symmetric, 16 latent channels": ("product", {"latent_channels": 16}),
    "full, 16 latent channels": ("product", {"product": "ordered", "latent_channels": 16}),
    "weights shared by elements": ("product", {"element_weights": False}),
    "gates": ("between layers", {"gate": True}),
    "norms": ("between layers", {"norm": True}),
    "gates and norms": ("between layers", {"gate": True, "norm": True}),
}


def step_milliseconds(model: Potential, file: Path, batch: int) -> float:
    """CPU time of energies, forces and the gradient of a loss on both, for the first frames of a file."""
    frames = read_frames(file, numbers=range(batch))
    graph = collate([build_graph(f.atoms, model.config.cutoff, model.elements) for f in frames])
    times = []
    for _ in range(15):
        started = time.process_time()
        found = model(graph, training=True)
        (found.energy.square().sum() + found.forces.square().sum()).backward(inputs=list(model.parameters()))
        times.append(time.process_time() - started)
    return 1e3 * statistics.median(times[5:])


def main(config: Path, data: Path, output: Path, train: bool) -> None:
    """Train what is not there yet, then report."""
    torch.set_num_threads(1)
    base = yaml.safe_load(config.read_text())
    rows = []
    for name, (group, change) in VARIANTS.items():
        model = {**base["model"], **change}
        key = "-".join(f"{k}={v}" for k, v in sorted(change.items())) or "base"
        folder = output / key
        if train and not (folder / "run" / "errors.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            values = {**base, "model": model}
            (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
            with progress_bar() as bar:
                train_run(folder / "config.yaml", folder / "run", data, True, "auto", bar)
        if (folder / "run" / "errors.json").exists():
            errors = json.loads((folder / "run" / "errors.json").read_text())["test"]
            trained = load_model(folder / "run")
            weights = sum(p.numel() for p in trained.parameters())
            cost = step_milliseconds(trained, data / base["data"]["train"], base["training"]["batch_size"])
            rows.append((group, name, weights, cost, errors))
    report(rows)


def report(rows: list[tuple[str, str, int, float, dict[str, float]]]) -> None:
    """Print the table and draw the picture."""
    print("| | | weights | step, ms | energy RMSE (meV) | force RMSE (meV/A) |\n|---|---|---|---|---|---|")
    last = ""
    for group, name, weights, cost, errors in rows:
        energy, forces = errors["energy_rmse_meV"], errors["forces_rmse_meV_per_A"]
        shown, last = group if group != last else "", group
        print(f"| {shown} | {name} | {weights:,} | {cost:.1f} | {energy:.1f} | {forces:.1f} |")
    groups = list(dict.fromkeys(r[0] for r in rows))
    size = (3.4 * len(groups), 3.8)
    figure, axes = plt.subplots(1, len(groups), figsize=size, sharex=True, sharey=True, layout="constrained")
    for axis, group in zip(axes, groups, strict=True):
        for place, (_, name, _, cost, errors) in enumerate(r for r in rows if r[0] == group):
            axis.scatter(cost, errors["forces_rmse_meV_per_A"], s=30, color=f"C{place}", label=name)
        axis.set(title=group, xlabel="training step (ms)", xscale="log", yscale="log")
        axis.set_xticks((6, 8, 10, 15, 20, 30), ("6", "8", "10", "15", "20", "30"))
        axis.set_yticks((15, 20, 30, 40), ("15", "20", "30", "40"))
        axis.minorticks_off()
        axis.grid(alpha=0.3, linewidth=0.5)
        axis.legend(frameon=False, fontsize=7, loc="upper right")
    axes[0].set_ylabel("force RMSE, test (meV/Å)")
    figure.savefig(IMAGES / "variants.png", dpi=110)


if __name__ == "__main__":
    paths = [Path(a) for a in sys.argv[1:] if not a.startswith("--")]
    main(paths[0], paths[1], paths[2], "--report" not in sys.argv)
