"""What a change of settings does for errors away from the training data: one change at a time, several seeds.

    python tests/benchmarks/generalisation.py STUDY DATA_DIR OUTPUT            what is not there yet; goes on if stopped
    python tests/benchmarks/generalisation.py STUDY DATA_DIR OUTPUT --report   only the tables of what is there

STUDY is a file such as generalisation.yaml: sets of frames (which are trained on, which are tested on) and variants
(changes of the configuration). Of sets that give no frame numbers, the lowest energies are trained on and the rest is
tested. A result is a line of OUTPUT/results.jsonl. Errors are those of the averaged weights at the last step, elements'
shifts refitted.
"""

import copy
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
import yaml

from cartalg.cli.terminal import progress_bar
from cartalg.data.frames import Frame, read_frames, split_isolated
from cartalg.datasets import dataset_folder
from cartalg.model import Potential
from cartalg.quantities import QUANTITIES
from cartalg.train.config import Config, parse_config
from cartalg.train.metrics import compare
from cartalg.train.run import Run, build_dataset
from cartalg.train.start import initial_model, refit_shifts
from cartalg.train.trainer import Trainer

Errors = dict[str, float]
Found = list[dict[str, Any]]


@dataclass(frozen=True)
class Split:
    """Numbers of the frames of a set's file.

    Attributes:
        train, valid: To train on, and to choose nothing by: the first of the errors.
        tests: Others, by name.
    """

    train: list[int]
    valid: list[int]
    tests: dict[str, list[int]]


