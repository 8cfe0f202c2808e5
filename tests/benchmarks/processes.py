"""The processes of the benchmark: an environment for each library, a worker in it, and what machine this is."""

import json
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path
from rich.console import Console

HERE = Path(__file__).parent
#: Where peers are installed: outside the checkout, so that all checkouts share them.
FOLDER = user_cache_path("cartalg-bench")
TORCH = f"torch=={version('torch').split('+')[0]}"
#: What each peer's environment holds; those that can take the same Torch.
PEERS = {
    "symmetrix": [TORCH, "mace-torch==0.3.16", "symmetrix-xl==0.1.1"],
    "flashcart": [TORCH, "flashcart==0.1.0"],
    "mace": [TORCH, "mace-torch==0.3.16"],
    "e3nn": [TORCH, "e3nn==0.5.6"],
    "sphericart": [TORCH, "sphericart-torch==2.0.4"],
    "ace-jax": ["ace-jax[fast-neighbours]==0.4.1"],
    "deepmd": ["deepmd-kit[torch]==3.2.0", "ase"],
    "grace": ["tensorpotential==0.6.2.1"],
    "nequip": [TORCH, "nequip==0.19.1", "nequip-allegro==0.8.3"],
    "tace": [TORCH, "tace==0.2.4"],
}
#: How the libraries are told the number of threads before they start.
THREADS = [
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
]


#: How they are told to keep to AVX2: ours by the level of its machine code, the others each by its own variable.
AVX2 = {
    "BENCH_LEVEL": "x86-64-v3",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "SYMMETRIX_JIT_HOST_TARGET": "portable",
}


class Failed(RuntimeError):
    """A library that cannot be installed, imported or run; the message is its own."""


class Worker:
    """A library in its own process; `label` is its column, `options` go to every case that it prepares."""

    def __init__(self, name: str, python: str, threads: int, avx2: bool, label: str, options: dict) -> None:
        self.name, self.label, self.options = name, label, options
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "CUDA_VISIBLE_DEVICES": ""}
        environment["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # MACE's e3nn 0.4.4 needs it
        # the project's OpenBLAS settings protect old NumPy builds; peers choose their own
        dropped = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} | (set() if name == "ours" else {"PYTHONPATH"})
        environment = {k: v for k, v in environment.items() if k not in dropped}
        flags = ["--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1"] if threads == 1 else []
        environment["XLA_FLAGS"] = " ".join([*flags, *(["--xla_cpu_max_isa=AVX2"] if avx2 else [])])
        environment |= AVX2 if avx2 else {}
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        started = self._answer()
        if "error" in started:
            raise Failed(started["error"])

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the process ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, **command: object) -> dict:
        """Send a command, wait for the answer."""
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"the process ended with status {self.process.wait()}") from None
        return self._answer()

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it has ended
            self.process.stdin.close()
        self.process.wait()


class Libraries:
    """The libraries that are compared: their environments, and what kept any of them from taking part."""

    def __init__(self, names: list[str], variants: list[dict], avx2: bool, folder: Path, console: Console) -> None:
        self.pythons: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.variants, self.avx2 = variants, avx2
        for name in names:
            if name == "ours":
                self.pythons[name] = sys.executable
                continue
            try:
                self.pythons[name] = environment(name, folder, console)
            except Failed as error:
                self.problems[f"{name}: installation"] = str(error)
                console.print(f"{name} cannot be installed: {error}")

    def workers(self, names: tuple[str, ...], threads: int) -> list[Worker]:
        """A worker of each of the named libraries that is here; ours once more for each variant of its settings."""
        shown = [", ".join(f"{k}: {v}" for k, v in options.items()) for options in self.variants]
        ours = [("ours", {}), *((f"ours, {s}", o) for s, o in zip(shown, self.variants, strict=True))]
        present = [n for n in names if n in self.pythons]
        wanted = [(n, label, o) for n in present for label, o in (ours if n == "ours" else [(n, {})])]
        started = []
        for name, label, options in wanted:
            try:
                started.append(Worker(name, self.pythons[name], threads, self.avx2, label, options))
            except Failed as error:
                self.problems[f"{name}: start"] = str(error)
        return started

    def notes(self) -> list[str]:
        """What did not run, and why, as a list in Markdown."""
        return ["", *(f"* {what}: {' '.join(why.split())[:400]}" for what, why in self.problems.items())]


def environment(name: str, folder: Path, console: Console) -> str:
    """Python of a peer's environment, made where it is missing."""
    home = folder / name
    python = str(home / "bin" / "python")
    if not (home / "ready").exists():
        console.print(f"installing {' '.join(PEERS[name])} into {home}")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        command = [python, "-m", "pip", "install", "-q", *PEERS[name]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(" ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR")))
        (home / "ready").touch()
    return python


def machine(threads: int, avx2: bool) -> str:
    """Processor, width of its vectors, versions, date: the heading of every table."""
    found = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    flags = set(found.get("flags", "").split())
    width = "AVX-512" if "avx512vl" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    width += ", of which AVX2 is used" if avx2 and width == "AVX-512" else ""
    family = f"family {found.get('cpu family', '?')} model {found.get('model', '?')}"
    versions = ", ".join(f"{n} {version(n)}" for n in ("torch", "numba", "llvmlite", "numpy"))
    return (
        f"{found.get('model name', platform.machine())} ({family}, {width}), {os.cpu_count()} cores, "
        f"{threads} thread{'s' * (threads > 1)}, Python {platform.python_version()}, {versions}, "
        f"{time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}, NumPy sees {numpy_width()}"
    )


def numpy_width() -> str:
    """Vector instructions that NumPy found at run time."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return found[-1] if found else "none"
