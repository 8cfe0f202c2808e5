"""Run a benchmark in a folder: data, training, errors, pairs of atoms, one JSON. Gone on with after a kill."""

import json
from pathlib import Path
from typing import Any

import yaml
from rich.progress import Progress

from cartalg.benchmark.pictures import curve_picture
from cartalg.benchmark.record import Clock, hash_of, hashes_of, machine, now, thinned, versions
from cartalg.benchmark.table import LENGTHS, Benchmark, find
from cartalg.data.coverage import COVERAGE_FILE, pair_name, read_coverage
from cartalg.datasets.fetch import SOURCE_FILE, get
from cartalg.datasets.registry import SETS
from cartalg.files import write_file
from cartalg.quantities import QUANTITIES
from cartalg.train.checkpoint import MODEL_FILE, CheckpointError, load_model
from cartalg.train.config import Config, differing_keys, parse_config, read_yaml
from cartalg.train.pairs import scan_pairs
from cartalg.train.records import write_json
from cartalg.train.run import evaluate_file, train_run

RESULT_FILE, CONFIG_FILE, CLOCK_FILE, PICTURE_FILE = "result.json", "config.yaml", "clock.json", "learning.png"
#: Of the result's layout.
FORMAT = 1


def settings_of(about: Benchmark, length: str, seed: int = 0, threads: int = 1) -> dict[str, Any]:
    """The configuration of a benchmark's run, as YAML would give it.

    Raises:
        LookupError: If there is no such length.
    """
    if length not in LENGTHS:
        raise LookupError(f"no length {length!r}; there are {', '.join(LENGTHS)}")
    values: dict[str, Any] = read_yaml(about.file)
    return {**values, "training": {**values.get("training", {}), **about.changes(length, seed, threads)}}


def run_benchmark(
    name: str,
    output: Path,
    bar: Progress,
    length: str = "example",
    seed: int = 0,
    threads: int = 1,
    source: Path | None = None,
    data_dir: Path | None = None,
    restart: bool = False,
    unchecked: bool = False,
    backend: str = "auto",
) -> dict[str, Any]:
    """Get the data, train, measure, and write ``result.json``; what is done already is not done again.

    Args:
        name: Of the benchmark.
        output: Its folder.
        bar: Progress.
        length: One of `LENGTHS`.
        seed: Of weights, split and order.
        threads: Of a training step.
        source: Folder with the files of the data set, in place of the network.
        data_dir: Folder with the set as ``cartalg data get`` wrote it.
        restart: Train anew although there is a run.
        unchecked: Accept official files that no checksum is published for.
        backend: ``"auto"``, ``"numba"`` or ``"torch"``.
    Returns:
        The result.
    Raises:
        LookupError: If there is no such benchmark or length.
        CheckpointError: If the folder holds a run with other settings.
        ConfigError, DataError, OSError: As of `get`, `train_run` and `evaluate_file`.
    """
    about = find(name)
    values = settings_of(about, length, seed, threads)
    config = parse_config(values, str(about.file))
    known = read_yaml(output / CONFIG_FILE) if (output / CONFIG_FILE).is_file() and not restart else values
    if differing := differing_keys(known, values):
        raise CheckpointError(
            f"{output}: holds a run with another {', '.join(differing)}; choose another --output, or --restart"
        )
    folder = data_dir or _data(about, output, source, unchecked, bar)
    used = {f: s for f, s in _files(config).items() if s}
    hashes = hashes_of(folder, used.values())
    done = _done(output / RESULT_FILE, hashes)
    if done is not None and not restart:
        return done
    write_file(output / CONFIG_FILE, yaml.safe_dump(values, sort_keys=False))
    clock = Clock(output / CLOCK_FILE, about.measure, restart)
    run = output / "run"
    errors = train_run(output / CONFIG_FILE, run, folder, restart, backend, bar, clock.epoch)
    clock.save()
    result: dict[str, Any] = {
        "format": FORMAT,
        "benchmark": name,
        "length": length,
        "title": about.title,
        "settings": about.settings,
        "measure": list(about.measure),
        "started": clock.started,
        "finished": now(),
        "time": {**clock.time(), "sessions": clock.sessions},
        "errors": {part: {k: float(f"{v:.5g}") for k, v in found.items()} for part, found in errors.items()},
    }
    if about.by and config.data.test:
        keys = {q.name: getattr(config.data, f"{q.name}_key") for q in QUANTITIES}
        found = evaluate_file(
            run, folder / config.data.test, keys, None, run / "parity_test.png", backend, bar, about.by
        )
        result["by"], result["groups"] = about.by, _rounded(found.as_json()["groups"])
    model = load_model(run, backend)
    result |= {
        "pairs": _pairs(run, model),
        "published": [{"method": p.method, "source": p.source, "where": p.where, **p.errors} for p in about.published],
        "seed": config.training.seed,
        "weights": sum(p.numel() for p in model.parameters()),
        "config": values,
        "config_sha256": hash_of(config.model_dump(mode="json")),
        "data": {"set": about.dataset, "licence": SETS[about.dataset].licence, "sha256": hashes},
        "model_sha256": hashes_of(run, [MODEL_FILE])[MODEL_FILE],
        "versions": versions(),
        "machine": machine(),
        "curve": thinned(clock.curve),
    }
    write_json(output / RESULT_FILE, result)
    curve_picture(result, output / PICTURE_FILE)
    return result


def _data(about: Benchmark, output: Path, source: Path | None, unchecked: bool, bar: Progress) -> Path:
    """The folder of the data, got if it is not there."""
    folder = output / "data"
    if not (folder / SOURCE_FILE).is_file():
        get(about.dataset, folder, bar, (about.member,) if about.member else (), source, unchecked=unchecked)
    return folder


def _files(config: Config) -> dict[str, str | None]:
    """Files that a configuration names."""
    data, first = config.data, config.data.sets[0].file
    return {"train": first, "valid": data.valid, "test": data.test, "isolated_atoms": data.isolated_atoms}


def _done(path: Path, hashes: dict[str, str]) -> dict[str, Any] | None:
    """A result that is there already, of the same data."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    if found["data"]["sha256"] != hashes:
        raise CheckpointError(f"{path}: a result of other data; choose another --output, or --restart")
    return found


def _rounded(groups: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {g: {k: v if k == "frames" else float(f"{v:.5g}") for k, v in of.items()} for g, of in groups.items()}


def _pairs(run: Path, model: Any) -> dict[str, dict[str, Any]]:
    """Scan of each pair of elements: its shortest distance in the data, and its hole (where and how deep) or None."""
    shortest = read_coverage(run / COVERAGE_FILE).distances
    return {
        pair_name(*scan.pair): {
            "shortest_A": round(scan.shortest, 3),
            "hole": None if scan.hole is None else [float(f"{x:.3g}") for x in scan.hole],
        }
        for scan in scan_pairs(model, shortest)
    }