def by_energy(frames: list[Frame], low: int, held: int) -> Split:
    """The `low` frames of lowest energy, of which `held` are validated on; the others, and the highest tenth."""
    order = [int(n) for n in np.argsort([frame.energy for frame in frames])]
    kept = [int(n) for n in np.random.default_rng(0).permutation(order[:low])]
    high = {"high": order[low:], "highest": order[-len(order) // 10 :]}
    return Split(sorted(kept[held:]), sorted(kept[:held]), {k: sorted(v) for k, v in high.items()})


def of_frames(file: Path, key: str) -> list[Any]:
    """What a file says of each frame beside its labels."""
    return [atoms.info[key] for atoms in ase.io.read(file, ":", format="extxyz")]


def by_temperature(folder: Path, train: float) -> Split:
    """The shipped split's frames of one temperature; its test frames of that one; all frames of each other."""
    kelvin = of_frames(folder / "acetamide.xyz.gz", "temperature_K")

    def listed(name: str) -> list[int]:
        return [n for n in map(int, (folder / name).read_text().split()) if kelvin[n] == train]

    tests = {f"{train:.0f} K": listed("test.txt")}
    for other in sorted({*kelvin} - {train}):
        tests[f"{other:.0f} K"] = [n for n, t in enumerate(kelvin) if t == other]
    return Split(listed("train.txt"), listed("val.txt"), tests)


def merged(base: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """Configurations, the later ones' keys over the earlier ones'."""
    found = copy.deepcopy(dict(base))
    for change in changes:
        for section, keys in change.items():
            found[section] = {**found.get(section, {}), **keys}
    return found


def scan_errors(model: Potential, file: Path) -> dict[str, Errors]:
    """Errors along each scan, of energies less the minimum's (the first frame): RMSE in meV and meV/A."""
    frames, names = read_frames(file, QUANTITIES), of_frames(file, "scan")
    with progress_bar() as bar:
        dataset = build_dataset(frames, model.config.cutoff, model.elements, QUANTITIES, bar, "scans")
    energies, forces = [], []
    for n, frame in enumerate(frames):
        found = model(dataset.batch([n])[0])
        energies.append(1e3 * (float(found.energy[0]) - float(frame.energy or 0)))
        forces.append(1e6 * float(((found.forces.numpy() - frame.labels["forces"]) ** 2).mean()))
    off, squares = np.array(energies) - energies[0], np.array(forces)
    errors = {}
    for name in dict.fromkeys(names[1:]):
        of = [n for n, other in enumerate(names) if other == name]
        errors[name] = {"energy": float((off[of] ** 2).mean() ** 0.5), "forces": float(squares[of].mean() ** 0.5)}
    return errors


def trial(settings: Mapping[str, Any], values: dict[str, Any], data: Path, scratch: Path) -> dict[str, Any]:
    """Train once: CPU seconds, weights, and errors by set of frames."""
    folder = dataset_folder() if settings.get("shipped") else data
    file = folder / values["data"]["train"]
    frames, _ = split_isolated(read_frames(file, QUANTITIES))
    if settings.get("shipped"):
        split = by_temperature(folder, settings["temperature"])
    else:
        split = by_energy(frames, settings["low"], settings["held"])
    scratch.mkdir(parents=True, exist_ok=True)
    for name, numbers in (("train", split.train), ("valid", split.valid)):
        path = scratch / f"{name}.txt"
        path.write_text("\n".join(map(str, numbers)) + "\n")
        values["data"][f"{name}_numbers"] = str(path.resolve())
    config: Config = parse_config(values, "study")
    with progress_bar() as bar:
        run = Run.open(config, folder, "auto", bar)
        model = initial_model(config, run.split, run.train, run.elements, "auto", folder, run.coverage.distances)
        trainer = Trainer(config, model, run.train, run.valid, scratch)
        started = time.process_time()
        for epoch in range(config.training.epochs):
            trainer._epoch(epoch, lambda: None)
        spent = time.process_time() - started
        model = trainer.average
        refit_shifts(model, run.train)
        errors = {"train": short(model, run.train), "valid": short(model, run.valid)}
        for name, numbers in split.tests.items():
            chosen = [frames[n] for n in numbers]
            dataset = build_dataset(chosen, config.model.cutoff, run.elements, config.quantities, bar, name)
            errors[name] = short(model, dataset)
    if settings.get("shipped"):
        errors |= scan_errors(model, folder / "scans.xyz.gz")
    return {"seconds": spent, "weights": sum(p.numel() for p in model.parameters()), "errors": errors}


def short(model: Potential, dataset: Any) -> Errors:
    """RMSE of energies in meV and of forces in meV/A."""
    errors = compare(model, dataset).errors()
    return {"energy": errors["energy_rmse_meV"], "forces": errors["forces_rmse_meV_per_A"]}


def report(study: Mapping[str, Any], found: Found) -> None:
    """Print a table for each set: means over seeds."""
    for name, settings in study["sets"].items():
        rows = [r for r in found if r["set"] == name]
        if not rows:
            continue
        columns = list(rows[-1]["errors"])
        inside, outside = settings["ratio"]
        print(f"\n{name}\n| | seeds | CPU, s | {' | '.join(columns)} | {outside} / {inside} |")
        print("|---" * (len(columns) + 4) + "|")
        for variant in study["variants"]:
            of = [r for r in rows if r["variant"] == variant]
            if not of:
                continue
            mean = {c: np.mean([[*r["errors"][c].values()] for r in of if c in r["errors"]], 0) for c in columns}
            cells = " | ".join(f"{energy:.1f}, {forces:.1f}" for energy, forces in mean.values())
            seconds = np.mean([r["seconds"] for r in of])
            print(f"| {variant} | {len(of)} | {seconds:.0f} | {cells} | {mean[outside][1] / mean[inside][1]:.2f} |")


def main(file: Path, data: Path, output: Path, train: bool) -> None:
    """Train what is not there yet, then report."""
    torch.set_num_threads(1)
    study = yaml.safe_load(file.read_text())
    output.mkdir(parents=True, exist_ok=True)
    kept = output / "results.jsonl"
    found: Found = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(r["set"], r["variant"], r["seed"]) for r in found}
    for variant, plan in study["variants"].items() if train else ():
        for name in plan.get("sets", study["sets"]):
            settings = study["sets"][name]
            for seed in range(plan.get("seeds", 1)):
                if (name, variant, seed) in done:
                    continue
                changes = plan.get("change", {}), {"training": {"seed": seed}}
                values = merged(study["base"], settings["config"], *changes)
                result = trial(settings, values, data, output / "scratch")
                found.append({"set": name, "variant": variant, "seed": seed, **result})
                with kept.open("a") as lines:
                    lines.write(json.dumps(found[-1]) + "\n")
    report(study, found)


if __name__ == "__main__":
    paths = [Path(a) for a in sys.argv[1:] if not a.startswith("--")]
    main(paths[0], paths[1], paths[2], "--report" not in sys.argv)
