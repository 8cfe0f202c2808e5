"""Pictures of a result: validation error against CPU time, with the published figure beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cartalg.files import whole
from cartalg.train.plots import BLUE, GREY, ORANGE


def curve_picture(result: Mapping[str, Any], path: Path) -> None:
    """Force errors on the validation frames against minutes of CPU time; the test error and published ones as lines.

    Args:
        result: As `cartalg.benchmark.run.run_benchmark` gives it.
        path: PNG.
    """
    _, key = result["measure"]
    measure = "MAE" if "_mae_" in key else "RMSE"
    rows = [row for row in result["curve"] if f"valid_{key}" in row]
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    minutes, errors = [r["cpu_s"] / 60 for r in rows], [r[f"valid_{key}"] for r in rows]
    axis.plot(minutes, errors, color=BLUE, linewidth=1.2, label=f"validation, {measure}")
    if key in result["errors"].get("test", {}):
        reached = result["errors"]["test"][key]
        axis.axhline(reached, color=BLUE, linestyle=":", label=f"test, {measure} {reached:.3g}")
    for published, style in zip(result["published"], ("--", "-.", ":", "-"), strict=False):
        where = f" ({published['where']})" if published["where"] else ""
        axis.axhline(
            published[key],
            color=ORANGE,
            linestyle=style,
            label=f"{published['method']}, {measure} {published[key]:g}{where}",
        )
    axis.set(xlabel="CPU time (min)", ylabel="forces (meV/Å)", yscale="log")
    axis.set_title(f"{result['title']}", fontsize=10)
    axis.grid(alpha=0.3, which="both", linewidth=0.5)
    axis.legend(frameon=False, fontsize=7)
    axis.tick_params(colors=GREY)
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=110)
