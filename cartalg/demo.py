"""The demonstration: the whole pipeline on shipped data, in minutes, with pictures and a report."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from ase import units
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from rich.progress import Progress

from cartalg.cli.terminal import counting
from cartalg.data.frames import read_frames, read_numbers
from cartalg.datasets import dataset_folder
from cartalg.files import write_file
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.ops import KernelSet
from cartalg.quantities import QUANTITIES
from cartalg.render import render
from cartalg.render.objects import describe_projector
from cartalg.train.plots import energy_conservation
from cartalg.train.run import train_run
from cartalg_codegen import emit

TEMPERATURE_K = 300
STEP_FS = 0.5


def run_demo(
    output: Path,
    quick: bool,
    bar: Progress,
    say: Callable[[str], None],
    show_errors: Callable[[dict[str, float], str], None],
) -> None:
    """Check the kernels, show a projector, train, evaluate, run dynamics, write plots and ``report.md``.

    Args:
        output: Folder for everything.
        quick: Two epochs and 20 fs.
        bar, say, show_errors: Where progress, lines and tables go.
    Raises:
        RuntimeError: If the kernels are not what the rules give.
    """
    started = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    say("[bold]1. Kernels: derive the rules again and compare[/bold]")
    count = check_kernels(bar)
    say(f"   {count} emitted files are what the rules give\n")

    say("[bold]2. A projector, exactly[/bold]")
    say(render(describe_projector(3)) + "\n")

    folder = dataset_folder()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    if quick:
        config["training"]["epochs"] = 2
    path = output / "config.yaml"
    write_file(path, yaml.safe_dump(config, sort_keys=False))
    say("[bold]3. Train on acetamide, PBE/def2-SVP, 300-1000 K[/bold]")
    clock = time.perf_counter()
    results = train_run(path, output / "run", folder, True, "auto", bar)
    minutes = (time.perf_counter() - clock) / 60
    say(f"   {minutes:.1f} minutes\n")

    say("[bold]4. Errors on held-out frames[/bold]")
    show_errors(results["test"], "test frames")

    steps = round((20 if quick else 1000) / STEP_FS)
    say(f"[bold]5. Dynamics: {steps * STEP_FS / 1000:g} ps of NVE from a test frame at {TEMPERATURE_K} K[/bold]")
    deviation = run_dynamics(output, folder, steps, bar)
    say(f"   total energy stays within {deviation:.2g} meV/atom of its start\n")

    report = output / "report.md"
    write_file(report, _report(results, minutes, steps, deviation, count))
    total = (time.perf_counter() - started) / 60
    say(f"Report with plots: {report} ({total:.1f} minutes in all)")


def check_kernels(bar: Progress) -> int:
    """Regenerate the library's kernels in memory and compare: number of files. Raises RuntimeError on a difference."""
    kernels = KernelSet()
    files = emit.render(kernels.manifest.chosen, counting(bar, "deriving"))
    differences = emit.differences(files, kernels.folder)
    if differences:
        raise RuntimeError(f"kernels are not current ({differences[0]}, ..): run `cartalg generate`")
    return len(files)


def run_dynamics(output: Path, folder: Path, steps: int, bar: Progress) -> float:
    """NVE dynamics of a test frame with the trained model; plots energy conservation. Returns meV/atom."""
    number = read_numbers(folder / "test.txt")[0]
    (frame,) = read_frames(folder / "acetamide.xyz.gz", numbers=[number])
    atoms = frame.atoms
    atoms.calc = CartalgCalculator(output / "run")
    thermalize_momenta(atoms, temperature_K=TEMPERATURE_K, rng=np.random.default_rng(0))
    Stationary(atoms)
    ZeroRotation(atoms)
    times, total, kinetic = [], [], []
    dynamics = VelocityVerlet(atoms, STEP_FS * units.fs)
    task = bar.add_task("dynamics", total=steps, note="")

    def record() -> None:
        times.append(dynamics.nsteps * STEP_FS)
        kinetic.append(atoms.get_kinetic_energy())
        total.append(atoms.get_potential_energy() + kinetic[-1])
        bar.update(task, completed=dynamics.nsteps)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one small molecule: more threads only wait for each other
    try:
        dynamics.attach(record, interval=4)
        dynamics.run(steps)
    finally:
        torch.set_num_threads(threads)
    energy_conservation(times, total, kinetic, len(atoms), output / "nve.png")
    return float(np.abs(np.array(total) - total[0]).max() * 1e3 / len(atoms))


def _report(results: dict[str, dict[str, float]], minutes: float, steps: int, deviation: float, count: int) -> str:
    test = results["test"]
    reports = [r for q in QUANTITIES for r in q.reports if r.unit and r.key("mae") in test]
    rows = [
        f"| {r.title} ({r.unit.report}) | {test[r.key('mae')]:.3g} | {test[r.key('rmse')]:.3g} |"
        for r in reports
        if r.unit
    ]
    table = "\n".join(rows)
    return f"""# cartalg demonstration

* {count} emitted kernel files are exactly what the symbolic rules give.
* A potential for acetamide (9 atoms, PBE/def2-SVP, frames at 300 to 1000 K), trained in {minutes:.1f} minutes.

| held-out frames | MAE | RMSE |
|---|---|---|
{table}

![parity](run/parity_test.png)

![learning curve](run/learning_curve.png)

{steps * STEP_FS / 1000:g} ps of NVE dynamics at {TEMPERATURE_K} K, {STEP_FS} fs steps: the total energy stays within
{deviation:.2g} meV/atom of its start.

![energy conservation](nve.png)

Go on: `cartalg train CONFIG.yaml --output RUN`, `cartalg evaluate RUN FILE.xyz`, and in Python
`atoms.calc = CartalgCalculator("RUN")`.
"""
