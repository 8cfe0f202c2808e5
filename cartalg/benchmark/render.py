"""Results as tables of Markdown: the leaderboard, errors by group, pairs of atoms."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- results: begin, written by cartalg benchmark --write -->", "<!-- results: end -->"
Result = dict[str, Any]


def read_results(folder: Path) -> list[Result]:
    """Results of a folder's files of JSON, by name of the benchmark and time.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a file is no result.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text())
            result["benchmark"], result["errors"], result["measure"], result["time"]["cpu_s"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a result of cartalg benchmark ({error!r}); remove it") from error
        found.append(result)
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no result; run `cartalg benchmark NAME` and copy its result.json there"
        )
    return sorted(found, key=lambda r: (r["benchmark"], r["time"]["cpu_s"], r["seed"]))


def tables(results: Sequence[Result]) -> str:
    """All tables and pictures, as they stand on a page."""
    sources = [f"[{number}] {source}" for number, source in enumerate(_sources(results), start=1)]
    parts = [leaderboard(results), "; ".join(sources) + "." if sources else ""]
    parts += [by_group(result) for result in results if result.get("groups")]
    parts += [holes(results), " ".join(f"![{r['benchmark']}]({picture_of(r)})" for r in results)]
    return "\n\n".join(filter(None, parts)) + "\n"


def picture_of(result: Result) -> str:
    """Where a page has the learning curve of a result, from its own folder."""
    return f"images/{result['benchmark']}_{result['length']}_{result['seed']}.png"


def leaderboard(results: Iterable[Result]) -> str:
    """One line a result, published figures beside it."""
    rows, results = [], list(results)
    sources = _sources(results)
    for result in results:
        part = "test" if "test" in result["errors"] else "valid"
        errors = result["errors"][part]
        reached = ", ".join(_number(errors[key]) for key in result["measure"])
        minutes = [f"{result['time'][kind] / 60:.1f}" for kind in ("cpu_s", "wall_s")]
        others = "; ".join(_published(p, result["measure"], sources) for p in result["published"]) or "-"
        name = f"[{result['benchmark']}](examples/{result['settings']})"
        epochs = result["config"]["training"].get("epochs", 100)
        rows.append(
            [
                name,
                result["length"],
                str(epochs),
                str(result["seed"]),
                *minutes,
                _what(result, part),
                f"**{reached}**",
                others,
            ]
        )
    head = ["benchmark", "length", "epochs", "seed", "CPU, min", "wall, min", "measured", "energy, forces", "published"]
    return _table(head, rows)


def by_group(result: Result) -> str:
    """Errors of each group of test frames."""
    keys = [k for k in next(iter(result["groups"].values())) if k.startswith(("energy_per_atom", "forces", "stress"))]
    rows = [[name, str(of["frames"]), *(_number(of[k]) for k in keys)] for name, of in result["groups"].items()]
    title = f"{result['title']} ({result['length']}, seed {result['seed']}), test frames by {result['by']}:"
    return title + "\n\n" + _table([result["by"], "frames", *map(_words, keys)], rows)


def holes(results: Iterable[Result]) -> str:
    """What scans of pairs of atoms found."""
    rows = []
    for result in results:
        found = {pair: scan["hole"] for pair, scan in result["pairs"].items()}
        bad = [
            f"{pair} at {where:g} A, {depth:g} eV" for pair, (where, depth) in ((p, h) for p, h in found.items() if h)
        ]
        rows.append([f"{result['benchmark']}, {result['length']}", str(len(found)), "; ".join(bad) or "none"])
    title = "Pairs of atoms alone, from 0.3 A on: holes below 0.8 of the shortest distance in the data:"
    return title + "\n\n" + _table(["model", "pairs", "holes"], rows)


def written_into(page: str, text: str) -> str:
    """A page with the text between its two marks. Raises ValueError if they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"the page has no line {BEGIN!r} and, below it, {END!r}: write them where the tables are to stand"
        )
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def _what(result: Result, part: str) -> str:
    measure = "MAE" if "_mae_" in result["measure"][1] else "RMSE"
    return f"{part}, {measure}, {'meV/atom' if 'per_atom' in result['measure'][0] else 'meV'}, meV/A"


def _sources(results: Iterable[Result]) -> list[str]:
    """Where published figures stand, each once."""
    return list(dict.fromkeys(entry["source"] for result in results for entry in result["published"]))


def _published(entry: dict[str, Any], measure: Sequence[str], sources: Sequence[str]) -> str:
    figures = ", ".join(f"{entry[key]:g}" for key in measure)
    where = f", {entry['where']}" if entry["where"] else ""
    return f"{entry['method']}: {figures} [{sources.index(entry['source']) + 1}{where}]"


def _words(key: str) -> str:
    for measure in ("_mae_", "_rmse_"):
        name, found, unit = key.partition(measure)
        if found:
            unit = unit.replace("_per_", "/").replace("A3", "A^3")
            return f"{name.replace('_', ' ')}, {measure.strip('_').upper()}, {unit}"
    return key.replace("_", " ")


def _number(value: float) -> str:
    return f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
