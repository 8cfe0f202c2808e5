"""Records of a run: metrics.csv, a line for each epoch, and JSON. Each change writes the file anew, whole."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from cartalg.files import write_file

METRICS_FILE = "metrics.csv"


def append_metrics(path: Path, row: dict[str, float]) -> None:
    """Add one line to the CSV of metrics; its columns are those of the first line."""
    before = path.read_bytes().decode() if path.exists() else ""
    columns = next(csv.reader(before.splitlines()), list(row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore")  # of a run begun by an older version
    if not before:
        writer.writeheader()
    writer.writerow({k: f"{v:.8g}" for k, v in row.items()})
    write_file(path, before + stream.getvalue())


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of the CSV of metrics."""
    with path.open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def truncate_metrics(path: Path, epoch: int) -> None:
    """Drop lines of epochs after the checkpoint: a run that was killed writes them anew."""
    if not path.exists():
        return
    head, *lines = path.read_bytes().decode().splitlines(keepends=True)
    if epoch:
        kept = [line for line in lines if line.endswith("\n") and float(line.split(",")[0]) <= epoch]
        write_file(path, head + "".join(kept))
    else:
        path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole."""
    write_file(path, json.dumps(value, indent=2) + "\n")
