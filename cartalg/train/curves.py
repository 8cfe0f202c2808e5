"""Learning curves of several runs in one picture, against the clock, beside errors that others have published."""

from collections.abc import Sequence
from pathlib import Path

from cartalg.data.frames import DataError
from cartalg.train.checkpoint import members
from cartalg.train.plots import curves_plot
from cartalg.train.records import METRICS_FILE, read_metrics

#: Column of metrics.csv and what it is divided by, for each axis.
AXES = {"minutes": ("seconds", 60.0), "epochs": ("epoch", 1.0)}


def draw_curves(runs: Sequence[Path], path: Path, against: str, published: Sequence[str]) -> dict[str, str]:
    """Draw the RMSE of every quantity that all runs have, of validation frames.

    Args:
        runs: Folders; of a committee, each member is a run.
        path: Picture to write.
        against: ``"minutes"`` or ``"epochs"``.
        published: ``KEY=NUMBER``, keys as in metrics.csv without ``valid_``: a line across the picture.
    Returns:
        The lowest errors of each run in words, by its name.
    Raises:
        FileNotFoundError: If a folder holds no metrics.csv.
        DataError: If it lacks a column, a line names no error that is drawn, or an axis has another name.
    """
    if against not in AXES:
        raise DataError(f"--against is one of {', '.join(AXES)}, not {against}")
    column, unit = AXES[against]
    drawn: dict[str, list[dict[str, float]]] = {}
    for folder in (member for run in runs for member in members(run)):
        if not (folder / METRICS_FILE).is_file():
            raise FileNotFoundError(f"no {METRICS_FILE} in {folder}: give the folder of a run that has ended an epoch")
        rows = read_metrics(folder / METRICS_FILE)
        if not rows or column not in rows[0]:
            raise DataError(
                f"{folder / METRICS_FILE} has no {column}: its run is of an older version; --against epochs"
            )
        drawn[str(folder)] = [{**row, "at": row[column] / unit} for row in rows]
    keys = [k for k in next(iter(drawn.values()))[0] if _is_error(k) and all(k in rows[0] for rows in drawn.values())]
    lines: dict[str, float] = {}
    for text in published:
        key, _, number = text.partition("=")
        try:
            lines[f"valid_{key}"] = float(number)
        except ValueError:
            raise DataError(
                f"--published {text}: give KEY=NUMBER, such as {keys[0].removeprefix('valid_')}=5"
            ) from None
        if f"valid_{key}" not in keys:
            known = ", ".join(k.removeprefix("valid_") for k in keys)
            raise DataError(f"--published {text}: no error of that name is drawn; there are {known}")
    curves_plot(drawn, keys, against, lines, path)
    return {
        name: ", ".join(f"{key.removeprefix('valid_')} {min(r[key] for r in rows):.4g}" for key in keys)
        for name, rows in drawn.items()
    }


def _is_error(key: str) -> bool:
    return key.startswith("valid_") and "rmse" in key
