"""How an error on held-out frames falls with the number of training frames; as many steps for each number.

    python tests/benchmarks/learning.py docs/examples/water_polarizability.yaml DATA/tensors OUTPUT polarizability

Trains on a quarter, a half and all of the configuration's training frames, prints the table of docs/results.md and
writes docs/images/water_polarizability.png. Runs that are there are not repeated.
"""

import json
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import yaml

from cartalg.cli.terminal import progress_bar
from cartalg.train.run import train_run

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def main(config: Path, data: Path, output: Path, name: str) -> None:
    """Train for each number of frames, then report."""
    base = yaml.safe_load(config.read_text())
    counts, errors = [], []
    print("| training frames | time | RMSE, % of the spread |\n|---|---|---|")
    for part in (4, 2, 1):
        count = base["data"]["train_count"] // part
        folder = output / str(count)
        if not (folder / "run" / "errors.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            values = {**base, "data": {**base["data"], "train_count": count}}
            values["training"] = {**base["training"], "epochs": base["training"]["epochs"] * part}
            (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
            started = time.perf_counter()
            with progress_bar() as bar:
                train_run(folder / "config.yaml", folder / "run", data, True, "auto", bar)
            (folder / "seconds.json").write_text(json.dumps(time.perf_counter() - started))
        found = json.loads((folder / "run" / "errors.json").read_text())["test"][f"{name}_relative_rmse_percent"]
        seconds = json.loads((folder / "seconds.json").read_text())
        counts.append(count)
        errors.append(found)
        print(f"| {count} | {seconds / 60:.1f} min | {found:.1f} |")
    figure, axis = plt.subplots(figsize=(4.6, 3.4), layout="constrained")
    axis.plot(counts, errors, "o-", color="#1f5fa8")
    axis.set(xscale="log", yscale="log", xlabel="training frames", ylabel="RMSE (% of the spread)")
    axis.set_title(f"{name} of held-out frames", fontsize=10)
    axis.set_xticks(counts, map(str, counts))
    ticks = [t for t in (2, 3, 5, 7, 10, 15, 20, 30, 50) if min(errors) / 1.5 < t < max(errors) * 1.5]
    axis.set_yticks(ticks, map(str, ticks))
    axis.minorticks_off()
    axis.grid(alpha=0.3, linewidth=0.5)
    figure.savefig(IMAGES / f"{config.stem}.png", dpi=130)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), sys.argv[4])
